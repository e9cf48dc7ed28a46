import { type ExplainParts, explainCall } from '#gateway/explain-call.ts'
import { probedServices } from '#gateway/health/probed-services.ts'
import { openRefusals } from '#gateway/refusals.ts'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import type { TypeStatus } from '#gateway/relay/type-status.ts'
import { dialledGateways } from '#gateway/resolve/dialled-gateways.ts'
import { trafficSight } from '#gateway/traffic-sight.ts'
import { viewKeeper } from '#gateway/view-keeper.ts'
import { type BothSeen, bothViews } from '#mesh/foresee/both-views.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Explanation } from '#mesh/model/explanation.ts'
import { type ClusterName, parseClusterName } from '#mesh/model/id.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { View } from '#mesh/model/view.ts'
import { trafficOf } from '#mesh/policy/admissions.ts'
import { type Facts, type Judged, judge, nothingJudged } from '#mesh/policy/judge-health.ts'
import { type JudgedServices, judgeServices, noServices } from '#mesh/policy/judge-services.ts'
import { type CaseText, caseOf } from '#mesh/translate/testdata/case.ts'
import { parseAdvice } from '#mesh/wire/advice.ts'
import { parseExplanation } from '#mesh/wire/explanation.ts'
import { adviceStream } from '#mesh/wire/stream.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { exported, facts, silentLog } from '#tests/support/stores.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

/** One cluster of the mesh and what its relay reports beside itself. */
export type MemberText = {
  readonly region: string
  /** Absent: one that is ready. */
  readonly gateways?: readonly { readonly address: string; readonly state?: 'down' }[]
  /** Service → what differs from an export on port 9080 to everybody, and its pods, `2/3`. */
  readonly offers?: Readonly<Record<string, { readonly pods?: string; readonly more?: Readonly<Record<string, Json>> }>>
  readonly refuses?: readonly string[]
  /** Unix ms: when its issuing CA ends, where that is not in a day. */
  readonly issuingEnds?: number
}

/**
 * A mesh that calls of one pod are explained in: the real centre over a real store, to which relays report and whose
 * streams the caller's relay hears; what only that relay sees (probes, proxies, refusals) a test has in hand.
 */
export type ExplainedMesh = {
  readonly centre: TestCentre
  relay(name: string): TrustingRelay
  /** The caller's relay takes what there is. */
  hear(): Promise<void>
  explain(asked: AskedHere, sees?: RelaySees): Promise<Views>
  close(): Promise<void>
}

export type AskedHere = { readonly pod?: string; readonly host: string; readonly port?: number }
export type Views = {
  readonly centre: Explanation
  readonly relay: Explanation
  readonly both: readonly BothSeen[]
}

/** What the caller's relay sees beside what it hears; absent = all is well. */
export type RelaySees = {
  /** Clusters whose gateways do not answer, for three probes and more. */
  readonly dead?: readonly string[]
  /** A service whose probe is answered so in these clusters, four times and more; the others answer it well. */
  readonly failing?: { readonly service: string; readonly said: string; readonly clusters: readonly string[] }
  readonly wrong?: { readonly cluster: string; readonly detail: string }
  readonly conditions?: readonly Condition[]
  readonly refusal?: { readonly cause: string; readonly service: string }
  readonly connected?: false
  readonly metadata?: Readonly<Record<string, Json>>
  readonly types?: Readonly<Record<string, Partial<TypeStatus>>>
  readonly issuingEnds?: number
  /** Streams as they are to be heard in place of the real ones. */
  readonly streams?: (real: Streams) => Streams
  readonly calls?: { readonly ok: number; readonly errors: number; readonly service: string }
}
export type Streams = ReadonlyMap<
  string,
  { readonly epoch: string; readonly rev: number; readonly items: ReadonlyMap<string, Json> }
>

const day = 86_400_000
const synced: TypeStatus = { state: 'SYNCED', names: '*', held: 4, setAside: [], lastAckAt: 1 }

