import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { authenticator } from '#gateway/authenticate.ts'
import type { Certificates } from '#gateway/certificates.ts'
import { gatewaySight } from '#gateway/gateway-sight.ts'
import { type CertificateCounters, certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import type { JwksSource } from '#gateway/identity/jwks.ts'
import { type Look, lookService } from '#gateway/identity/look.ts'
import { type PodOf, tokenVerifier } from '#gateway/identity/token.ts'
import type { Issued } from '#gateway/issued.ts'
import { handOn, type Place } from '#gateway/lead/hand-on.ts'
import type { LoadReporter } from '#gateway/load-counts.ts'
import type { Sight } from '#gateway/plan-own-gateways.ts'
import type { Front } from '#gateway/relay/connections.ts'
import { type HostLoad, type LoadReports, loadReports } from '#gateway/relay/load-reports.ts'
import { type ConnectedProxy, keyOf } from '#gateway/relay/node.ts'
import { type AdsClient, type AdsObservables, type AdsServer, type AdsStatus, serveAds } from '#gateway/relay/server.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import type { ServedBundles } from '#gateway/trust-sight.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { Home, View } from '#mesh/model/view.ts'
import { parseProxy } from '#mesh/translate/node.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'

export type ProxyDoorParts = {
  readonly settings: RelaySettings
  readonly home: Home
  /** Who signs the tokens of this cluster's pods. */
  readonly tokens: { readonly issuer: string; readonly keys: JwksSource; readonly podOf?: PodOf }
  readonly certificates: Certificates
  readonly issued: Issued
  readonly served: Pick<ServedBundles, 'refreshed'>
  /** Hears what proxies say that they sent where. */
  /** The other replicas of this relay; absent where there are none. */
  readonly replicas?: { readonly handOnPort: number; leader(): Place | undefined } | undefined
  readonly loads: {
    take(reporter: LoadReporter, loads: readonly HostLoad[]): void
    gone(reporter: LoadReporter): void
    intervalMs(): number
    tookTimes(told: Look['callTimes']): void
  }
  readonly view: () => View
  readonly clock: () => Date
  readonly log: Logger
  readonly onAcknowledged: (type: string, ms: number) => void
}

/** The port at which the cluster's own proxies get their config and their certificates. */
export type ProxyDoor = {
  /** Opens it with the first usable certificates, and shows newer ones from then on. Gives whether it is open. */
  show(): Promise<boolean>
  isOpen(): boolean
  /** The view is another one. */
  changed(): void
  status(): AdsStatus
  observables(): Partial<AdsObservables>
  /** Who is connected; undefined while it is closed. */
  sight(): Sight | undefined
  /** All that are connected, and what each has of each type; undefined while it is closed. */
  clients(): readonly AdsClient[] | undefined
  /** Ends all streams here, so that each proxy dials again. */
  cut(): void
  /** Whether every proxy has acknowledged, or refused, all that it is to have. */
  isSettled(): boolean
  /** Proxies are to report in another interval. */
  retime(): void
  certified(): CertificateCounters
  close(): Promise<void>
}

export function openProxyDoor(parts: ProxyDoorParts): ProxyDoor {
  const { settings, home, certificates, clock, log } = parts
  const issuer = createIssuer({
    key: certificates.issuing,
    trustDomain: home.trustDomain,
    clock,
    random: (n) => randomBytes(n),
    roots: () => trustedRoots(parts.view()),
    denied: () => parts.view().bundle?.denied.map(({ id }) => id) ?? [],
  })
  const verifyToken = tokenVerifier({
    ...{ issuer: parts.tokens.issuer, jwks: parts.tokens.keys, podOf: parts.tokens.podOf },
    audience: settings.tokens.audience,
    clock,
    warn: (fault, message) => log.warn({ fault }, message),
  })
  const { issued } = parts
  const known = { issuer, verifyToken, clock, cluster: home.cluster }
  const issuing = certificateService({ ...known, log, checkKey: issued.checkKey, onIssued: issued.onIssued })
  const onLook = (look: Look): number => {
    parts.loads.tookTimes(look.callTimes)
    return issued.looked(look)
  }
  const looking = lookService({ ...known, log, onLook, proxies: () => ads?.clients().length ?? 0 })
  const translator = createTranslator()
  const rooted = withRoots(() => certificates.issuing.current()?.roots.map(certificatePem))
  const proxyOf = parsedOnce()
  const sightOf = gatewaySight(proxyOf)
  let ads: AdsServer | undefined
  let reports: LoadReports | undefined
  let shown: string | undefined
  let closed = false

  return {
    show: async () => {
      const newest = certificates.listener()
      if (closed || !newest) return ads !== undefined
      if (!ads) ads = await open(newest)
      else if (JSON.stringify(newest) !== shown) ads.rotate(newest)
      shown = JSON.stringify(newest)
      return true
    },
    isOpen: () => ads !== undefined,
    changed: () => ads?.changed(),
    status: () => ads?.status() ?? { proxies: [], quarantined: [] },
    observables: () => ads?.observables() ?? {},
    sight: () => ads && sightOf(ads),
    clients: () => ads?.clients(),
    cut: () => ads?.cut(),
    isSettled: () => ads?.isSettled() ?? true,
    retime: () => reports?.retime(),
    certified: issuing.counters,
    close: async () => {
      closed = true
      await ads?.close()
    },
  }

  async function open(serving: NonNullable<ReturnType<Certificates['listener']>>): Promise<AdsServer> {
    const { address, port } = settings.relay
    const authenticate = authenticator(home.trustDomain, verifyToken)
    const reported = loadReports<LoadReporter>({
      ...{ authenticate, reporterOf: reporterOf(proxyOf), intervalMs: parts.loads.intervalMs, log },
      ...{ onReport: parts.loads.take, onGone: parts.loads.gone },
    })
    reports = reported
    const { replicas } = parts
    const server = await serveAds({
      listen: [
        { host: address, port },
        ...(replicas ? [{ host: address, port: replicas.handOnPort, direct: true as const }] : []),
      ],
      ...(replicas ? { front: frontOf(replicas) } : {}),
      serving,
      methods: { ...issuing.methods, ...looking, ...reported.methods },
      authenticate,
      resourcesFor: (connected) => {
        const serve = translator.serving(proxyOf(connected))
        return () => {
          const view = parts.view()
          const resources = serve(rooted(view))
          parts.served.refreshed(connected, view.bundle?.seq ?? 0)
          return resources
        }
      },
      log,
      onAcknowledged: ({ type, ms }) => parts.onAcknowledged(type, ms),
      onNack: ({ proxy, type, names, detail }) =>
        log.warn(
          { proxy: proxy.id, type, names: names.slice(0, 20), detail: detail.slice(0, 1000) },
          'a proxy refused config',
        ),
    })
    log.info({ address: `${address}:${server.port}` }, 'serving proxies')
    return server
  }
}

/** In the order of the bundle: every answer ends in the same text, and Istio's agents push it on when it differs at all. */
const trustedRoots = ({ bundle, config }: View): readonly string[] =>
  bundle?.roots.map(({ pem }) => pem) ?? config?.trust.roots ?? []

/** What a proxy says of itself, read once a stream. */
function parsedOnce(): (connected: ConnectedProxy) => MeshProxy {
  const known = new WeakMap<ConnectedProxy, MeshProxy>()
  return (connected) => {
    const proxy = known.get(connected) ?? parseProxy(connected, connected.identity)
    known.set(connected, proxy)
    return proxy
  }
}

/** What is kept of a proxy while it reports. One that makes no sense is served nothing, and so calls nobody. */
const reporterOf =
  (proxyOf: (connected: ConnectedProxy) => MeshProxy) =>
  (connected: ConnectedProxy): LoadReporter => {
    const { kind } = connected
    try {
      const { ips, gateway } = proxyOf(connected)
      return { key: keyOf(connected), kind, addresses: gateway ? [...ips, gateway.address] : ips }
    } catch {
      return { key: keyOf(connected), kind, addresses: [] }
    }
  }

/** Until the centre was heard, proxies trust the roots of the own issuing CA. The same view gives the same object. */
function withRoots(own: () => readonly string[] | undefined): (view: View) => View {
  let last: { readonly from: View; readonly view: View } | undefined
  return (from) => {
    if (last?.from !== from) {
      const roots = from.config || from.bundle ? undefined : own()
      last = { from, view: roots ? { ...from, roots } : from }
    }
    return last.view
  }
}

/** What comes in is the leader's, as long as it takes it. */
const frontOf =
  ({ leader }: { leader(): Place | undefined }): Front =>
  (socket, serve) => {
    const place = leader()
    if (place) handOn(socket, place, serve)
    else serve(socket)
  }
