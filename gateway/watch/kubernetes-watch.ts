import { isDeepStrictEqual } from 'node:util'
import type { KubeApi } from '#gateway/kube-api.ts'
import { after } from '#gateway/watch/after.ts'
import type { HomePlace } from '#gateway/watch/endpoints.ts'
import { faultLog, faultsOf } from '#gateway/watch/kube-faults.ts'
import { type Follower, type FollowTimes, followKind, type Phase } from '#gateway/watch/kube-follow.ts'
import { type KeptObjects, openKeeping } from '#gateway/watch/kube-keep.ts'
import { type WatchedKind, watchedKinds } from '#gateway/watch/kube-kinds.ts'
import { openPace } from '#gateway/watch/kube-pace.ts'
import { type KindStore, kindStore } from '#gateway/watch/kube-store.ts'
import { emptyCluster, ownClusterOf } from '#gateway/watch/own-cluster.ts'
import type { PlacedObject } from '#gateway/watch/parse-file.ts'
import { boundedRejections, logRejections, type RejectionLog } from '#gateway/watch/rejections.ts'
import type { Change } from '#gateway/watch/sorted-objects.ts'
import type { ClusterWatch } from '#gateway/watch/watch.ts'
import type { OwnCluster, RejectedObject } from '#mesh/model/view.ts'

/** A Kubernetes API, followed. */
export type KubernetesWatch = ClusterWatch & {
  /** False until every kind was listed once and is watched: what is known until then is not told to anybody. */
  isSynced(): boolean
  /** What keeps it from following the API server, sorted by kind; these are in `rejected` as well. */
  faults(): readonly RejectedObject[]
  /** What `also` made of the objects of a kind, by `<namespace>/<name>` or name: empty where the server has no such kind. */
  also(kind: string): ReadonlyMap<string, unknown>
  /** The version in which the server has the kind; undefined where it has none, or has not said yet. */
  version(kind: string): string | undefined
  /** Calls `listener` when something of `also` may have changed; gives back what ends that. */
  onAlso(listener: () => void): () => void
}

export type KubernetesWatchSettings = {
  readonly api: KubeApi
  readonly home: HomePlace
  readonly log?: RejectionLog
  readonly kept?: KeptObjects
  /** By kind, what else is to be kept of each object as the server has it; undefined for nothing. */
  readonly also?: Readonly<Record<string, (object: unknown) => unknown>>
  /** Waits and bounds; tests say others. */
  readonly times?: Partial<KubernetesWatchTimes>
  readonly kinds?: readonly WatchedKind[]
  readonly pageLimit?: number
  readonly random?: () => number
}

export type KubernetesWatchTimes = FollowTimes & {
  /** Events that come together are one change. */
  readonly coalesceMs: number
  /** So long at most what came is withheld while another kind is being listed anew. */
  readonly holdMs: number
  /** So long an API server that answers is waited for before what was kept is shown. */
  readonly graceMs: number
  /** Objects are kept on disk at most so often. */
  readonly keepMs: number
}

const usualTimes: KubernetesWatchTimes = {
  ...{ watchSeconds: 240, silentMs: 75_000, absentMs: 60_000, backoff: { firstMs: 500, maxMs: 30_000 } },
  ...{ coalesceMs: 20, holdMs: 10_000, graceMs: 3000, keepMs: 10_000 },
}
const lookAgainMs = 50
const source = 'Kubernetes API'

/**
 * Follows the objects of a Kubernetes API: each kind is listed in pages and watched from there. While the API server is
 * away, or refuses, everything stays as it was last good, and `faults` says so; `start` waits for it, unless an earlier
 * process kept what it knew. Nothing half is shown: before every kind was read once, or refused, `current` is what was
 * kept, and while one kind is being caught up with, the others' changes wait for it a moment.
 */
