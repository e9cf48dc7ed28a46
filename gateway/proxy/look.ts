import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { callRelay, type RelayLine } from '#gateway/proxy/call-relay.ts'
import type { Clock } from '#gateway/proxy/keep-certificate.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { LookAnswerSchema, LookRequestSchema } from '#gen/isthmus/proxy_pb.js'
import { type Buckets, latencyBoundsMs } from '#mesh/model/latency.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Handshakes that were refused for one cause. */
export type Refusal = {
  readonly at: number
  readonly peer: string
  readonly local: string
  readonly cause: string
  readonly count: number
}

/** Calls of one of Envoy's clusters, by how long they took: counts for `latencyBoundsMs`. */
export type CallTimes = { readonly cluster: string; readonly counts: Buckets }

export type LookQuestion = {
  readonly serial: string
  readonly controlPlaneDigest: string
  readonly refusals: readonly Refusal[]
  readonly callTimes: readonly CallTimes[]
}

/** `renewBefore`: Unix ms; leaves issued before are to be renewed, spread over `spreadSeconds`. */
export type LookAnswer = {
  readonly renewBefore: number
  readonly againSeconds: number
  readonly spreadSeconds: number
}

/** Asks the relay once. Throws what `callRelay` throws. */
export async function askRelay(line: RelayLine, question: LookQuestion): Promise<LookAnswer> {
  const { serial, controlPlaneDigest, refusals, callTimes } = question
  const request = create(LookRequestSchema, {
    ...{ serial, controlPlaneDigest },
    boundsMs: callTimes.length > 0 ? [...latencyBoundsMs] : [],
    callTimes: callTimes.map(({ cluster, counts }) => ({ cluster, counts: [...counts] })),
    refusals: refusals.map(({ at, ...rest }) => ({ atUnixMs: BigInt(at), ...rest })),
  })
  const bytes = await callRelay(line, {
    path: '/isthmus.v1.ProxyService/Look',
    body: toBinary(LookRequestSchema, request),
    what: 'look',
    answerBytesMax: 4096,
  })
  const answer = fromBinary(LookAnswerSchema, bytes)
  const { renewBeforeUnixMs, lookAgainSeconds, spreadSeconds } = answer
  return { renewBefore: Number(renewBeforeUnixMs), againSeconds: lookAgainSeconds, spreadSeconds }
}

export type Looking = {
  readonly ask: (question: LookQuestion) => Promise<LookAnswer>
  /** What the next question says; undefined while there is no certificate. */
  readonly question: () => Promise<LookQuestion | undefined>
  /** The relay has heard what this question told. */
  readonly told: (question: LookQuestion) => void
  readonly heard: (answer: LookAnswer, question: LookQuestion) => void
  readonly clock: Pick<Clock, 'wait' | 'random'>
  readonly log: Pick<Log, 'debug'>
  readonly signal: AbortSignal
}

const times = { usual: 30, min: 5, max: 600, unknown: 3600 } as const
/** gRPC's status for a method that the server does not have. */
const unimplemented = 12

/**
 * Looks at the relay every half minute or as it asks: a leaf is to be renewed before its time where the authority above
 * it is replaced. Never rejects; a relay that is away is asked again, one that knows no such call (an istiod, or an older
 * relay) hourly.
 */
export async function keepLooking({ ask, question, told, heard, clock, log, signal }: Looking): Promise<void> {
  let seconds = times.min as number
  while (!signal.aborted) {
    await clock.wait(seconds * 1000 * (0.8 + 0.4 * clock.random()), signal)
    const asked = await question()
    if (signal.aborted || !asked) continue
    try {
      const answer = await ask(asked)
      told(asked)
      heard(answer, asked)
      seconds = Math.min(times.max, Math.max(times.min, answer.againSeconds || times.usual))
    } catch (error) {
      const isUnknown = error instanceof Problem && grpcStatusOf(error) === unimplemented
      seconds = isUnknown ? times.unknown : times.usual
      log.debug({ err: error, againSeconds: seconds }, 'the relay could not be looked at')
    }
  }
}

/** The gRPC status that the relay gave, also where the problem was told again with the relay's address. */
function grpcStatusOf(problem: Problem): unknown {
  const { cause, extra } = problem
  return extra['grpcStatus'] ?? (cause instanceof Problem ? cause.extra['grpcStatus'] : undefined)
}
