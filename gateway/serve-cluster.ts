import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { openCertificates } from '#gateway/certificates.ts'
import { type AskedHere, explainCall } from '#gateway/explain-call.ts'
import { directoryGround, type Ground } from '#gateway/ground.ts'
import { openIssued } from '#gateway/issued.ts'
import { type KeptCertificates, keepCertificates } from '#gateway/keep-certificates.ts'
import { kubernetesGround } from '#gateway/kubernetes-ground.ts'
import { issuingEnds, lifeWarner } from '#gateway/life-left.ts'
import type { Observed } from '#gateway/metrics.ts'
import { type Generation, laterGeneration } from '#gateway/new-generation.ts'
import { openGateways } from '#gateway/open-gateways.ts'
import { type LoadWatch, openLoad } from '#gateway/open-load.ts'
import { openTraffic } from '#gateway/open-traffic.ts'
import type { OwnKubernetes } from '#gateway/own-kubernetes.ts'
import { openPauses } from '#gateway/pauses.ts'
import { openProxyDoor } from '#gateway/proxy-door.ts'
import { openRefusals } from '#gateway/refusals.ts'
import type { Self } from '#gateway/self.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { servedConfig, servedEndpoints } from '#gateway/status/served.ts'
import { openTrustKeeper, type TrustKeeper } from '#gateway/trust-keeper.ts'
import { servedBundles } from '#gateway/trust-sight.ts'
import { openTrustTelling } from '#gateway/trust-telling.ts'
import { noLine } from '#gateway/uplink/no-line.ts'
import { type Report, reportOf } from '#gateway/uplink/report.ts'
import type { Rival } from '#gateway/uplink/reporter.ts'
import { openUplink, type Uplink, type UplinkSettings } from '#gateway/uplink/uplink.ts'
import { relayVersion } from '#gateway/version.ts'
import { viewKeeper } from '#gateway/view-keeper.ts'
import type { Wanted } from '#gateway/wanted-authority.ts'
import { parseRange } from '#mesh/mcs/addresses.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Explanation } from '#mesh/model/explanation.ts'
import type { Home, View } from '#mesh/model/view.ts'
import { reportKeys } from '#mesh/wire/report.ts'

export type ClusterParts = {
  readonly self: Self
  readonly dir: string
  readonly stateDir: string
  readonly settings: RelaySettings
  /** Absent where the cluster is a directory. */
  readonly kubernetes?: OwnKubernetes | undefined
  readonly log: Logger
  /** Unix ms; this machine's clock where absent. */
  readonly now: (() => number) | undefined
  readonly onAcknowledged: (type: string, ms: number) => void
  /** The centre does not take this relay for a member. May be called often. */
  readonly onRefused: (reason: string) => void
  /** The centre gave the cluster a later trust domain. */
  readonly onGeneration: (next: Generation) => void
  /** What else a person should know. */
  readonly conditions: () => readonly Condition[]
  readonly onFatal: (error: unknown) => void
}

/** One cluster, served: everything of a relay that depends on who it is. */
export type ServedCluster = {
  /** Opens the port with the certificates on disk, and only then calls the centre. Rejects with what keeps it from serving. */
  start(): Promise<void>
  serves(): boolean
  status(): object
  /** What proxies are served from, in the form of the centre's API. */
  readonly served: { endpoints(): object; config(): object }
  /** The path of one call of a pod of this cluster. */
  explain(asked: AskedHere): Explanation
  observed(): Partial<Observed>
  stop(): Promise<void>
}

