import type { KubeApi } from '#gateway/kube-api.ts'
import type { ObjectName } from '#gateway/status/write-of-change.ts'
import type { Notice } from '#mesh/mcs/notices.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

export type EventParts = {
  readonly api: Pick<KubeApi, 'call'>
  /** The pod. */
  readonly instance: string
  readonly log: { warn(facts: object, text: string): void }
  /** Unix ms. */
  readonly now?: () => number
  readonly limits?: Partial<EventLimits>
}

export type EventLimits = {
  readonly perSecond: number
  /** So many at once after a rest. */
  readonly burst: number
  /** That wait; the ones that come when so many do are left out, and counted. */
  readonly waiting: number
  /** Different ones that are remembered, to be counted up. */
  readonly known: number
  /** One that comes again is counted up at most so often, and is another one after `freshMs`. */
  readonly seriesMs: number
  readonly freshMs: number
}

const usual: EventLimits = {
  ...{ perSecond: 1, burst: 25, waiting: 200, known: 500 },
  ...{ seriesMs: 60_000, freshMs: 30 * 60_000 },
}

/** Events of Kubernetes: what people see under an object. Told as well as can be, and never waited for. */
export type KubernetesEvents = {
  say(about: ObjectName, notice: Notice): void
  counts(): { readonly said: number; readonly leftOut: number }
  /** Resolves when the request under way has ended. */
  stop(): Promise<void>
}

type Known = { readonly name: string; count: number; toldAt: number; lastAt: number }
type Said = { readonly about: ObjectName; readonly notice: Notice }

/**
 * The same of the same object becomes one Event with a count, as Kubernetes' own tools do it. How many are told in a second
 * is bounded: a fault that hits a thousand objects must not be one for the API server too.
 *
 * Source: Kubernetes, events.k8s.io/v1; KEP-383 (series).
 */
export function kubernetesEvents(parts: EventParts): KubernetesEvents {
  const { api, instance, log, now = Date.now } = parts
  const limits = { ...usual, ...parts.limits }
  const ending = new AbortController()
  const known = new Map<string, Known>()
  const waiting = new Map<string, Said>()
  let bucket = { left: limits.burst, at: now() }
  let [said, leftOut, failures] = [0, 0, 0]
  let running: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  return {
    say,
    counts: () => ({ said, leftOut }),
    stop: async () => {
      ending.abort()
      clearTimeout(timer)
      await running
    },
  }

  function say(about: ObjectName, notice: Notice): void {
    const key = [about.kind, about.namespace, about.name, notice.type, notice.reason].join(' ')
    const before = known.get(key)
    if (before) before.count += 1
    if (!waiting.has(key) && waiting.size >= limits.waiting) {
      leftOut += 1
      return
    }
    waiting.set(key, { about, notice })
    start()
  }

  function start(): void {
    if (ending.signal.aborted) return
    running ??= tell().then((isThrough) => {
      running = undefined
      if (isThrough && waiting.size > 0) start()
    })
  }

  /** Gives false where the rest waits for its time. */
  async function tell(): Promise<boolean> {
    clearTimeout(timer)
    for (const [key, one] of waiting) {
      const at = now()
      const before = known.get(key)
      const isFresh = before !== undefined && at - before.lastAt < limits.freshMs
      // It is counted up with the next one that comes after a while.
      if (isFresh && at - before.toldAt < limits.seriesMs) {
        waiting.delete(key)
        continue
      }
      const ms = wait(at)
      if (ms > 0) {
        timer = setTimeout(start, ms).unref()
        return false
      }
      if (ending.signal.aborted) return false
      waiting.delete(key)
      await (isFresh ? countUp(key, before, one) : make(key, one))
    }
    return true
  }

  async function make(key: string, one: Said): Promise<void> {
    const at = now()
    const name = `${one.about.name.slice(0, 200)}.${sha256Hex(`${key} ${instance} ${at}`).slice(0, 16)}`
    known.delete(key)
    known.set(key, { name, count: 1, toldAt: at, lastAt: at })
    if (known.size > limits.known) for (const oldest of known.keys()) if (known.delete(oldest)) break
    await request('POST', pathOf(one.about), eventOf(one, { name, instance, at }))
  }

  async function countUp(key: string, before: Known, one: Said): Promise<void> {
    const at = now()
    before.toldAt = at
    before.lastAt = at
    const series = { count: Math.max(2, before.count), lastObservedTime: microTime(at) }
    // It has been forgotten by the server: told anew.
    if ((await request('PATCH', `${pathOf(one.about)}/${before.name}`, { series })) === 'not-found')
      await make(key, one)
  }

  async function request(method: 'POST' | 'PATCH', path: string, body: object): Promise<string | undefined> {
    try {
      const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
      await api.call(method, path, { body, contentType, signal: ending.signal })
      said += 1
      failures = 0
      return undefined
    } catch (cause) {
      if (ending.signal.aborted) return undefined
      const { kind, message } = cause instanceof Problem ? cause : { kind: 'internal', message: String(cause) }
      if (kind === 'not-found' && method === 'PATCH') return kind
      leftOut += 1
      failures += 1
      if (failures === 1) log.warn({ err: message }, 'an Event could not be told')
      return kind
    }
  }

  /** Takes a token; gives how long until there is one, 0 where it was taken. */
  function wait(at: number): number {
    const left = Math.min(limits.burst, bucket.left + (Math.max(0, at - bucket.at) / 1000) * limits.perSecond)
    bucket = { left: left >= 1 ? left - 1 : left, at }
    return left >= 1 ? 0 : Math.ceil(((1 - left) / limits.perSecond) * 1000)
  }
}

/** Events of objects without a namespace are in `default`. */
const namespaceOf = ({ namespace = 'default' }: ObjectName): string => namespace

const pathOf = (about: ObjectName): string => `/apis/events.k8s.io/v1/namespaces/${namespaceOf(about)}/events`

const microTime = (at: number): string => new Date(at).toISOString().replace('Z', '000Z')

const eventOf = (
  { about, notice }: Said,
  { name, instance, at }: { readonly name: string; readonly instance: string; readonly at: number },
): object => ({
  ...{ apiVersion: 'events.k8s.io/v1', kind: 'Event', metadata: { name, namespace: namespaceOf(about) } },
  ...{ eventTime: microTime(at), reportingController: 'isthmus.dev/relay', reportingInstance: instance.slice(0, 128) },
  ...{
    action: 'Reconcile',
    regarding: about,
    type: notice.type,
    reason: notice.reason.slice(0, 128),
    note: notice.note,
  },
})
