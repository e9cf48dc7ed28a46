import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Io } from '#cli/io.ts'
import { runCli } from '#cli/run.ts'
import type { Response, Send } from '#cli/send.ts'
import { type ExplainParts, explainCall } from '#gateway/explain-call.ts'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import type { AdsStatus, ProxyStatus } from '#gateway/relay/server.ts'
import type { TypeStatus } from '#gateway/relay/type-status.ts'
import { servedConfig, servedEndpoints } from '#gateway/status/served.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { parseClusterName, serviceKey } from '#mesh/model/id.ts'
import type { LoadReport } from '#mesh/model/load.ts'
import type { View } from '#mesh/model/view.ts'
import { caseOf } from '#mesh/translate/testdata/case.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

/** What a run of the command line gave. */
export type Ran = { readonly code: number; readonly out: string; readonly err: string }

/**
 * A fleet for the command line, in this process: the real API over a real store, whose clock stands still, and the status
 * addresses of relays. paris-1 is well; oslo-1 has been silent for four minutes, its gateway is down and its relay does
 * not answer; rome-1 never joined, lima-1 left.
 */
export type CliFleet = {
  readonly centre: TestCentre
  readonly home: string
  /** The centre answers nobody while this is true. */
  away: boolean
  run(args: readonly string[], env?: Io['env']): Promise<Ran>
  file(name: string, text: string): string
  close(): Promise<void>
}

const relayUrl = (cluster: string): string => `http://${cluster}.test:15014`

