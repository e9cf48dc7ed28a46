import { randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { authenticator } from '#gateway/authenticate.ts'
import { openCertificates } from '#gateway/certificates.ts'
import { certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import { fileJwks } from '#gateway/identity/jwks.ts'
import { tokenVerifier } from '#gateway/identity/token.ts'
import { homeOf, joinUntilMember } from '#gateway/join-until-member.ts'
import { nothingYet, type Observed, relayMetrics } from '#gateway/metrics.ts'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import { type AdsServer, serveAds } from '#gateway/relay/server.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { takeState } from '#gateway/state-lock.ts'
import { serveStatus } from '#gateway/status/status-server.ts'
import { loadMembership, loadRelayKey } from '#gateway/uplink/membership.ts'
import { reportOf } from '#gateway/uplink/report.ts'
import { openUplink, type Uplink } from '#gateway/uplink/uplink.ts'
import { relayVersion } from '#gateway/version.ts'
import { viewKeeper } from '#gateway/view-keeper.ts'
import { directoryWatch } from '#gateway/watch/directory-watch.ts'
import type { ClusterWatch } from '#gateway/watch/watch.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { View } from '#mesh/model/view.ts'
import { parseProxy } from '#mesh/translate/node.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'

export type RelayParts = {
  readonly dir: string
  readonly settings: RelaySettings
  /** A join token, needed only until the cluster has joined. */
  readonly token?: string
  readonly log: Logger
  /** Unix ms; this machine's clock where absent. */
  readonly now?: () => number
}

type State = 'joining' | 'waiting-for-certificates' | 'serving'

const renewEveryMs = 60_000
const retryMs = 2000

/**
 * One relay, from an empty directory to serving. Before it joined only health and metrics are open. With a certificate
 * on disk it opens its port and serves what it last knew before it calls anyone.
 */
export async function startRelay({ dir, settings, token, log, now }: RelayParts): Promise<{ stop(): Promise<void> }> {
  const stateDir = join(dir, settings.state)
  const unlock = takeState(stateDir, log)
  let state: State = 'joining'
  let watch: ClusterWatch | undefined
  let uplink: Uplink | undefined
  let ads: AdsServer | undefined
  let stopped = false
  const timers = new Set<NodeJS.Timeout>()
  const parts: { status: () => object; observed: () => Partial<Observed> } = {
    status: () => ({}),
    observed: () => ({}),
  }
  const metrics = relayMetrics(() => ({ ...nothingYet, ...parts.observed() }))
  let statusServer: { close(): void } | undefined
  const stop = async () => {
    stopped = true
    for (const timer of timers) clearTimeout(timer)
    watch?.stop()
    uplink?.stop()
    await ads?.close()
    statusServer?.close()
    unlock()
  }
  try {
    await run()
  } catch (error) {
    await stop()
    throw error
  }
  return { stop }

  async function run(): Promise<void> {
    statusServer = await serveStatus(
      { host: settings.relay.statusAddress, port: settings.relay.statusPort },
      {
        ready: () => state === 'serving',
        status: () => ({ cluster: settings.cluster, version: relayVersion, state, ...parts.status() }),
        metrics: metrics.render,
      },
    )
    const membership =
      loadMembership(stateDir, (text) => log.warn(text)) ??
      (await joinUntilMember({ dir, stateDir, settings, token, log }, pause))
    if (stopped) return
    const home = homeOf(membership, settings)
    const cluster = directoryWatch({ dir: join(dir, settings.manifests), home, log })
    watch = cluster
    await cluster.start()
    const keeper = viewKeeper(home, cluster.current(), log)
    const line = openUplink({
      membership,
      key: loadRelayKey(stateDir, membership),
      dir: stateDir,
      version: relayVersion,
      log,
      ...(now ? { now } : {}),
      onReceived: (received) => {
        if (keeper.received(received)) ads?.changed()
        report()
      },
    })
    uplink = line
    keeper.received(line.received())
    let told: ReturnType<typeof reportOf> | undefined
    const report = () => {
      const { config } = keeper.view()
      told = reportOf({
        own: cluster.current(),
        home,
        relayVersion,
        flat: keeper.sharesNetwork(),
        ...(told ? { previous: told.items } : {}),
        ...(config ? { config } : {}),
      })
      line.report(told.items)
    }
    cluster.onChange(() => {
      keeper.own(cluster.current())
      ads?.changed()
      report()
    })
    report()

    const ips = [
      ...new Set([settings.relay.address, ...settings.relay.names].filter((name) => isIP(name) !== 0)),
    ].filter((ip) => ip !== '0.0.0.0' && ip !== '::')
    const clock = () => new Date(line.now())
    const certificates = await openCertificates({ stateDir, home, ips, clock, warn: (text) => log.warn(text) })
    const issuer = createIssuer({
      key: certificates.issuing,
      trustDomain: home.trustDomain,
      clock,
      random: (n) => randomBytes(n),
      roots: () => keeper.view().config?.trust.roots ?? [],
    })
    const verifyToken = tokenVerifier({
      issuer: settings.tokens.issuer,
      audience: settings.tokens.audience,
      jwks: fileJwks(join(dir, settings.tokens.jwks)),
      clock,
      warn: (fault, message) => log.warn({ fault }, message),
    })
    const issuing = certificateService({ issuer, verifyToken, clock, log, cluster: home.cluster })
    const translator = createTranslator()
    const proxies = new WeakMap<ConnectedProxy, MeshProxy>()
    const proxyOf = (connected: ConnectedProxy): MeshProxy => {
      const known = proxies.get(connected) ?? parseProxy(connected, connected.identity)
      proxies.set(connected, known)
      return known
    }

    parts.status = () => ({
      mesh: home.mesh,
      trustDomain: home.trustDomain,
      region: home.region,
      network: home.network,
      centre: line.status(),
      config: keeper.facts(),
      rejected: cluster.rejected(),
      conditions: [...(told?.conditions ?? []), ...(keeper.view().config?.conditions ?? [])],
      certificates: certificates.expiry(),
      ...(ads?.status() ?? { proxies: [], quarantined: [] }),
    })
    parts.observed = () => {
      const centre = line.status()
      return {
        ...(ads?.observables() ?? {}),
        issued: issuing.counters().issued,
        toTell: centre.toTell,
        lastHeardAt: centre.lastHeardAt,
        connected: centre.state === 'connected',
        rejectedObjects: cluster.rejected().length,
        stateFaults: centre.faults.length,
        expiry: certificates.expiry(),
      }
    }

    const rooted = withRoots(() => certificates.issuing.current()?.roots.map(certificatePem))
    const open = async () => {
      const serving = certificates.listener()
      if (!serving || ads || stopped) return
      ads = await serveAds({
        listen: [{ host: settings.relay.address, port: settings.relay.port }],
        serving,
        services: [{ definition: issuing.definition, handlers: issuing.implementation }],
        authenticate: authenticator(home.trustDomain, verifyToken),
        resourcesFor: (connected) => translator.resourcesFor(rooted(keeper.view()), proxyOf(connected)),
        log,
        onAcknowledged: ({ type, ms }) => metrics.acknowledged(type, ms),
        onNack: ({ proxy, type, names, detail }) =>
          log.warn(
            { proxy: proxy.id, type, names: names.slice(0, 20), detail: detail.slice(0, 1000) },
            'a proxy refused config',
          ),
      })
      state = 'serving'
      log.info({ address: `${settings.relay.address}:${ads.port}` }, 'serving proxies')
    }
    state = 'waiting-for-certificates'
    await open()
    line.start()
    let shown = certificates.listener()
    const showNewest = () => {
      const newest = certificates.listener()
      if (ads && newest && JSON.stringify(newest) !== JSON.stringify(shown)) ads.rotate(newest)
      shown = newest
    }
    let lastFault: string | undefined
    const renew = async (): Promise<void> => {
      let wait = renewEveryMs
      try {
        if (await certificates.renew(line.sign).finally(showNewest))
          log.info({ ...certificates.expiry() }, 'certificates renewed')
        await open()
        lastFault = undefined
      } catch (error) {
        const err = (error as Error).message
        if (err !== lastFault && !stopped)
          log.warn({ err, expiry: certificates.expiry() }, 'certificates could not be renewed yet')
        lastFault = err
        if (error instanceof Problem && error.kind === 'conflict' && !ads) throw error
        wait = ads ? renewEveryMs : retryMs
      }
      if (!stopped) later(wait, () => void renew().catch(fatal))
    }
    // With a certificate in hand nothing waits for the centre.
    if (ads) void renew().catch(fatal)
    else await renew()
  }

  function fatal(error: unknown): void {
    log.error({ err: (error as Error).message }, 'the relay cannot go on')
    process.exitCode = 1
    void stop()
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => later(ms, resolve))
  }

  function later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      timers.delete(timer)
      work()
    }, ms)
    timers.add(timer)
  }
}

/** Until the centre was heard, proxies trust the roots of the own issuing CA. The same view gives the same object. */
function withRoots(own: () => readonly string[] | undefined): (view: View) => View {
  let last: { readonly from: View; readonly view: View } | undefined
  return (from) => {
    if (last?.from !== from) {
      const roots = from.config ? undefined : own()
      last = { from, view: roots ? { ...from, roots } : from }
    }
    return last.view
  }
}
