import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adminAt, statsOf } from '#gateway/proxy/envoy-admin.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { serveSecrets } from '#gateway/proxy/serve-secrets.ts'
import type { ResourceSet } from '#mesh/model/resource.ts'
import { buildBootstrap, controlPlaneName } from '#mesh/translate/bootstrap.ts'
import { parseProxy } from '#mesh/translate/node.ts'
import { buildIdentitySecret, buildTrustSecret } from '#mesh/translate/secret.ts'
import { type CaseText, caseOf } from '#mesh/translate/testdata/case.ts'
import type { Leaf } from '#mesh/translate/testdata/real-envoy.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { formatSpiffeId, spiffeId } from '#mesh/trust/spiffe-id.ts'
import { startAdsRelay, type TestRelay } from '#tests/support/ads-relay.ts'
import { domain, type Holder, make, makeIssuing } from '#tests/support/authorities.ts'
import { listening, serveEcho, serveTcpEcho } from '#tests/support/echo.ts'
import { makeFakeCluster } from '#tests/support/fake-relay.ts'
import { envoyPath } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

/**
 * What the centre says at this moment: the members, their roots, who may call each service of cluster b, and who offers
 * them beside b to a, further away and with nothing behind it.
 */
export type Word = {
  readonly members: readonly string[]
  readonly roots: readonly string[]
  readonly consumers: { readonly reviews: readonly string[]; readonly db: readonly string[] }
  readonly others: readonly string[]
  /** What its bundle says, where it has one: `c.mesh1 c 3` = domain, cluster, number; an id and a number. */
  readonly revoked?: readonly string[]
  readonly denied?: readonly string[]
  /** Trust domains of other meshes with their roots; b's services name `partner.example`. Those taken out: domain, number. */
  readonly foreign?: Readonly<Record<string, readonly string[]>>
  readonly unfederated?: readonly string[]
  /** The number that the centre says of b's exports. */
  readonly cut?: number
  /** Clusters that are not told: a revoked one hears nothing any more. */
  readonly deaf?: readonly string[]
}

export type Border = {
  readonly relay: TestRelay
  /** The root that signed everybody's certificates, PEM. */
  readonly root: string
  readonly say: (next: Partial<Word>) => void
  /** Resolves when every proxy has acknowledged all that is said. */
  readonly settled: () => Promise<void>
  readonly stats: (envoy: EnvoyName, filter: string) => Promise<ReadonlyMap<string, number>>
  readonly leafOf: (cluster: string, account: string) => Promise<Leaf>
  /** `<address>` where the pod behind the border is called, and where the callers of a and c find its services. */
  readonly at: { readonly server: string; readonly gateway: string; readonly out: Record<'a' | 'c', Out> }
  readonly stop: () => Promise<void>
}

type Out = { readonly http: string; readonly tcp: string }
export type EnvoyName = 'caller-a' | 'caller-c' | 'gateway' | 'server'

const ports = { 'bookinfo/reviews': 'http 9080 http', 'bookinfo/db': 'tcp 7000 tcp' }
export const drainSeconds = 2

/**
 * Clusters a and c call cluster b through its gateway: four real Envoys that take everything from one real ADS server,
 * rendered by the real translator from what `say` set last, and their certificates from a real secret server. They drain
 * within two seconds, so that a replaced chain shows.
 */