export async function openCliFleet(): Promise<CliFleet> {
  const home = mkdtempSync(join(tmpdir(), 'isthmus-golden-'))
  const centre = await openTestCentre()
  await fill(centre)
  const file = (name: string, text: string): string => {
    writeFileSync(join(home, name), text)
    return join(home, name)
  }
  const keyFile = file('admin.key', centre.adminKey)
  const relays = { 'oslo-1': relayUrl('oslo-1'), 'paris-1': relayUrl('paris-1') }
  const contexts = { golden: { url: 'https://centre.test:7400', keyFile, relays } }
  mkdirSync(join(home, 'isthmus'))
  file('isthmus/config.yaml', stringify({ current: 'golden', contexts }))
  const fleet: CliFleet = {
    ...{ centre, home, file, away: false },
    run: async (args, env = {}) => {
      let [out, err] = ['', '']
      const more = (text: string) => {
        out += text
      }
      const code = await runCli(args, {
        env: { XDG_CONFIG_HOME: home, ...env },
        out: more,
        err: (text) => {
          err += text
        },
        ...{ now: () => centre.clock.now, colour: false, send: sendTo(fleet) },
      })
      return { code, out, err }
    },
    close: async () => {
      await centre.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
  return fleet
}

const counts = (issued: number, errors: number, active: number) => ({ issued, ok: issued - errors, errors, active })

async function fill(centre: TestCentre): Promise<void> {
  const clusters = [
    ['oslo-1', 'eu-2'],
    ['paris-1', 'eu-1'],
    ['lima-1', 'sa-1'],
  ] as const
  const relays = new Map<string, TestRelay>()
  for (const [name, region] of clusters) {
    centre.clock.now += 60_000
    const relay = await new TestRelay(centre, name).join({ region })
    relays.set(name, relay)
    await relay.sync({ cluster: { ...(facts(`net-${name}`) as object), region } })
  }
  await centre.admin('POST', '/v1/clusters', { name: 'rome-1', region: 'eu-3' })
  const tell = (name: string, more: Readonly<Record<string, Json>>) => relays.get(name)?.sync(more)
  const down: Json = { gateways: [{ address: '203.0.113.9', port: 15443, state: 'down' }] }
  const reviews = { 'export/bookinfo/reviews': exported() }
  await tell('oslo-1', { ...reviews, gateways: down, 'summary/bookinfo/reviews': summary(1) })
  centre.clock.now += 4 * 60_000
  await tell('paris-1', {
    ...{ ...reviews, gateways, 'summary/bookinfo/reviews': summary(3) },
    ...{ 'export/bookinfo/ratings': exported({ consumers: ['oslo-1'] }), 'summary/bookinfo/ratings': summary(2) },
  })
  await centre.admin('DELETE', '/v1/clusters/lima-1')
  await centre.admin('PUT', '/v1/service-exports/bookinfo/ratings', { consumers: ['oslo-1', 'tokyo-1'] })
  await centre.admin('POST', '/v1/operator-keys', { name: 'ci', role: 'operator' })
  await centre.settle(true)
  await relays.get('paris-1')?.load(measured)
}

/** What the callers of paris-1 did in ten seconds; one of its proxies does not report. */
const measured: Partial<LoadReport> = {
  proxies: { measured: 3, notMeasured: 1 },
  reached: [parseClusterName('oslo-1')],
  latencies: [{ service: serviceKey('bookinfo', 'reviews'), p50Ms: 4.2, p90Ms: 18, p99Ms: 210, count: 6000 }],
  rows: [
    { service: serviceKey('bookinfo', 'reviews'), callee: parseClusterName('oslo-1'), ...counts(299, 1, 2) },
    { service: serviceKey('bookinfo', 'reviews'), callee: parseClusterName('paris-1'), ...counts(701, 0, 5) },
  ],
  shares: [
    {
      service: serviceKey('bookinfo', 'reviews'),
      intended: [
        { cluster: parseClusterName('oslo-1'), share: 0.3 },
        { cluster: parseClusterName('paris-1'), share: 0.7 },
      ],
    },
  ],
}

function sendTo(fleet: CliFleet): Send {
  const relay = relayOf(fleet.centre)
  return async (url, { method = 'GET', headers = {}, body }): Promise<Response> => {
    if (url.host === 'centre.test:7400' && !fleet.away) {
      const asked = { method, headers: new Headers(headers), ...(body === undefined ? {} : { body }) }
      const response = await fleet.centre.api.request(url.href, asked)
      return { status: response.status, text: await response.text() }
    }
    const page = url.host === 'paris-1.test:15014' ? relay[url.pathname]?.(url) : undefined
    if (page) return { status: 200, text: JSON.stringify(page) }
    throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  }
}

/** The relay of paris-1, away from its centre for 40 s, by path of its status address. */
function relayOf({ clock }: TestCentre): Readonly<Record<string, (asked: URL) => object>> {
  const reviews = {
    ports: ['http 9080 http'],
    sources: ['oslo-1 net-oslo-1 eu-2 reviews', 'paris-1 net-paris-1 eu-1 reviews'],
  }
  const { view } = caseOf({
    ...{ cluster: 'paris-1', region: 'eu-1' },
    config: {
      members: ['oslo-1', 'paris-1'],
      imports: { 'bookinfo/reviews': { ...reviews, tiers: [{ 'paris-1': 1 }, { 'oslo-1': 1 }] } },
      exports: { 'bookinfo/reviews': { ports: ['http 9080 http'], consumers: ['oslo-1'] } },
    },
    pods: { 'bookinfo/productpage-1': { ip: '127.21.2.1', account: 'productpage', behind: {} } },
    summaries: { 'oslo-1': { gateways: ['203.0.113.9:15443'], services: {} } },
    proxy: { id: 'router~~x.x~x', account: '', metadata: {} },
  })
  const told = new Map<string, Json>([['summary/bookinfo/reviews', summary(3)]])
  const heard = [['oslo-1', new Map([['bookinfo/reviews', summary(1)]])]] as unknown as typeof view.summaries.services
  const summaries = { ...view.summaries, services: new Map(heard) }
  return {
    '/status': () => ({
      ...{ cluster: 'paris-1', version: '0.1.0', state: 'serving', time: clock.now, mesh: 'mesh1', region: 'eu-1' },
      centre: { state: 'away', since: clock.now - 40_000, reason: 'nothing listens there' },
      config: { revision: 41, unread: [] },
      rejected: [{ at: 'manifests/ratings.yaml:7', object: 'file', reason: 'not YAML: a flow mapping has no end' }],
      conditions: [],
      ...adsStatus(clock.now),
    }),
    '/endpoints': () => ({ cluster: 'paris-1', items: servedEndpoints('paris-1', told, summaries) }),
    '/config': () => servedConfig(view, 41),
    '/explain': ({ searchParams: said }) => {
      const [namespace = '', pod = ''] = (said.get('pod') ?? '').split('/')
      const port = said.get('port')
      const asked = { namespace, pod, host: said.get('host') ?? '', ...(port === null ? {} : { port: Number(port) }) }
      return explainCall(explaining(view, clock.now), asked)
    },
  }
}

/** Nobody is judged; the proxy of productpage-1 is connected, and a few of its calls failed. */
const explaining = (view: View, now: number): ExplainParts => ({
  keeper: { view: () => view, facts: () => ({ revision: 41, unread: [] }), said: () => view.summaries.gateways },
  traffic: { status: () => ({ isolated: false, frozen: null, clusters: [], services: [], below: [], shifts: [] }) },
  ...{ wrong: () => [], conditions: () => [], refusals: () => [] },
  clients: () => [{ proxy: productpage, types: {} }],
  lastWindow: () => ({ rows: [{ ...reviewsCalls, callee: parseClusterName('oslo-1') }], windowMs: 10_000 }),
  ...{ issuingEnds: () => now + 86_400_000, now: () => now },
})

const reviewsCalls = { service: serviceKey('bookinfo', 'reviews'), issued: 120, ok: 117, errors: 3, active: 0 }
const productpage: ConnectedProxy = {
  id: 'sidecar~127.21.2.1~productpage-1.bookinfo~bookinfo.svc.cluster.local',
  ...{ kind: 'sidecar', ip: '127.21.2.1', name: 'productpage-1.bookinfo', domain: 'bookinfo.svc.cluster.local' },
  ...{ cluster: '', metadata: {}, locality: { region: '', zone: '', subZone: '' }, extensions: [] },
  userAgent: { name: 'envoy', version: '1.40.0' },
  identity: { trustDomain: 'paris-1.mesh1', namespace: 'bookinfo', serviceAccount: 'productpage' },
}

/** Three Envoys: one in step, one that refused a route, one that has not answered yet. */
function adsStatus(now: number): AdsStatus {
  const synced: TypeStatus = { state: 'SYNCED', names: '*', held: 4, setAside: [], lastAckAt: now - 90_000 }
  const version = '2f0c1d7e3a9b4c55'
  const route: TypeStatus = {
    ...synced,
    state: 'NACK',
    setAside: [{ name: '9080', version, owner: 'service bookinfo/reviews' }],
    nack: { detail: 'Only unique values for domains are permitted', names: ['9080'], at: now - 12_000 },
  }
  const of = (kind: string, pod: string, types: ProxyStatus['types']): ProxyStatus => ({
    id: `${kind}~127.21.2.1~${pod}.bookinfo~bookinfo.svc.cluster.local`,
    ...{ identity: 'paris-1.mesh1/ns/bookinfo/sa/x', mode: 'delta', address: '127.21.2.1:40000' },
    ...{ connectedAt: now - 3 * 3_600_000, envoy: '1.40.0', agent: '0.1.0', types },
  })
  const all = { cluster: synced, endpoint: synced, listener: synced, route: synced, secret: synced }
  return {
    proxies: [
      of('sidecar', 'productpage-1', { ...all, route }),
      of('sidecar', 'details-1', all),
      of('router', 'eastwest-1', { cluster: synced, endpoint: { ...synced, state: 'STALE' }, listener: synced }),
    ],
    quarantined: [
      {
        ...{ type: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration', name: '9080', version },
        ...{ owner: 'service bookinfo/reviews', detail: 'Only unique values for domains are permitted' },
        ...{ refusedBy: ['paris-1.mesh1/ns/bookinfo/sa/x'], everywhere: false },
      },
    ],
  }
}

/**
 * What differs from run to run, put in a steady form of the same width, so that tables stay aligned: ids, secrets,
 * hashes, certificates, and where this clone and the fleet's home lie. The one place that does so.
 */
export function steadyText(fleet: CliFleet, root: string): (text: string) => string {
  const ids = new Map<string, string>()
  const numbered = (id: string): string => {
    const known = ids.get(id) ?? `00000000-0000-7000-8000-${String(ids.size + 1).padStart(12, '0')}`
    ids.set(id, known)
    return known
  }
  return (text) =>
    text
      .replaceAll(fleet.home, '~')
      .replaceAll(process.execPath, '<node>')
      .replaceAll(root.replace(/\/$/, ''), '<clone>')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, numbered)
      .replaceAll(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----(\\n|\n)?/g, '<certificate>')
      .replaceAll(/isthmus_(join|key)_[\w.-]+/g, 'isthmus_$1_<secret>')
      .replaceAll(/(?<=--plan )[0-9a-f]{64}/g, '<hash>')
      .replaceAll(/("?(?:keyId|hash|sha256|digest|signer)"?: ?"?)[\w-]{43,64}/g, '$1<hash>')
      .replaceAll(/(?<= )(?=[\w]*\d)(?:[0-9a-f]{12})(?= |,|\n)/g, '<hash 12 dg>')
      .replaceAll(/(?<= )(?=[\w]*\d)(?:[0-9a-f]{32})(?= |\n)/g, '<serial number of 32 hex digits>')
}

/** As it stands in a golden file: standard output, then standard error marked as such, then a code that is not 0. */
export const transcript = (args: readonly string[], { code, out, err }: Ran): string =>
  [
    `$ isthmus ${args.join(' ')}\n`,
    out && !out.endsWith('\n') ? `${out}\n` : out,
    err.trimEnd().replaceAll(/^/gm, err === '' ? '' : '! ') + (err === '' ? '' : '\n'),
    code === 0 ? '' : `(exit code ${code})\n`,
  ].join('')
