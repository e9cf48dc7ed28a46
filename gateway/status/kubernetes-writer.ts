import { setTimeout as pause } from 'node:timers/promises'
import type { KubeApi } from '#gateway/kube-api.ts'
import { type Write, writeOf } from '#gateway/status/write-of-change.ts'
import { type Change, changesBetween } from '#mesh/mcs/changes.ts'
import type { SeenObjects } from '#mesh/mcs/objects.ts'
import type { Wanted } from '#mesh/mcs/wanted.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import { Problem } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** What is to be, and what the watch saw last. */
export type WriterSight = {
  readonly wanted: Wanted
  readonly seen: SeenObjects
  /** The version in which the server has the MCS kinds; undefined where it has none: nothing of them is written. */
  readonly mcsVersion: string | undefined
}

export type WriterParts = {
  readonly api: Pick<KubeApi, 'call'>
  /**
   * Undefined while the cluster or its config is not known whole: then nothing is written and nothing removed. The same
   * object as long as nothing in it changed.
   */
  readonly sight: () => WriterSight | undefined
  /** Of several relays one writes. Asked before every request. */
  readonly isLeader: () => boolean
  /** After each request that was taken, with what the object said before. */
  readonly onWritten?: (change: Change, write: Write, seen: SeenObjects) => void
  readonly log: { warn(facts: object, text: string): void; info(facts: object, text: string): void }
  /** Unix ms. */
  readonly now?: () => number
  readonly random?: () => number
  readonly limits?: Partial<WriterLimits>
}

export type WriterLimits = {
  readonly perSecond: number
  /** So many at once after a rest. */
  readonly burst: number
  readonly firstBackoffMs: number
  readonly maxBackoffMs: number
  /** How long a watch may lag behind a write before it is made again. */
  readonly lagMs: number
  /** Between two looks: a cluster in motion is looked at now and then. */
  readonly paceMs: number
}

const usual: WriterLimits = {
  ...{ perSecond: 20, burst: 50, firstBackoffMs: 500, maxBackoffMs: 60_000, lagMs: 30_000, paceMs: 500 },
}

/** Brings the API server to what is wanted, and keeps it there. */
export type KubernetesWriter = {
  /** Something may have changed. */
  look(): void
  /** Resolves when nothing that was asked for is under way. */
  done(): Promise<void>
  conditions(): readonly Condition[]
  counts(): { readonly written: number; readonly refused: number; readonly failing: number }
  /** Resolves when the request under way has ended. */
  stop(): Promise<void>
}

type Failed = { readonly failures: number; readonly notBefore: number; readonly reason: string; readonly text: string }
/** The last request for an object that was taken. */
type Taken = { readonly text: string; readonly over: string; readonly result: string; readonly at: number }

/**
 * Makes the fewest requests that lead to what is wanted. What the API server took is not asked for again while the watch
 * lags behind, or where the server keeps less of it than was said (a field that its CRD does not know). A refusal is tried
 * again later and later, for each object by itself; a server that is away, or asks for rest, is left alone altogether.
 */