export async function startServedBorder(first: Partial<Word> = {}): Promise<Border> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-border-'))
  const net = `127.${randomInt(64, 250)}.${randomInt(1, 25)}`
  const address = (n: number) => `${net}${n}.1`
  const [server, app, gateway, serverOut] = [address(0), address(1), address(2), address(3)]
  const out = { a: { http: address(4), tcp: address(5) }, c: { http: address(6), tcp: address(7) } }
  const self = { a: address(8), c: address(9) }
  const pki = await makeFakeCluster('b')
  const issuing: Record<string, Holder> = { b: pki.issuing }
  for (const cluster of ['a', 'c']) issuing[cluster] = await makeIssuing(pki.root, cluster)

  let word: Word = {
    members: ['a', 'b', 'c'],
    roots: [pki.root.pem],
    consumers: { reviews: ['a', 'c'], db: ['a', 'c'] },
    others: [],
    ...first,
  }
  const bundleFor = (cluster: string): Pick<CaseText, 'bundle'> => {
    const { roots, revoked = [], denied = [], foreign = {}, unfederated = [], deaf = [] } = word
    const isHeard = !deaf.includes(cluster) && (word.revoked || word.denied)
    return isHeard ? { bundle: { roots, revoked, denied, foreign, unfederated } } : {}
  }
  const more = () => ({ foreign: ['partner.example'], ...(word.cut === undefined ? {} : { cut: word.cut }) })
  const caller = (cluster: 'a' | 'c', others: readonly string[]): CaseText => ({
    cluster,
    region: 'r1',
    config: {
      ...word,
      imports: {
        ...Object.fromEntries(
          Object.entries(ports).map(([key, port]) => [
            key,
            {
              ports: [port],
              sources: ['b net-b r1 reviews', ...others.map((name) => `${name} net-${name} r2 reviews`)],
              tiers: [{ b: 1 }, ...others.map((name) => ({ [name]: 1 }))],
            },
          ]),
        ),
        // Nobody calls it: it shares its port with reviews.
        'bookinfo/beside': { ports: ['http 9080 http'], sources: ['d net-d r2 beside'], tiers: [{ d: 1 }] },
      },
    },
    ...bundleFor(cluster),
    summaries: { b: { gateways: [`${gateway}:15443`], services: {} } },
    proxy: { id: `sidecar~${self[cluster]}~web-1.bookinfo~bookinfo.svc.cluster.local`, account: 'web', metadata: {} },
  })
  const serving = (): CaseText => ({
    cluster: 'b',
    region: 'r1',
    gateways: [`${gateway}:15443`],
    services: Object.fromEntries(Object.entries(ports).map(([key, port]) => [key, { ports: [port] }])),
    pods: {
      'bookinfo/reviews-1': {
        ip: server,
        account: 'reviews',
        behind: { 'bookinfo/reviews': { http: 9080 }, 'bookinfo/db': { tcp: 7000 } },
      },
    },
    exports: Object.keys(ports),
    config: {
      ...word,
      exports: {
        'bookinfo/reviews': { ports: [ports['bookinfo/reviews']], consumers: word.consumers.reviews, ...more() },
        'bookinfo/db': { ports: [ports['bookinfo/db']], consumers: word.consumers.db, ...more() },
      },
    },
    ...bundleFor('b'),
    proxy: { id: 'router~~x.x~x', account: '', metadata: {} },
  })
  const viewsNow = () => ({
    'a.mesh1': caseOf(caller('a', word.others)).view,
    'b.mesh1': caseOf(serving()).view,
    'c.mesh1': caseOf(caller('c', [])).view,
  })
  let views: Readonly<Record<string, ReturnType<typeof caseOf>['view']>> = viewsNow()
  const translators = { 'a.mesh1': createTranslator(), 'b.mesh1': createTranslator(), 'c.mesh1': createTranslator() }
  const relay = await startAdsRelay(
    pki,
    undefined,
    {},
    {
      resourcesFor: (proxy) => {
        const home = proxy.identity.trustDomain as keyof typeof translators
        const serve = translators[home].serving(parseProxy(proxy, proxy.identity))
        return (): ResourceSet | undefined => {
          const view = views[home]
          return view && serve(view)
        }
      },
    },
  )

  const leafOf = async (cluster: string, account: string): Promise<Leaf> => {
    const by = issuing[cluster]
    if (!by) throw new Error(`no authority for ${cluster}`)
    const namespace = account === 'eastwest' ? 'isthmus-system' : 'bookinfo'
    const leaf = await make({
      profile: 'workload',
      names: identityNames(spiffeId(domain(cluster), namespace, account)),
      by,
    })
    return { chain: `${leaf.pem}${by.pem}`, key: leaf.key.keyPem }
  }

  const stops: (() => Promise<void> | void)[] = [() => relay.server.close()]
  const admins = new Map<EnvoyName, ReturnType<typeof adminAt>>()
  const envoy = await envoyPath()
  const start = async (name: EnvoyName, facts: EnvoyFacts): Promise<void> => {
    const secretsSocket = join(dir, `${name}.sds`)
    const secrets = await serveSecrets(secretsSocket, silent)
    const leaf = await leafOf(facts.cluster, facts.account)
    const relayUri = formatSpiffeId(spiffeId(domain('b'), 'isthmus-system', 'relay'))
    secrets.publish(
      new Map([
        ['default', buildIdentitySecret('default', leaf.chain, leaf.key)],
        [controlPlaneName, buildTrustSecret(controlPlaneName, pki.controlPlane.pem, [relayUri])],
      ]),
    )
    const adminSocket = join(dir, `${name}.admin`)
    const config = join(dir, `${name}.json`)
    const bootstrap = buildBootstrap({
      type: facts.type,
      pod: facts.pod,
      namespace: facts.account === 'eastwest' ? 'isthmus-system' : 'bookinfo',
      serviceAccount: facts.account,
      instanceIps: [facts.ip],
      cluster: facts.cluster,
      network: `net-${facts.cluster}`,
      mesh: 'mesh1',
      labels: {},
      interception: 'NONE',
      relay: {
        host: '127.0.0.1',
        port: relay.server.port,
        uri: relayUri,
      },
      secretsSocket,
      admin: { socket: adminSocket },
      connectionsMax: 1000,
      concurrency: 1,
      ...facts.more,
    })
    writeFileSync(config, JSON.stringify(bootstrap))
    const args = ['-c', config, '--concurrency', '1', '--disable-hot-restart', '-l', 'warning']
    const drain = ['--drain-time-s', String(drainSeconds), '--drain-strategy', 'immediate']
    const child = spawn(envoy, [...args, ...drain, '--log-path', join(dir, `${name}.log`)], { stdio: 'ignore' })
    stops.push(async () => {
      await ended(child)
      secrets.close()
    })
    const admin = adminAt({ socket: adminSocket })
    admins.set(name, admin)
    await eventually(15_000, `${name} is ready`, async () => (await admin.text('GET', '/ready')).startsWith('LIVE'))
  }

  const applications = [serveEcho(), serveTcpEcho()] as const
  for (const one of applications) stops.push(() => void one.close())
  await listening(applications[0], 9080, app)
  await listening(applications[1], 7000, app)

  const border: Border = {
    relay,
    root: pki.root.pem,
    leafOf,
    at: { server, gateway, out },
    say: (next) => {
      word = { ...word, ...next }
      views = viewsNow()
      relay.server.changed()
    },
    settled: async () => {
      await eventually(10_000, 'every proxy is in step', () => {
        const { proxies } = relay.server.status()
        const types = proxies.flatMap((proxy) => Object.values(proxy.types))
        return proxies.length === 4 && types.every(({ state }) => state === 'SYNCED')
      })
    },
    stats: async (name, filter) => {
      const admin = admins.get(name)
      if (!admin) throw new Error(`there is no Envoy "${name}"`)
      return statsOf(admin, filter)
    },
    stop: async () => {
      for (const stop of stops.reverse()) await stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  const sidecar = (cluster: 'a' | 'c'): EnvoyFacts => ({
    ...{ type: 'sidecar', cluster, pod: 'web-1', account: 'web', ip: self[cluster] },
    more: {
      plain: {
        application: self[cluster],
        outbound: out[cluster].http,
        tcp: { 'db.bookinfo.svc.cluster.local:7000': out[cluster].tcp },
      },
    },
  })
  try {
    await Promise.all([
      start('server', {
        ...{ type: 'sidecar', cluster: 'b', pod: 'reviews-1', account: 'reviews', ip: server },
        more: { plain: { application: app, outbound: serverOut, tcp: {} } },
      }),
      start('gateway', {
        ...{ type: 'router', cluster: 'b', pod: 'eastwest-1', account: 'eastwest', ip: gateway },
        more: { gateway: { host: gateway, port: 15443 } },
      }),
      start('caller-a', sidecar('a')),
      start('caller-c', sidecar('c')),
    ])
    await border.settled()
  } catch (fault) {
    await border.stop()
    throw fault
  }
  return border
}

type EnvoyFacts = {
  readonly type: 'sidecar' | 'router'
  readonly cluster: string
  readonly pod: string
  readonly account: string
  readonly ip: string
  readonly more: Partial<Parameters<typeof buildBootstrap>[0]>
}

const silent = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
} as never as Log

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