/** Reads the cluster and what was last known of the others; `start` serves it. */
export async function openCluster(parts: ClusterParts): Promise<ServedCluster> {
  const { self, dir, stateDir, settings, log } = parts
  const { home } = self
  const pauses = openPauses()
  const clock = () => new Date(line.now())
  const ips = ipsOf(settings.relay)
  const since = 'membership' in self ? { since: new Date(self.membership.time) } : {}
  const warn = (text: string) => log.warn(text)
  const trust = openTrustKeeper({ stateDir, membership: 'membership' in self ? self.membership : undefined, log })
  const wanted = () => wantedBy(keeper.view())
  const groundParts = { dir, stateDir, settings, home, log }
  const ground = parts.kubernetes ? kubernetesGround(parts.kubernetes, groundParts) : directoryGround(groundParts)
  const { watch: cluster, leads, sharing } = ground
  const certificates = await openCertificates({ stateDir, home, ips, clock, warn, wanted, ...since, sharing })
  await cluster.start()
  const gateways = openGateways({
    ...{ stateDir, home, settings, own: cluster.current, sight: () => door.sight(), log },
    onDial: () => {
      if (!keeper.redial()) return
      traffic.look()
      door.changed()
    },
    onOwn: () => report(),
  })
  const range = settings.kubernetes?.clusterSetCidr
  const keeper = viewKeeper({
    ...{ home, own: cluster.current(), log, dial: gateways.dialled, trust },
    ...(range === undefined ? {} : { clusterSetRange: parseRange(range) }),
  })
  const line = openLine({ ...parts, leads }, trust, (received) => {
    const before = wanted()
    const heard = keeper.received(received)
    if (traffic.received(received) || heard) door.changed()
    load.received()
    const after = wanted()
    if (after.bundle !== before.bundle) telling.taken()
    if (!isDeepStrictEqual(before, after)) kept?.look()
    noteGeneration()
    report()
    if (heard) ground.changed()
  })
  keeper.received(line.received())
  // What was kept moves traffic before anybody is served: there is nobody to be told yet.
  const word = { viewMoved: (): void => undefined, shifts: (): void => undefined }
  const traffic = openTraffic({
    ...{ stateDir, home, settings, certificates, line, keeper, clock, log },
    ...(parts.now ? { wall: parts.now } : {}),
    onChange: () => word.viewMoved(),
    onShifts: () => word.shifts(),
    failedIn: (callee, ms) => load.failedIn(callee, ms),
  })
  traffic.received(line.received())
  const load: LoadWatch = openLoad({
    ...{ stateDir, line, keeper, pauses, log, home: gateways.home },
    ...{ traffic: () => traffic, door: () => door },
  })
  let told: Report | undefined
  let kept: KeptCertificates | undefined
  const served = servedBundles(() => line.now())
  const telling = openTrustTelling({
    ...{ trustDomain: home.trustDomain, trust, certificates, served, own: cluster.current, pauses },
    issued: {
      leaves: (exists) => issued.leaves(exists),
      head: () => issued.head(),
      controlPlaneOf: (pod) => issued.controlPlaneOf(pod),
    },
    ...{ clients: () => door.clients(), now: () => line.now(), onNews: () => report() },
  })
  const refusals = openRefusals()
  const issued = openIssued({
    ...{ stateDir, trustDomain: home.trustDomain, issuing: certificates.issuing, wanted, clock, warn, refusals },
    onNews: telling.soon,
  })
  const report = () => {
    if (cluster.isSynced?.() === false) return
    const { config } = keeper.view()
    told = reportOf({
      own: cluster.current(),
      home: gateways.home(),
      relayVersion,
      flat: keeper.sharesNetwork(),
      ...(told ? { previous: told.items } : {}),
      ...(config ? { config } : {}),
    })
    const trusted = telling.told()
    line.report(trusted ? new Map<string, Json>([...told.items, [reportKeys.trust, trusted as Json]]) : told.items)
  }
  const onAcknowledged = (type: string, ms: number) => {
    parts.onAcknowledged(type, ms)
    telling.acknowledged(type)
  }
  const door = openProxyDoor({
    ...{ settings, home, certificates, issued, served, view: keeper.view, clock, log, onAcknowledged },
    ...{ tokens: ground.tokens, replicas: ground.replicas },
    loads: { take: load.counts.take, gone: load.counts.gone, intervalMs: load.intervalMs, tookTimes: load.tookTimes },
  })
  word.viewMoved = () => door.changed()
  word.shifts = () => {
    load.soon()
    ground.shifted()
  }
  cluster.onChange(() => {
    keeper.own(cluster.current())
    ground.changed()
    traffic.look()
    door.changed()
    // The own proxies first: the round above begins when this is through.
    setImmediate(report)
  })
  function noteGeneration(): void {
    const next = laterGeneration(self, keeper.view().config?.trust)
    if (next) parts.onGeneration(next)
  }
  const notAMember = () => (line.status().state === 'connected' ? [] : parts.conditions())
  return {
    start: async () => {
      report()
      const remarks = () => told?.conditions ?? []
      const shifts = () => traffic.keeper.health().log.recent()
      ground.start({ line, door, trust, view: keeper.view, remarks, shifts })
      const serves = await door.show()
      line.start()
      load.begin()
      const warnOfEnd = lifeWarner('the issuing CA', log)
      const keeping = {
        ...{ certificates, sign: line.sign, pauses, log, show: door.show, onFatal: parts.onFatal },
        onFailed: () => warnOfEnd(certificates.issuing.current()?.chain[0], clock()),
      }
      // With a certificate in hand nothing waits for the centre.
      telling.start()
      noteGeneration()
      kept = keepCertificates(keeping)
      if (serves) kept.first.catch(parts.onFatal)
      else await kept.first
    },
    serves: door.isOpen,
    status: () => ({
      mesh: home.mesh,
      trustDomain: home.trustDomain,
      region: home.region,
      network: home.network,
      centre: line.status(),
      config: keeper.facts(),
      rejected: cluster.rejected(),
      conditions: [
        ...notAMember(),
        ...twoRelays(home, line.status().rival),
        ...gateways.conditions(),
        ...trust.conditions(),
        ...ground.conditions(),
        ...traffic.sight.conditions(),
        ...issuingEnds(certificates.issuing.current()?.chain[0], {
          ...{ now: clock(), fault: kept?.fault(), cluster: home.cluster },
        }),
        ...(told?.conditions ?? []),
        ...(keeper.view().config?.conditions ?? []),
      ],
      certificates: certificates.expiry(),
      ...((trusted) => trusted && { trust: trusted })(telling.now()),
      ...ground.facts(),
      traffic: traffic.sight.status(),
      load: load.status(),
      ...door.status(),
      refusals: refusals.list(),
    }),
    served: {
      endpoints: () => ({
        cluster: home.cluster,
        items: servedEndpoints(home.cluster, told?.items ?? new Map(), keeper.view().summaries),
      }),
      config: () => servedConfig(keeper.view(), keeper.facts().revision),
    },
    explain: (asked) =>
      explainCall(
        {
          ...{ keeper, traffic: traffic.sight, conditions: gateways.conditions },
          lastWindow: load.lastWindow,
          wrong: () => traffic.keeper.health().wrong(),
          ...{ refusals: refusals.list, clients: door.clients, now: line.now },
          issuingEnds: () => certificates.expiry().issuing,
        },
        asked,
      ),
    observed: () => {
      const centre = line.status()
      return {
        ...door.observables(),
        ...gateways.observed(),
        issued: door.certified().issued,
        refusedCertificates: door.certified().refused,
        toTell: centre.toTell,
        lastHeardAt: centre.lastHeardAt,
        connected: centre.state === 'connected',
        rejectedObjects: cluster.rejected().length,
        refusedItems: centre.refused.length,
        mismatches: centre.mismatches,
        hasRival: centre.rival !== undefined,
        stateFaults: centre.faults.length,
        expiry: { ...certificates.expiry(), ...trust.expiry() },
        trust: {
          bundleSeq: trust.pin().seq,
          bundleFaults: trust.faultCounts(),
          oldLeaves: telling.told()?.leaves.old ?? 0,
          refusedHandshakes: refusals.counts(),
        },
        traffic: traffic.sight.observed(),
        load: load.observed(),
      }
    },
    stop: async () => {
      pauses.end()
      ground.stop()
      void cluster.stop()
      gateways.stop()
      traffic.stop()
      line.stop()
      await door.close()
      issued.close()
    },
  }
}

