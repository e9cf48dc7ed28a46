import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Caller } from '#gateway/grpc/call.ts'
import type { Method } from '#gateway/grpc/server.ts'
import { type CallerParts, callerOf, reasonOf } from '#gateway/identity/csr.ts'
import { rateLimit } from '#gateway/identity/rate.ts'
import { LookAnswerSchema, type LookRequest, LookRequestSchema } from '#gen/isthmus/proxy_pb.js'
import { latencyBoundsMs } from '#mesh/model/latency.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Handshakes that one proxy refused, or that were refused to it, for one cause. All of it is what the proxy says. */
export type ToldRefusal = {
  readonly at: number
  readonly peer: string
  readonly local: string
  readonly cause: string
  readonly count: number
}

export type Look = {
  /** `<namespace>/<pod>`, from the verified token; empty where a certificate said who asks. */
  readonly pod: string
  readonly serial: string
  readonly controlPlaneDigest: string
  readonly refusals: readonly ToldRefusal[]
  readonly callTimes: readonly ToldCallTimes[]
}

/** Calls of one of its Envoy's clusters, by how long they took: counts for `latencyBoundsMs`. */
export type ToldCallTimes = { readonly cluster: string; readonly counts: readonly number[] }

export type LookParts = CallerParts & {
  /** Hears what a proxy says; gives before when its leaf must have been issued to be renewed (Unix ms, 0 = not at all). */
  readonly onLook: (look: Look) => number
  /** How many proxies there are: the more, the less often each is to look. */
  readonly proxies: () => number
  readonly log: { warn(facts: object, text: string): void }
}

const path = '/isthmus.v1.ProxyService/Look'
const limits = { burst: 10, perSecond: 0.3, keysMax: 20_000 }
/** A handshake costs about a millisecond: so many a second are 3 % of a core. */
const looksPerSecond = 33
const againSeconds = { min: 5, max: 30 }
const refusalsMax = 16
const textMax = 300
const callTimesMax = 64

/**
 * `isthmus.v1.ProxyService/Look`: `isthmus proxy` says which leaf it holds and by which CAs it believes its relay, and
 * hears whether to renew before time. Known like whoever asks for a certificate, with a rate of its own.
 */
export function lookService(parts: LookParts): Readonly<Record<string, Method>> {
  const take = rateLimit(limits, parts.clock)
  const answer = async (message: Uint8Array, from: Caller): Promise<Uint8Array> => {
    try {
      const request = requestIn(message)
      const { bucket, pod } = await callerOf(from, parts)
      take(bucket)
      const renewBefore = parts.onLook(lookOf(request, pod))
      const proxies = parts.proxies()
      const told = create(LookAnswerSchema, {
        renewBeforeUnixMs: BigInt(renewBefore),
        lookAgainSeconds: Math.ceil(Math.min(againSeconds.max, Math.max(againSeconds.min, proxies / looksPerSecond))),
        spreadSeconds: Math.ceil(Math.min(20, proxies / 50)),
      })
      return toBinary(LookAnswerSchema, told)
    } catch (fault) {
      const problem = fault instanceof Problem ? fault : new Problem('internal', 'no answer', { cause: fault })
      parts.log.warn({ peer: from.address, kind: problem.kind, err: reasonOf(problem) }, 'look refused')
      throw problem
    }
  }
  return { [path]: { kind: 'unary', answer } }
}

function requestIn(message: Uint8Array): LookRequest {
  try {
    return fromBinary(LookRequestSchema, message)
  } catch (cause) {
    throw new Problem('invalid', 'the message is no LookRequest', { cause })
  }
}

/** Texts are clipped: they go to logs and status, and some come from whoever tried a handshake. */
function lookOf(request: LookRequest, pod: string): Look {
  const { serial, controlPlaneDigest, refusals } = request
  return {
    pod,
    callTimes: callTimesIn(request),
    serial: clipped(serial, 64),
    controlPlaneDigest: clipped(controlPlaneDigest, 64),
    refusals: refusals.slice(0, refusalsMax).map(({ atUnixMs, peer, local, cause, count }) => ({
      at: Number(atUnixMs),
      ...{ peer: clipped(peer, textMax), local: clipped(local, textMax), cause: clipped(cause, textMax), count },
    })),
  }
}

/** Counted in other buckets than here they say nothing here: the proxy is another version, and is not measured. */
function callTimesIn({ callTimes, boundsMs }: LookRequest): readonly ToldCallTimes[] {
  const isSame = boundsMs.length === latencyBoundsMs.length && boundsMs.every((ms, n) => ms === latencyBoundsMs[n])
  if (!isSame) return []
  return callTimes
    .slice(0, callTimesMax)
    .filter(({ cluster, counts }) => cluster.length <= textMax && counts.length === boundsMs.length)
    .map(({ cluster, counts }) => ({ cluster, counts }))
}

const clipped = (text: string, max: number): string => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, max)