export function kubernetesWriter(parts: WriterParts): KubernetesWriter {
  const { api, sight, isLeader, onWritten, log, now = Date.now, random = Math.random } = parts
  const limits = { ...usual, ...parts.limits }
  const ending = new AbortController()
  const failed = new Map<string, Failed>()
  const taken = new Map<string, Taken>()
  let [written, refused, awayFailures] = [0, 0, 0]
  let bucket = { left: limits.burst, at: now() }
  let restUntil = 0
  let running: Promise<void> | undefined
  let isAsked = false
  let timer: NodeJS.Timeout | undefined
  let lastLook = Number.NEGATIVE_INFINITY
  /** In it everything was as it should be. */
  let settled: WriterSight | undefined

  return {
    look,
    done: async () => {
      while (running) await running
    },
    conditions: () => conditionsOf(failed),
    counts: () => ({ written, refused, failing: failed.size }),
    stop: async () => {
      ending.abort()
      clearTimeout(timer)
      await running
    },
  }

  function look(): void {
    if (ending.signal.aborted) return
    isAsked = true
    running ??= round().finally(() => {
      running = undefined
      if (isAsked) look()
    })
  }

  async function round(): Promise<void> {
    clearTimeout(timer)
    // All that is said in one turn is one look, and one in motion is not looked at without end.
    const ms = limits.paceMs - (performance.now() - lastLook)
    await pause(Math.max(0, ms), undefined, { signal: ending.signal, ref: false }).catch(() => undefined)
    lastLook = performance.now()
    isAsked = false
    const next = await pass()
    if (next === undefined || ending.signal.aborted) return
    timer = setTimeout(look, Math.max(1, next - now())).unref()
  }

  /** Gives when to look again without being asked; undefined: not at all. */
  async function pass(): Promise<number | undefined> {
    if (ending.signal.aborted || !isLeader()) return undefined
    if (restUntil > now()) return restUntil
    const seenNow = sight()
    if (!seenNow || seenNow === settled) return undefined
    settled = undefined
    const { wanted, seen, mcsVersion } = seenNow
    const changes = changesBetween(wanted, seen)
    const writes = changes.flatMap((change): { change: Change; write: Write }[] => {
      if (mcsVersion === undefined && !isOwnKind(change)) return []
      return [{ change, write: writeOf(change, { seen, mcsVersion: mcsVersion ?? '', now: now() }) }]
    })
    forgetOthers(new Set(writes.map(({ write }) => write.id)))
    let made = 0
    let next: number | undefined
    const later = (at: number): void => {
      next = Math.min(at, next ?? at)
    }
    for (const { change, write } of writes) {
      const text = textOf(write)
      const wait = waitFor(write, text)
      if (wait !== undefined) {
        later(wait)
        continue
      }
      const free = tokenAt()
      if (free > now()) return free
      if (ending.signal.aborted || !isLeader()) return undefined
      const rest = await make(change, { write, text, seen })
      if (rest !== undefined) return rest
      made += 1
      const again = failed.get(write.id)?.notBefore
      if (again !== undefined) later(again)
      // What was seen has moved on: what is left is looked at anew, and not after each request, since all is looked at then.
      if (isAsked && made >= roundMax) return undefined
    }
    if (writes.length === 0) settled = seenNow
    return next
  }

  /** Until when nothing is to be done for it; undefined: it is due. */
  function waitFor(write: Write, text: string): number | undefined {
    const before = failed.get(write.id)
    if (before && before.text === text && before.notBefore > now()) return before.notBefore
    const done = taken.get(write.id)
    if (done?.text !== text) return undefined
    const seenVersion = write.over ?? ''
    if (seenVersion === done.result) return now() + limits.maxBackoffMs
    return seenVersion === done.over && now() < done.at + limits.lagMs ? done.at + limits.lagMs : undefined
  }

  /** Gives until when the whole server is to be left alone; undefined where one object at most is concerned. */
  async function make(
    change: Change,
    { write, text, seen }: { readonly write: Write; readonly text: string; readonly seen: SeenObjects },
  ): Promise<number | undefined> {
    const { id, method, path, query, body, contentType, over = '' } = write
    try {
      const answer = await api.call(method, path, { query, body, contentType, signal: ending.signal })
      written += 1
      awayFailures = 0
      if (failed.delete(id)) log.info({ object: id }, 'the API server takes it again')
      taken.set(id, { text, over, result: versionOf(answer), at: now() })
      onWritten?.(change, write, seen)
      return undefined
    } catch (cause) {
      if (ending.signal.aborted) return undefined
      return failedTo(write, text, cause instanceof Problem ? cause : new Problem('internal', String(cause), { cause }))
    }
  }

  function failedTo(write: Write, text: string, problem: Problem): number | undefined {
    const { kind, message, extra } = problem
    const asked = Number(extra['retryAfterSeconds'] ?? 0) * 1000
    if (kind === 'unavailable' || kind === 'too-many' || kind === 'unauthenticated') {
      awayFailures += 1
      restUntil = now() + Math.max(asked, backoff(awayFailures))
      if (awayFailures === 1) log.warn({ err: message }, 'the API server takes nothing now; it is tried again')
      return restUntil
    }
    // It is gone already, which was wanted, or what it belongs to is: the watch will say so.
    if (kind === 'not-found' && write.method === 'DELETE') {
      taken.set(write.id, { text, over: write.over ?? '', result: '', at: now() })
      return undefined
    }
    refused += 1
    const before = failed.get(write.id)
    const failures = (before?.failures ?? 0) + 1
    failed.set(write.id, { failures, notBefore: now() + Math.max(asked, backoff(failures)), reason: message, text })
    // Somebody changed it meanwhile: what the watch brings is looked at, and only what goes on is a fault.
    const isPassing = kind === 'stale' || kind === 'not-found' || message.includes('being terminated')
    if (failures === (isPassing ? lasting + 1 : 1))
      log.warn({ object: write.id, err: message }, 'the API server refused a write')
    return undefined
  }

  function backoff(failures: number): number {
    const ms = Math.min(limits.maxBackoffMs, limits.firstBackoffMs * 2 ** Math.min(failures - 1, 20))
    return ms * (0.5 + random() / 2)
  }

  /** Takes a token; gives when there is one, where there is none now. */
  function tokenAt(): number {
    const at = now()
    const left = Math.min(limits.burst, bucket.left + (Math.max(0, at - bucket.at) / 1000) * limits.perSecond)
    bucket = { left: left >= 1 ? left - 1 : left, at }
    return left >= 1 ? at : at + Math.ceil(((1 - left) / limits.perSecond) * 1000)
  }

  /** Of what is as it should be nothing is remembered but that a server keeps less than was said. */
  function forgetOthers(due: ReadonlySet<string>): void {
    for (const id of failed.keys()) if (!due.has(id)) failed.delete(id)
    for (const id of taken.keys()) if (!due.has(id)) taken.delete(id)
  }
}

const isOwnKind = ({ kind }: Change): boolean => kind === 'policy status' || kind === 'group status'

/** Equal where the same is asked for: neither times nor versions count. */
function textOf({ method, body }: Write): string {
  const { metadata, status, ...rest } = body as { metadata?: object; status?: { conditions?: readonly object[] } }
  const { resourceVersion: _, ...named } = (metadata ?? {}) as { resourceVersion?: string }
  const conditions = status?.conditions?.map((one) => {
    const { lastTransitionTime: _1, observedGeneration: _2, ...said } = one as Record<string, Json>
    return said
  })
  return `${method} ${canonicalJson({ ...rest, metadata: named, status: { ...status, conditions } } as unknown as Json)}`
}

const versionOf = (answer: unknown): string => {
  const { metadata } = (answer ?? {}) as { metadata?: { resourceVersion?: unknown } }
  return typeof metadata?.resourceVersion === 'string' ? metadata.resourceVersion : ''
}

const roundMax = 25

/** After so many refusals it is no passing thing. */
const lasting = 3

function conditionsOf(failed: ReadonlyMap<string, Failed>): readonly Condition[] {
  const all = [...failed].filter(([, { failures, reason }]) => failures >= lasting || reason.includes(' with 403'))
  const [first] = all
  if (!first) return []
  const message = `the API server refuses ${someOf(all.map(([id]) => id))}: ${first[1].reason.slice(0, 600)}`
  return [{ type: 'StatusNotWritten', reason: 'Refused', message, object: 'cluster' }]
}