/** Said on both of them: neither can know which one is meant to be there. */
function twoRelays({ cluster }: Home, rival: Rival | undefined): Condition[] {
  if (!rival) return []
  const message =
    `two relays report as ${cluster}, this one and instance ${rival.instance}, and each replaces what the other tells: ` +
    "end one of them. A copy of a relay's state directory is never started beside the original: another cluster has a " +
    'name and a token of its own (isthmus cluster create)'
  return [{ type: 'TwoRelays', reason: 'EpochReplaced', message, object: `cluster ${cluster}` }]
}

/** Equal where the same is wanted. */
const wantedBy = ({ bundle, config }: View): Wanted => ({
  ...(bundle ? { bundle } : {}),
  ...(config?.trust.issuingBefore === undefined ? {} : { issuingBefore: config.trust.issuingBefore }),
})

function openLine(
  parts: ClusterParts & Pick<Ground, 'leads'>,
  trust: TrustKeeper,
  onReceived: UplinkSettings['onReceived'],
): Uplink {
  const { self, stateDir, log, onRefused } = parts
  const now = parts.now ? { now: parts.now } : {}
  if ('fault' in self) return noLine({ dir: stateDir, reason: self.fault, log, onRefused, ...now })
  const { membership, key } = self
  const { leads } = parts
  const about = { membership, key, dir: stateDir, version: relayVersion, controlPlane: trust.controlPlane, leads }
  return openUplink({ ...about, log, onReceived, onRefused, ...now })
}

/** The addresses that proxies dial, for the certificate. */
const ipsOf = ({ address, names }: RelaySettings['relay']): string[] =>
  [...new Set([address, ...names].filter((name) => isIP(name) !== 0))].filter((ip) => ip !== '0.0.0.0' && ip !== '::')