/** `own`: the objects of the caller's cluster, which is the first of the members. */
export async function openExplainedMesh(
  members: Readonly<Record<string, MemberText>>,
  own: Pick<CaseText, 'services' | 'pods' | 'exports' | 'refused'>,
): Promise<ExplainedMesh> {
  const centre = await openTestCentre()
  const relays = new Map<string, TrustingRelay>()
  for (const [at, [name, text]] of Object.entries(members).entries()) {
    const one = await TrustingRelay.join(centre, name)
    relays.set(name, one)
    await (await one.take()).renewed().tell()
    if (text.issuingEnds !== undefined && one.said.issuing)
      one.said = { ...one.said, issuing: { ...one.said.issuing, notAfter: text.issuingEnds } }
    await one.tell()
    await one.relay.sync(reportOf(name, at, text))
  }
  const [home = ''] = Object.keys(members)
  const caller = (): TrustingRelay => of(home)
  const { view: start } = caseOf({
    ...{ cluster: home, region: members[home]?.region ?? '', ...own },
    proxy: { id: 'router~~x.x~x', account: '', metadata: {} },
  })
  const { config: _, roots: __, ...bare } = start
  return {
    ...{ centre, relay: of },
    hear: async () => {
      await centre.settle()
      await caller().take()
    },
    explain: async ({ pod = 'shop/web-1', host, port }, sees = {}) => {
      const asked = { host, ...(port === undefined ? {} : { port }) }
      const answer = await centre.admin('POST', '/v1/explanations', { caller: `${home}/${pod}`, ...asked })
      if (answer.status !== 200) throw new Error(JSON.stringify(answer.body))
      const [namespace = '', name = ''] = pod.split('/')
      const here = partsOf(streamsOf(caller()), { start: bare, bundle: caller().bundle, sees, now: centre.clock.now })
      const said = explainCall(here, { namespace, pod: name, ...asked })
      const [atCentre, relay] = [answer.body, JSON.parse(JSON.stringify(said))].map(parseExplanation)
      if (!atCentre || !relay) throw new Error('nobody said anything')
      return { centre: atCentre, relay, both: bothViews(atCentre, relay) }
    },
    close: centre.close,
  }

  function of(name: string): TrustingRelay {
    const one = relays.get(name)
    if (!one) throw new Error(`there is no cluster ${name}`)
    return one
  }
}

function reportOf(name: string, at: number, text: MemberText): Readonly<Record<string, Json>> {
  const { region, gateways = [{ address: `10.0.${at}.2` }], offers = {}, refuses = [] } = text
  const own = gateways.map(({ address, state = 'ready' }) => ({ address, port: 15443, state }))
  return {
    cluster: { ...(facts(`net-${name}`) as object), region },
    gateways: { gateways: own },
    ...Object.fromEntries(refuses.map((service) => [`refuse/${service}`, {}])),
    ...Object.fromEntries(
      Object.entries(offers).flatMap(([service, { pods = '2/2', more = {} }]): [string, Json][] => {
        const [ready, total] = pods.split('/').map(Number)
        const offer = exported({ serviceAccounts: [service.split('/')[1] ?? ''], ...more })
        const { ports } = offer as { ports: { port: number }[] }
        const counts = ports.map(({ port }) => ({ port, region, zone: 'a', ready: ready ?? 0, total: total ?? 0 }))
        return [
          [`export/${service}`, offer],
          [`summary/${service}`, { counts }],
        ]
      }),
    ),
  }
}

const streamsOf = ({ relay }: TrustingRelay): Streams =>
  new Map(
    [...relay.held].map(([name, { epoch, rev, items }]) => [
      name,
      { epoch, rev, items: new Map([...items].map(([key, text]) => [key, JSON.parse(text) as Json])) },
    ]),
  )

type Here = {
  readonly start: Pick<View, 'home' | 'own' | 'summaries'>
  readonly bundle: TrustBundle | undefined
  readonly sees: RelaySees
  readonly now: number
}

