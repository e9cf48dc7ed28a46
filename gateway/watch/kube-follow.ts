import type { KubeApi } from '#gateway/kube-api.ts'
import { parseEvent } from '#gateway/watch/kube-event.ts'
import { basePath, type WatchedKind } from '#gateway/watch/kube-kinds.ts'
import { listAll } from '#gateway/watch/kube-list.ts'
import { type Backoff, backoffMs, type Pace } from '#gateway/watch/kube-pace.ts'
import { type KindStore, noneListed } from '#gateway/watch/kube-store.ts'
import { isOlder } from '#gateway/watch/resource-version.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * `behind`: what the server says is being asked for; `away`: it does not answer; `refused`: it does not let us; `absent`:
 * it has no such kind. In each of them what was last known stays.
 */
export type Phase = 'new' | 'behind' | 'following' | 'away' | 'refused' | 'absent'

export type FollowTimes = {
  /** A watch ends on its own after about so long, and goes on where it was. */
  readonly watchSeconds: number
  /** A watch in which nothing comes for so long is dead: bookmarks come every minute. */
  readonly silentMs: number
  /** A kind that the server does not have is looked for again. */
  readonly absentMs: number
  readonly backoff: Backoff
}

export type FollowParts = {
  readonly api: KubeApi
  readonly store: KindStore
  readonly pace: Pace
  readonly times: FollowTimes
  readonly pageLimit: number
  readonly signal: AbortSignal
  readonly random: () => number
  /** After every change of `phase`, `fault` or `isSynced`; `before` may be the same phase. */
  readonly onPhase: (before: Phase, now: Phase) => void
}

export type Follower = {
  readonly store: KindStore
  readonly kind: WatchedKind
  /** Resolves when `signal` ends it; never rejects. */
  run(): Promise<void>
  phase(): Phase
  /** The version in which the server has the kind. */
  version(): string
  /** Everything there is was read once, and what comes is seen. */
  isSynced(): boolean
  /** Why it does not go on; undefined while it does. */
  fault(): string | undefined
}

/** A watch that ends sooner, and in which nothing came, was none. */
const shortMs = 1000
/** So many lists older than what was seen are not believed; then the server's store was brought back from an older one. */
const olderListsMax = 3
/** So often a watch is resumed before what it cannot say is read from a list. */
const malformedMax = 3