export function kubernetesWatch(settings: KubernetesWatchSettings): KubernetesWatch {
  const { api, home, log, kept, kinds = watchedKinds, pageLimit = 500, random = Math.random } = settings
  const times = { ...usualTimes, ...settings.times }
  const listeners = new Set<() => void>()
  const ending = new AbortController()
  const { signal } = ending
  const pace = openPace({ signal, random })
  /** What changed since `own` was made, by id. */
  let changes = new Map<string, Change>()
  let isWhole = true
  const keeping = openKeeping({ kept, stores: () => stores, keepMs: times.keepMs })
  const followers: Follower[] = kinds.map((kind) => {
    const also = settings.also?.[kind.kind]
    const more = also ? { also, onAlso: () => alsoSoon() } : {}
    const store: KindStore = kindStore({ kind, onChange: (change) => changed(store, change), ...more })
    return followKind({
      api,
      store,
      pace,
      times,
      pageLimit,
      signal,
      random,
      onPhase: (before, now) => turned(before, now),
    })
  })
  const stores = followers.map(({ store }) => store)
  let own: OwnCluster = emptyCluster
  let rejected: readonly RejectedObject[] = []
  /** Those that came with `own`; and what of them is in the log. */
  let shownRejected = rejected
  let loggedRejected = rejected
  const logFaults = faultLog(log)
  /** Set with the first `own` that has all there is in it. */
  let wasSynced = false
  let isOpen = false
  let turnedAt = 0
  let withheldSince: number | undefined
  let cancel: (() => void) | undefined
  let cancelAlso: (() => void) | undefined
  const alsoListeners = new Set<() => void>()
  let running: Promise<unknown> = Promise.resolve()
  const ready = Promise.withResolvers<void>()
  /** The server was asked, and does not answer as it should. */
  const tried = Promise.withResolvers<void>()

  const changed = (store: KindStore, { old, now }: Change): void => {
    const id = (now ?? old)?.id
    // A policy that could not be read is told by name, and that is no object.
    if (id === undefined || store.kind.group === 'isthmus.dev') isWhole = true
    if (id !== undefined) {
      const first = changes.get(id) ?? (old ? { old } : {})
      changes.set(id, { ...(first.old ? { old: first.old } : {}), ...(now ? { now } : {}) })
    }
    keeping.changed(store)
    soon(times.coalesceMs)
  }
  const turned = (before: Phase, now: Phase): void => {
    if (now === 'away' || now === 'refused') tried.resolve()
    if (now === 'behind' || (before === 'away' && now !== 'away')) turnedAt = performance.now()
    soon(times.coalesceMs)
  }
  const soon = (ms: number): void => {
    if (signal.aborted) return
    cancel ??= after(ms, () => {
      cancel = undefined
      try {
        publish()
      } catch (err) {
        // What was missed is in what is made of everything.
        isWhole = true
        log?.warn({ err }, 'a change of the cluster could not be taken up: the last state stays')
      }
    })
  }

  const alsoSoon = (): void => {
    if (signal.aborted) return
    cancelAlso ??= after(times.coalesceMs, () => {
      cancelAlso = undefined
      for (const listener of [...alsoListeners]) listener()
    })
  }

  /** Another kind is about to be caught up with: half of what happened is not shown. */
  const isHeld = (): boolean => {
    const now = performance.now()
    const isBehind = followers.some(({ phase }) => phase() === 'behind' || phase() === 'away')
    if (!isBehind || now > turnedAt + times.holdMs) return false
    withheldSince ??= now
    return now <= withheldSince + times.holdMs
  }

  const publish = (): void => {
    if (signal.aborted) return
    const wasOpen = isOpen
    isOpen ||= followers.every((one) => one.isSynced() || one.phase() === 'refused')
    const isShown = isOpen && !(wasOpen && changes.size > 0 && isHeld())
    if (isOpen && !isShown) soon(lookAgainMs)
    const nextOwn = isShown ? taken() : own
    const all = boundedRejections(
      [...faultsOf(followers), ...(isShown ? stores.flatMap((one) => one.rejected()) : shownRejected)],
      source,
    )
    settle(nextOwn, all, wasSynced || (isShown && followers.every((one) => one.isSynced())))
  }

  const taken = (): OwnCluster => {
    withheldSince = undefined
    shownRejected = stores.flatMap((one) => one.rejected())
    const list = isWhole ? undefined : [...changes.values()].filter(({ old, now }) => old !== now)
    changes = new Map()
    isWhole = false
    return ownClusterOf(() => objectsOf(stores), home, own, list, { rejected: shownRejected, files: 0 })
  }

  const settle = (nextOwn: OwnCluster, nextRejected: readonly RejectedObject[], isNowSynced: boolean): void => {
    const isSame = nextOwn === own && isNowSynced === wasSynced && isDeepStrictEqual(nextRejected, rejected)
    if (isNowSynced) keeping.later()
    if (isSame) return
    logRejections(log, { before: loggedRejected, next: shownRejected, source })
    loggedRejected = shownRejected
    logFaults(followers)
    if (isNowSynced && !wasSynced) log?.info({ server: api.server }, 'all kinds of the Kubernetes API are followed')
    own = nextOwn
    rejected = nextRejected
    wasSynced = isNowSynced
    if (isNowSynced) ready.resolve()
    for (const listener of [...listeners]) listener()
  }

  return {
    async start() {
      const isKnown = keeping.recall()
      if (isKnown) own = ownClusterOf(objectsOf(stores), home)
      running = Promise.all(followers.map((one) => one.run()))
      const synced = ready.promise.then(() => 'synced')
      const first = await (isKnown ? Promise.race([synced, tried.promise, pace.pause(times.graceMs)]) : synced)
      if (first === undefined)
        log?.info({ server: api.server }, 'what was last known of the cluster is served until its API answers')
    },
    current: () => own,
    rejected: () => rejected,
    isSynced: () => wasSynced,
    faults: () => faultsOf(followers),
    also: (kind) => stores.find((one) => one.kind.kind === kind)?.also() ?? new Map(),
    version: (kind) => {
      const one = followers.find((follower) => follower.kind.kind === kind)
      return one?.isSynced() && one.phase() !== 'absent' ? one.version() : undefined
    },
    onAlso(listener) {
      alsoListeners.add(listener)
      return () => void alsoListeners.delete(listener)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async stop() {
      keeping.stop(wasSynced)
      ending.abort()
      cancel?.()
      cancelAlso?.()
      listeners.clear()
      ready.resolve()
      await running
    },
  }
}

/** In order of their ids. */
const objectsOf = (stores: readonly KindStore[]): readonly PlacedObject[] =>
  stores.flatMap((one) => one.objects()).toSorted((a, b) => (a.id < b.id ? -1 : 1))
