import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** What the metrics read when they are asked for; nothing is counted twice. */
export type Observed = {
  readonly streams: number
  readonly connections: number
  readonly pendingTypes: number
  readonly pushes: Readonly<Record<string, number>>
  readonly bytes: Readonly<Record<string, number>>
  readonly nacks: number
  /** By reason: a closed set. */
  readonly refusedStreams: Readonly<Record<string, number>>
  /** By kind of problem. */
  readonly refusedCertificates: Readonly<Record<string, number>>
  /** Resources that some or all proxies are not offered, by full type URL. */
  readonly quarantined: Readonly<Record<string, number>>
  readonly issued: number
  readonly toTell: number
  /** Unix ms; undefined = never heard. */
  readonly lastHeardAt: number | undefined
  readonly connected: boolean
  readonly rejectedObjects: number
  /** Items of the report that others are not told of. */
  readonly refusedItems: number
  /** How often a stream of the centre did not add up. */
  readonly mismatches: number
  /** Whether another relay reports as this cluster. */
  readonly hasRival: boolean
  readonly stateFaults: number
  /** How many of the own gateways are in each state. */
  readonly ownGateways: Readonly<Record<string, number>>
  /** Names of gateways that this relay resolves, by what is wrong with them. */
  readonly gatewayNames: Readonly<Record<string, number>>
  readonly expiry: Readonly<Record<string, number>>
  /** What stands of the mesh's trust: closed sets of causes and reasons. */
  readonly trust: {
    readonly bundleSeq: number
    readonly bundleFaults: Readonly<Record<string, number>>
    readonly oldLeaves: number
    readonly refusedHandshakes: Readonly<Record<string, number>>
  }
  /** How other clusters stand, and what of the own callers was moved. */
  readonly traffic: {
    readonly isolated: boolean
    readonly frozen: boolean
    readonly belowFirstTier: number
    /** By result: a closed set. */
    readonly probes: readonly { readonly cluster: string; readonly results: Readonly<Record<string, number>> }[]
    /** Of single services. */
    readonly serviceProbes: readonly { readonly cluster: string; readonly results: Readonly<Record<string, number>> }[]
    readonly servicesOut: readonly { readonly cluster: string; readonly services: number }[]
    /** Services whose probes are not made, because all together would be too many. */
    readonly probesLeftOut: number
    readonly clusters: readonly { readonly cluster: string; readonly percent: number; readonly gatewaysDown: number }[]
    readonly shifts: readonly { readonly cluster: string; readonly kind: string; readonly count: number }[]
  }
  /** What of the own callers is measured, and where their calls are meant to go and go. Bounded. */
  readonly load: {
    readonly proxies: { readonly measured: number; readonly notMeasured: number }
    readonly shares: readonly {
      readonly service: string
      readonly callee: string
      readonly kind: 'intended' | 'measured'
      readonly share: number
    }[]
    readonly leftOut: number
    /** Of calls of the last minute, by service; what is not measured is not there. */
    readonly latencies: readonly {
      readonly service: string
      readonly p50Ms: number
      readonly p90Ms: number
      readonly p99Ms: number
    }[]
  }
}

/** Before the relay has joined. */
export const nothingYet: Observed = {
  streams: 0,
  connections: 0,
  pendingTypes: 0,
  pushes: {},
  bytes: {},
  nacks: 0,
  refusedStreams: {},
  refusedCertificates: {},
  quarantined: {},
  issued: 0,
  toTell: 0,
  lastHeardAt: undefined,
  connected: false,
  rejectedObjects: 0,
  refusedItems: 0,
  mismatches: 0,
  hasRival: false,
  stateFaults: 0,
  ownGateways: {},
  gatewayNames: {},
  expiry: {},
  trust: { bundleSeq: 0, bundleFaults: {}, oldLeaves: 0, refusedHandshakes: {} },
  traffic: {
    ...{ isolated: false, frozen: false, belowFirstTier: 0, probes: [], clusters: [], shifts: [] },
    ...{ serviceProbes: [], servicesOut: [], probesLeftOut: 0 },
  },
  load: { proxies: { measured: 0, notMeasured: 0 }, shares: [], leftOut: 0, latencies: [] },
}

export type RelayMetrics = {
  readonly acknowledged: (type: string, ms: number) => void
  readonly render: () => Promise<{ readonly type: string; readonly text: string }>
}

const shortType = (type: string): string => type.replace(/^.*\./, '')

