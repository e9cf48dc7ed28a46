import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { GrpcCall } from '#gateway/grpc/call.ts'
import { frame } from '#gateway/grpc/frames.ts'
import type { Method } from '#gateway/grpc/server.ts'
import { openAdmission } from '#gateway/relay/admission.ts'
import { eachField } from '#gateway/relay/fields.ts'
import { type AdsLimits, adsLimits } from '#gateway/relay/limits.ts'
import { type ConnectedProxy, type Identity, proxyFrom } from '#gateway/relay/node.ts'
import { type Peer, peerOf } from '#gateway/relay/peer.ts'
import { NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { ClusterStatsSchema } from '#gen/envoy/config/endpoint/v3/load_report_pb.js'
import { LoadStatsResponseSchema } from '#gen/envoy/service/load_stats/v3/lrs_pb.js'
import { Problem } from '#mesh/model/problem.ts'

/** What one proxy counted since its last report, of one Envoy cluster in one locality and priority. */
export type HostLoad = {
  /** Envoy's name of the cluster. */
  readonly name: string
  readonly subZone: string
  readonly issued: number
  readonly ok: number
  readonly errors: number
  /** In progress now. */
  readonly active: number
}

export type LoadReportsParts<Reporter> = {
  readonly authenticate: (peer: Peer) => Promise<Identity>
  /** What is kept of a proxy for as long as it reports: its node alone would be 60 kB. */
  readonly reporterOf: (proxy: ConnectedProxy) => Reporter
  readonly onReport: (reporter: Reporter, loads: readonly HostLoad[]) => void
  /** It reports no more. */
  readonly onGone: (reporter: Reporter) => void
  /** How often proxies are to report; asked at each report. */
  readonly intervalMs: () => number
  readonly log: { warn(facts: object, text: string): void }
  readonly limits?: Partial<AdsLimits>
  readonly now?: () => number
}

export type LoadReports = {
  readonly methods: Readonly<Record<string, Method>>
  /** The interval is another one: all proxies are told. */
  retime(): void
  streams(): number
}

/** A report is its node, 60 kB, and some 100 bytes for each cluster that was called. */
const messageBytes = 1 << 20
const reportsPerSecond = 20
const path = '/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats'

/**
 * Envoy's load reporting service: each proxy says what it sent where since its last report. Clients are known as those of
 * the discovery service are, and bound as they are. Every message carries the whole node again, 60 kB of it: it is read
 * in the first one and stepped over in all others, and no message is kept.
 *
 * Source: envoy.service.load_stats.v3; measured: counts are exact, and what leaves the endpoint set before a report is
 * never reported.
 */
export function loadReports<Reporter>(parts: LoadReportsParts<Reporter>): LoadReports {
  const limits = { ...adsLimits, ...parts.limits }
  const now = parts.now ?? Date.now
  const open = new Set<{ retime(): void }>()
  const admission = openAdmission(limits, now)
  const serve = (call: GrpcCall) => {
    const peer = peerOf(call.caller, new Date(now()))
    const refuse = (error: unknown) => {
      const problem = error instanceof Problem ? error : new Problem('invalid', 'no load report', { cause: error })
      parts.log.warn({ address: peer.address, uris: peer.certificateUris, err: error }, 'refused load reports')
      stream.close()
      call.end(problem)
    }
    const stream = openStream(call, { parts, limits, admission, now, refuse })
    call.onClose(() => {
      stream.close()
      open.delete(stream)
    })
    call.onEnd(() => {
      stream.close()
      call.end()
    })
    if (open.size >= limits.streams)
      return refuse(new Problem('too-many', `${open.size} proxies report already; try another relay or later`))
    admission.forgetIdle()
    open.add(stream)
    call.open()
    parts.authenticate(peer).then(stream.listen, refuse)
  }
  return {
    methods: { [path]: { kind: 'stream', messageBytes, serve } },
    retime: () => {
      for (const stream of open) stream.retime()
    },
    streams: () => open.size,
  }
}

type StreamParts<Reporter> = {
  readonly parts: LoadReportsParts<Reporter>
  readonly limits: AdsLimits
  readonly admission: ReturnType<typeof openAdmission>
  readonly now: () => number
  readonly refuse: (error: unknown) => void
}

function openStream<Reporter>(call: GrpcCall, { parts, limits, admission, now, refuse }: StreamParts<Reporter>) {
  let known: { readonly reporter: Reporter; readonly left: () => void } | undefined
  let told = 0
  let writing = false
  let second = { at: 0, reports: 0 }
  let closed = false
  const late = setTimeout(
    () => refuse(new Problem('unavailable', `no report within ${limits.firstRequestMs} ms of the stream's start`)),
    limits.firstRequestMs,
  )
  late.unref()

  const tell = () => {
    const wanted = parts.intervalMs()
    if (closed || writing || !known || wanted === told) return
    told = wanted
    writing = true
    call.write([frame(answerOf(wanted))], () => {
      writing = false
      tell()
    })
  }

  const taken = (message: Uint8Array, identity: Identity): void => {
    const at = now()
    if (at - second.at >= 1000) second = { at, reports: 0 }
    second.reports += 1
    if (second.reports > reportsPerSecond)
      throw new Problem('too-many', `more than ${reportsPerSecond} load reports in a second`)
    const { node, loads } = readReport(message, known === undefined)
    if (!known) {
      const proxy = proxyFrom(node, identity, limits.metadataBytes)
      admission.take(proxy)
      clearTimeout(late)
      const who = { identity: proxy.identity, id: proxy.id }
      known = { reporter: parts.reporterOf(proxy), left: () => admission.left(who) }
    }
    parts.onReport(known.reporter, loads)
    tell()
  }

  return {
    retime: tell,
    listen: (identity: Identity) =>
      call.onMessage((message) => {
        try {
          if (!closed) taken(message, identity)
        } catch (error) {
          refuse(error)
        }
      }),
    close: () => {
      if (closed) return
      closed = true
      clearTimeout(late)
      if (!known) return
      known.left()
      parts.onGone(known.reporter)
    },
  }
}

/** All clusters, so that a service that is called first tomorrow is in the report. */
const answerOf = (intervalMs: number): Uint8Array =>
  toBinary(
    LoadStatsResponseSchema,
    create(LoadStatsResponseSchema, {
      sendAllClusters: true,
      loadReportingInterval: { seconds: BigInt(Math.floor(intervalMs / 1000)), nanos: (intervalMs % 1000) * 1e6 },
    }),
  )

/** A LoadStatsRequest; its node only where it is asked for. Throws on bytes that are none. */
function readReport(message: Uint8Array, withNode: boolean) {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length)
  const loads: HostLoad[] = []
  let node: ReturnType<typeof nodeIn> | undefined
  eachField(bytes, [0, bytes.length], (field, from, to) => {
    if (field === 1 && withNode) node = nodeIn(bytes.subarray(from, to))
    else if (field === 2) loads.push(...loadsIn(bytes.subarray(from, to)))
  })
  return { node, loads }
}

const nodeIn = (bytes: Uint8Array) => fromBinary(NodeSchema, bytes)

function loadsIn(bytes: Uint8Array): HostLoad[] {
  const { clusterName: name, upstreamLocalityStats } = fromBinary(ClusterStatsSchema, bytes)
  return upstreamLocalityStats.map((stats) => ({
    ...{ name, subZone: stats.locality?.subZone ?? '' },
    issued: Number(stats.totalIssuedRequests),
    ok: Number(stats.totalSuccessfulRequests),
    errors: Number(stats.totalErrorRequests),
    active: Number(stats.totalRequestsInProgress),
  }))
}
