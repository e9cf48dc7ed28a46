import type { ConnectionLimits } from '#gateway/relay/connections.ts'
import type { StreamLimits } from '#gateway/relay/stream-state.ts'

/** Everything a client can make grow, and how far. */
export type AdsLimits = StreamLimits &
  ConnectionLimits & {
    readonly streams: number
    /** Streams that the clients of one identity have at a time. */
    readonly streamsPerIdentity: number
    /** Streams that one proxy may open in a row, and how many more every second. */
    readonly opensBurst: number
    readonly opensPerSecond: number
    /** Written and not yet taken by the clients of one identity. */
    readonly bytesInFlightPerIdentity: number
    readonly messageBytes: number
    readonly metadataBytes: number
    readonly requestsPerSecond: number
    /** Who refuses more often is sent the next response only in the next second. */
    readonly nacksPerSecond: number
    /** Time for the first request, for a response to leave, and for any sign of life while an answer is due; then the stream ends. */
    readonly firstRequestMs: number
    readonly writeMs: number
    readonly answerMs: number
  }

export const adsLimits: AdsLimits = {
  streams: 5000,
  streamsPerIdentity: 2500,
  opensBurst: 20,
  opensPerSecond: 2,
  names: 10_000,
  bytesInFlightPerIdentity: 64 << 20,
  messageBytes: 4 << 20,
  metadataBytes: 256 << 10,
  responseBytes: 4 << 20,
  nacksInRow: 256,
  overdueMs: 15_000,
  requestsPerSecond: 2000,
  nacksPerSecond: 32,
  connections: 10_000,
  connectionsPerAddress: 5000,
  silentMs: 30_000,
  firstRequestMs: 15_000,
  writeMs: 30_000,
  answerMs: 120_000,
}