/** The parts of the caller's relay, as `openCluster` puts them together. */
function partsOf(real: Streams, { start, bundle, sees, now }: Here): ExplainParts {
  const heard = sees.streams?.(real) ?? real
  const keeper = viewKeeper({
    ...{ home: start.home, own: start.own, log: silentLog },
    dial: (said) => dialledGateways({ said, answers: new Map(), own: { cluster: '', gateways: [] } }).gateways,
    trust: { take: () => true, bundle: () => bundle },
  })
  // What was understood before stays where news are not.
  if (sees.streams) keeper.received(real)
  keeper.received(heard)
  const { advice, unread } = parseAdvice(heard.get(adviceStream('mesh1'))?.items ?? new Map())
  const judged = judgedWith(keeper.view(), sees.dead ?? [], advice.frozen !== undefined)
  const probed = servicesWith(keeper.view(), sees.failing, advice.frozen !== undefined)
  const { config, summaries, home } = keeper.view()
  const traffic = trafficOf({
    ...{ home: home.cluster, config, gateways: summaries.gateways, judged, now: judged.at, advice },
    ...{ lost: new Set<ClusterName>(), caps: new Map(), peaks: new Map(), services: probed },
  })
  keeper.traffic(traffic)
  const log = { recent: () => [], counts: () => [] }
  const services = { judged: () => probed, unsure: () => [], leftOut: () => [], counts: () => new Map() }
  const health = () => ({
    ...{
      services,
      judged: () => judged,
      wrong: () => wrong,
      counts: () => new Map(),
      reached: () => [],
      advice,
      unread,
      log,
      now: judged.at,
    },
  })
  const wrong = sees.wrong ? [{ ...sees.wrong, cluster: parseClusterName(sees.wrong.cluster), address: 'there' }] : []
  const refusals = openRefusals()
  if (sees.refusal)
    refusals.told('shop/web-1', [
      {
        ...{ at: now - 1000, peer: '10.0.1.2:15443', cause: sees.refusal.cause, count: 3 },
        local: `outbound|9080||${sees.refusal.service}.shop.svc.cluster.local`,
      },
    ])
  return {
    ...{ keeper, traffic: trafficSight({ health }, keeper.view), wrong: () => wrong, refusals: refusals.list },
    conditions: () => sees.conditions ?? [],
    clients: () => (sees.connected === false ? [] : [{ proxy: nodeOf(sees), types: typesOf(sees) }]),
    lastWindow: () => windowOf(sees),
    ...{ issuingEnds: () => sees.issuingEnds ?? now + day, now: () => now },
  }
}

/** What the real judge makes of gateways that refuse, and of others that answer. */
function judgedWith(view: View, dead: readonly string[], frozen: boolean): Judged {
  const imported = new Map(
    [...view.summaries.gateways]
      .filter(([, { gateways }]) => gateways.length > 0)
      .map(([name, { gateways }]) => [parseClusterName(name), gateways.map((one) => `${one.address}:${one.port}`)]),
  )
  const facts: Facts = {
    probes: [...imported].flatMap(([cluster, addresses]) =>
      addresses.map((address) => ({ cluster, address, result: dead.includes(cluster) ? 'refused' : 'ok' }) as const),
    ),
    ...{ imported, centreHeardMsAgo: 100, beacons: [], frozen, lost: new Set(), drained: new Set() },
  }
  return [0, 1, 2, 3, 4].reduce((judged, round) => judge(judged, facts, 3000 * (round + 1)).judged, nothingJudged(0))
}

/** The same of services. */
function servicesWith(view: View, failing: RelaySees['failing'], frozen: boolean): JudgedServices {
  const found = probedServices(view).services
  const none = new Set<ClusterName>()
  const asked = new Map(
    found.map(({ key, probe, failback, exporters }) => [
      key,
      { probe, failback, exporters: exporters.map(({ cluster }) => cluster), aside: none, away: none },
    ]),
  )
  const probes = found.flatMap(({ key, exporters }) =>
    exporters.map(({ cluster }) => {
      const isBad = failing?.service === key && failing.clusters.includes(cluster)
      return { service: key, cluster, result: isBad ? 'answer' : 'ok', said: isBad ? failing.said : '' } as const
    }),
  )
  return [0, 1, 2, 3, 4].reduce(
    (judged, round) => judgeServices(judged, { probes, asked, frozen }, 3000 * (round + 1)).judged,
    noServices,
  )
}

const nodeOf = ({ metadata = {} }: RelaySees): ConnectedProxy => ({
  id: 'sidecar~10.9.0.1~web-1.shop~shop.svc.cluster.local',
  ...{ kind: 'sidecar', ip: '10.9.0.1', name: 'web-1.shop', domain: 'shop.svc.cluster.local', cluster: '' },
  ...{ metadata, locality: { region: '', zone: '', subZone: '' }, extensions: [] },
  ...{ userAgent: { name: 'envoy', version: '1.40.0' } },
  identity: { trustDomain: 'paris.mesh1', namespace: 'shop', serviceAccount: 'web' },
})

function typesOf({ types = {} }: RelaySees): Readonly<Record<string, TypeStatus>> {
  const all = { cluster: synced, endpoint: synced, listener: synced, route: synced, secret: synced }
  return { ...all, ...Object.fromEntries(Object.entries(types).map(([type, one]) => [type, { ...synced, ...one }])) }
}

function windowOf({ calls }: RelaySees): ReturnType<ExplainParts['lastWindow']> {
  if (!calls) return undefined
  const { ok, errors, service } = calls
  const row = { issued: ok + errors, ok, errors, active: 0, callee: parseClusterName('oslo') }
  return { rows: [{ ...row, service: service as never }], windowMs: 10_000 }
}