/** Lists one kind, watches it from there, and goes on for ever through whatever the server does. */
export function followKind(parts: FollowParts): Follower {
  const { api, store, pace, times, signal, random } = parts
  const { kind } = store
  let phase: Phase = 'new'
  let fault: string | undefined
  let isSynced = false
  let apiVersion = kind.versions[0] ?? 'v1'
  /** Up to where all is known; undefined: to be listed. */
  let position: string | undefined
  let newest = ''
  let failures = 0
  let malformed = 0
  let olderLists = 0
  let missed = 0
  let openedAt = Number.POSITIVE_INFINITY

  const enter = (next: Phase, why?: string): void => {
    const before = phase
    if (before === next && fault === why) return
    phase = next
    fault = why
    parts.onPhase(before, next)
  }
  const pathOf = (version: string): string => `${basePath(kind, version)}/${kind.resource}`

  /** Gives the version of the list; undefined where the server has no such kind. */
  const list = async (): Promise<string | undefined> => {
    for (const version of [apiVersion, ...kind.versions.filter((one) => one !== apiVersion)]) {
      let listed = noneListed()
      const again = olderLists >= olderListsMax ? 'restored' : undefined
      try {
        const at = await listAll({
          ...{ api, path: pathOf(version), limit: parts.pageLimit, signal },
          begin: () => {
            listed = noneListed()
          },
          take: (item) => store.read(listed, item, version, again),
        })
        if (isOlder(at, newest) && !again) {
          olderLists++
          throw new Problem(
            'unavailable',
            `the list of ${pathOf(version)} is older (${at}) than what was seen (${newest})`,
          )
        }
        olderLists = 0
        apiVersion = version
        newest = at
        store.replace(listed)
        return at
      } catch (cause) {
        if (!(cause instanceof Problem) || cause.kind !== 'not-found') throw cause
      }
    }
    return undefined
  }

  const watch = async (from: string): Promise<void> => {
    const path = pathOf(apiVersion)
    const version = apiVersion
    let isEmpty = true
    const query = {
      ...{ resourceVersion: from, allowWatchBookmarks: true },
      timeoutSeconds: Math.ceil(times.watchSeconds * (1 + random())),
    }
    const onOpen = (): void => {
      isSynced = true
      openedAt = performance.now()
      if (phase === 'away') pace.wake()
      enter('following')
    }
    for await (const line of api.lines(path, { query, silentMs: times.silentMs, signal, onOpen })) {
      const event = parseEvent(line, path)
      const at = event.type === 'BOOKMARK' ? event.version : event.head.version
      if (event.type === 'BOOKMARK') {
        if (isOlder(at, position ?? '')) throw backwards(path, at, position)
      } else if (store.versionOf(event.head.key) === at && event.type !== 'DELETED') continue
      else if (event.type === 'DELETED') {
        if (isOlder(at, store.versionOf(event.head.key) ?? '')) continue
        store.remove(event.head)
      } else if (isOlder(at, position ?? '')) throw backwards(path, at, position)
      else store.put(event.head, event.object, version)
      if (!isOlder(at, position ?? '')) position = newest = at
      isEmpty = false
      failures = malformed = 0
    }
    if (isEmpty && performance.now() - openedAt < shortMs && !signal.aborted)
      throw new Problem('unavailable', `the API server ended the watch of ${path} at once`)
    // What did not fit may fit now.
    if (store.past() > 0) position = undefined
  }

  /** What a failure means for the next try. */
  const fail = async (cause: unknown): Promise<void> => {
    if (signal.aborted) return
    failures = performance.now() - openedAt > times.backoff.maxMs ? 1 : failures + 1
    openedAt = Number.POSITIVE_INFINITY
    const { kind: why, message } = cause instanceof Problem ? cause : { kind: 'internal', message: String(cause) }
    const isFirstTime = failures === 1
    if (why === 'stale' || why === 'not-found' || why === 'forbidden') position = undefined
    if (why === 'invalid' && ++malformed >= malformedMax) position = undefined
    const isRefused = why === 'forbidden' || why === 'unauthenticated'
    if (why === 'stale') enter('behind')
    else enter(isRefused ? 'refused' : 'away', message)
    if (why === 'stale' && isFirstTime) return
    await pace.pause(backoffMs(failures, times.backoff, cause, random), why === 'unavailable' ? 'wakes' : undefined)
  }

  const absent = async (): Promise<void> => {
    const hadSome = store.objects().length > 0
    missed++
    if (!kind.isOptional || (hadSome && missed < 2)) {
      const detail = `the API server ${api.server} has no ${kind.resource} (404 at ${pathOf(apiVersion)}): what was known stays`
      enter('away', detail)
      await pace.pause(Math.min(times.absentMs, times.backoff.maxMs))
      return
    }
    if (hadSome) store.replace(noneListed())
    isSynced = true
    enter('absent')
    await pace.pause(times.absentMs * (1 + random() / 10))
  }

  const round = async (): Promise<void> => {
    if (position === undefined) {
      if (phase === 'following') enter('behind')
      position = await pace.inTurn(async () => (signal.aborted ? undefined : await list()))
      if (signal.aborted) return
      if (position === undefined) return await absent()
      missed = 0
      if (phase === 'away') {
        pace.wake()
        enter('behind')
      }
    }
    await watch(position)
  }

  return {
    kind,
    store,
    async run() {
      while (!signal.aborted) await round().catch(fail)
    },
    phase: () => phase,
    version: () => apiVersion,
    isSynced: () => isSynced,
    fault: () => fault,
  }
}

const backwards = (path: string, at: string, position: string | undefined): Problem =>
  new Problem('stale', `the watch of ${path} went back from version ${position} to ${at}`)