/** Prometheus metrics of one relay. Names begin with `isthmus_relay_`; seconds and bytes as Prometheus asks. */
export function relayMetrics(observe: () => Observed): RelayMetrics {
  const registers = [new Registry()]
  const [registry] = registers
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers })
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const latency = new Histogram({
    name: 'isthmus_relay_change_to_acknowledged_seconds',
    help: 'From a change in the relay to its acknowledgement by a proxy.',
    labelNames: ['type'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  })
  const plain = {
    streams: gauge('isthmus_relay_streams', 'Open discovery streams.'),
    connections: gauge('isthmus_relay_connections', 'Open connections.'),
    pending: gauge('isthmus_relay_pending_types', 'Types of all streams with something due or not yet acknowledged.'),
    toTell: gauge('isthmus_relay_report_pending_items', 'Items of the report that the centre has not acknowledged.'),
    staleness: gauge('isthmus_relay_centre_silence_seconds', 'Time since the centre was last heard; -1 = never.'),
    connected: gauge('isthmus_relay_centre_connected', '1 while the centre answers.'),
    rejected: gauge('isthmus_relay_rejected_objects', 'Objects of the cluster that are set aside.'),
    quarantined: gauge('isthmus_relay_quarantined_resources', 'Resource versions that proxies refused.', ['type']),
    refusedItems: gauge('isthmus_relay_refused_items', 'Items of the report that other clusters are not told of.'),
    rivals: gauge('isthmus_relay_rivals', '1 while another relay reports as this cluster.'),
    faults: gauge('isthmus_relay_state_faults', 'State files that could not be read or written.'),
    ownGateways: gauge('isthmus_relay_own_gateways', 'East-west gateways of this cluster, as others are told.', [
      'state',
    ]),
    gatewayNames: gauge(
      'isthmus_relay_gateway_names',
      'Host names of gateways: all, without any address, served from an older answer, leading to another cluster.',
      ['kind'],
    ),
    bundleSeq: gauge('isthmus_relay_bundle_seq', 'Number of the trust bundle in force; 0 = none.'),
    oldLeaves: gauge(
      'isthmus_relay_old_leaves',
      'Workload certificates in use that are of an authority before the present one.',
    ),
    isolated: gauge('isthmus_relay_isolated', '1 while no gateway of any other cluster answers.'),
    frozen: gauge('isthmus_relay_frozen', '1 while no verdict about health moves callers.'),
    below: gauge('isthmus_relay_services_below_first_tier', 'Services of which calls are served below the first tier.'),
    admitted: gauge('isthmus_relay_cluster_admitted_percent', 'Of its share that a cluster is given.', ['cluster']),
    gatewaysDown: gauge('isthmus_relay_gateways_down', 'Gateways of another cluster that do not answer.', ['cluster']),
    servicesOut: gauge('isthmus_relay_services_out', 'Services that are out in a cluster because their probe fails.', [
      'cluster',
    ]),
    probesLeftOut: gauge('isthmus_relay_service_probes_left_out', 'Services whose probes would be too many to make.'),
    loadProxies: gauge('isthmus_relay_load_proxies', 'Proxies that call, by whether they report their load.', [
      'measured',
    ]),
    share: gauge(
      'isthmus_relay_share',
      'Of the calls of a service that go to a cluster: as is meant, and as measured.',
      [...['service', 'callee', 'kind']],
    ),
    callSeconds: gauge(
      'isthmus_relay_call_seconds',
      'How long calls to a service took in the last minute, as Envoys counted; at most 100 services.',
      [...['service', 'quantile']],
    ),
    shareLeftOut: gauge(
      'isthmus_relay_share_left_out',
      'Called services whose shares had no room among these metrics.',
    ),
    expiry: gauge('isthmus_relay_certificate_expiry_seconds', 'End of a certificate, Unix time.', ['certificate']),
  }
  const rising = {
    pushes: counter('isthmus_relay_pushes_total', 'Responses sent.', ['type']),
    bytes: counter('isthmus_relay_pushed_bytes_total', 'Bytes of resources sent.', ['type']),
    nacks: counter('isthmus_relay_nacks_total', 'Responses that a proxy refused.'),
    refused: counter('isthmus_relay_refused_streams_total', 'Streams refused.', ['reason']),
    uncertified: counter('isthmus_relay_refused_certificates_total', 'Workload certificates refused.', ['reason']),
    mismatches: counter('isthmus_relay_stream_mismatches_total', 'Streams of the centre that did not add up.'),
    bundleFaults: counter('isthmus_relay_bundle_faults_total', 'Trust bundles refused.', ['reason']),
    handshakes: counter('isthmus_relay_refused_handshakes_total', 'Handshakes that proxies refused, or were refused.', [
      'cause',
    ]),
    probes: counter('isthmus_relay_probes_total', 'Probes of gateways of other clusters.', ['cluster', 'result']),
    serviceProbes: counter('isthmus_relay_service_probes_total', 'Probes of services in other clusters.', [
      ...['cluster', 'result'],
    ]),
    shifts: counter('isthmus_relay_shifts_total', 'Moves of callers to and from clusters.', ['cluster', 'kind']),
    issued: counter('isthmus_relay_certificates_issued_total', 'Workload certificates issued.'),
  }
  return {
    acknowledged: (type, ms) => latency.observe({ type: shortType(type) }, ms / 1000),
    render: async () => {
      set(observe())
      return { type: registry?.contentType ?? 'text/plain', text: (await registry?.metrics()) ?? '' }
    },
  }

  function set(now: Observed): void {
    plain.streams.set(now.streams)
    plain.connections.set(now.connections)
    plain.pending.set(now.pendingTypes)
    plain.toTell.set(now.toTell)
    plain.staleness.set(now.lastHeardAt === undefined ? -1 : (Date.now() - now.lastHeardAt) / 1000)
    plain.connected.set(now.connected ? 1 : 0)
    plain.rejected.set(now.rejectedObjects)
    plain.refusedItems.set(now.refusedItems)
    plain.rivals.set(now.hasRival ? 1 : 0)
    plain.quarantined.reset()
    for (const [type, count] of Object.entries(now.quarantined)) plain.quarantined.set({ type: shortType(type) }, count)
    plain.faults.set(now.stateFaults)
    for (const [state, count] of Object.entries(now.ownGateways)) plain.ownGateways.set({ state }, count)
    for (const [kind, count] of Object.entries(now.gatewayNames)) plain.gatewayNames.set({ kind }, count)
    for (const [certificate, end] of Object.entries(now.expiry)) plain.expiry.set({ certificate }, end / 1000)
    for (const one of Object.values(rising)) one.reset()
    for (const [type, count] of Object.entries(now.pushes)) rising.pushes.inc({ type: shortType(type) }, count)
    for (const [type, count] of Object.entries(now.bytes)) rising.bytes.inc({ type: shortType(type) }, count)
    rising.nacks.inc(now.nacks)
    for (const [reason, count] of Object.entries(now.refusedStreams)) rising.refused.inc({ reason }, count)
    for (const [reason, count] of Object.entries(now.refusedCertificates)) rising.uncertified.inc({ reason }, count)
    rising.mismatches.inc(now.mismatches)
    rising.issued.inc(now.issued)
    plain.bundleSeq.set(now.trust.bundleSeq)
    plain.oldLeaves.set(now.trust.oldLeaves)
    for (const [reason, count] of Object.entries(now.trust.bundleFaults)) rising.bundleFaults.inc({ reason }, count)
    for (const [cause, count] of Object.entries(now.trust.refusedHandshakes)) rising.handshakes.inc({ cause }, count)
    setTraffic(now.traffic)
    setLoad(now.load)
  }
  function setLoad({ proxies, shares, leftOut, latencies }: Observed['load']): void {
    plain.loadProxies.set({ measured: 'true' }, proxies.measured)
    plain.loadProxies.set({ measured: 'false' }, proxies.notMeasured)
    plain.share.reset()
    for (const { share, ...labels } of shares) plain.share.set(labels, share)
    plain.shareLeftOut.set(leftOut)
    plain.callSeconds.reset()
    for (const { service, p50Ms, p90Ms, p99Ms } of latencies)
      for (const [quantile, ms] of Object.entries({ '0.5': p50Ms, '0.9': p90Ms, '0.99': p99Ms }))
        plain.callSeconds.set({ service, quantile }, ms / 1000)
  }
  function setTraffic(now: Observed['traffic']): void {
    plain.isolated.set(now.isolated ? 1 : 0)
    plain.frozen.set(now.frozen ? 1 : 0)
    plain.below.set(now.belowFirstTier)
    // A cluster that is gone leaves no number behind.
    plain.admitted.reset()
    plain.gatewaysDown.reset()
    for (const { cluster, percent, gatewaysDown } of now.clusters) {
      plain.admitted.set({ cluster }, percent)
      plain.gatewaysDown.set({ cluster }, gatewaysDown)
    }
    for (const { cluster, results } of now.probes)
      for (const [result, count] of Object.entries(results)) rising.probes.inc({ cluster, result }, count)
    for (const { cluster, results } of now.serviceProbes)
      for (const [result, count] of Object.entries(results)) rising.serviceProbes.inc({ cluster, result }, count)
    plain.servicesOut.reset()
    for (const { cluster, services } of now.servicesOut) plain.servicesOut.set({ cluster }, services)
    plain.probesLeftOut.set(now.probesLeftOut)
    for (const { cluster, kind, count } of now.shifts) rising.shifts.inc({ cluster, kind }, count)
  }
}
