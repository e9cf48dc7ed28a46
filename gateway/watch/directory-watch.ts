import { isDeepStrictEqual } from 'node:util'
import { after } from '#gateway/watch/after.ts'
import { changeSignals } from '#gateway/watch/change-signals.ts'
import { type DirectoryState, emptyDirectory, scanDirectory } from '#gateway/watch/directory-scan.ts'
import type { HomePlace } from '#gateway/watch/endpoints.ts'
import { type Merged, mergeFiles } from '#gateway/watch/file-state.ts'
import { emptyCluster, ownClusterOf } from '#gateway/watch/own-cluster.ts'
import { boundedRejections, logRejections, type RejectionLog } from '#gateway/watch/rejections.ts'
import type { ClusterWatch } from '#gateway/watch/watch.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { OwnCluster, RejectedObject } from '#mesh/model/view.ts'

export type DirectoryWatchSettings = {
  readonly dir: string
  readonly home: HomePlace
  readonly log?: RejectionLog
  /** Signals that come together are one scan. */
  readonly debounceMs?: number
  /** How long a file that is written in place, or that vanished, must stay as it is to be believed. */
  readonly settleMs?: number
  /** A full look without any signal: signals may be lost. */
  readonly rescanMs?: number
}

/**
 * Follows a directory of ordinary Kubernetes YAML. A file that replaces another by rename is believed at once; one that
 * is written in place, a moment later. When the directory vanishes or cannot be read everything stays as it was last
 * good, and `rejected` says so. `start` throws `not-found` where there is no such directory.
 */
export function directoryWatch(settings: DirectoryWatchSettings): ClusterWatch {
  const { dir, home, log, debounceMs = 0, settleMs = 40, rescanMs = 2000 } = settings
  const listeners = new Set<() => void>()
  let state: DirectoryState = emptyDirectory
  let seen = state
  let merged: Merged | undefined
  let own: OwnCluster = emptyCluster
  let rejected: readonly RejectedObject[] = []
  let stopped = false
  let cancel = (): void => undefined
  /** When the whole directory is due again, whatever the signals name. */
  let fullAt = 0
  let dueAt = Number.POSITIVE_INFINITY
  let scanning: Promise<void> | undefined
  /** Paths that signals named; a signal without one asks for the whole directory. */
  let touched: Set<string> | 'all' | undefined
  const signals = changeSignals(dir, (path) => {
    if (path === undefined || touched === 'all') touched = 'all'
    else touched = (touched ?? new Set()).add(path)
    wake(debounceMs)
  })

  const wake = (afterMs: number): void => {
    const at = performance.now() + afterMs
    if (stopped || at >= dueAt) return
    cancel()
    dueAt = at
    cancel = after(afterMs, () => {
      dueAt = Number.POSITIVE_INFINITY
      scanning ??= scan()
        .catch((err: unknown) => log?.warn({ err }, 'a look at the cluster directory failed: the last state stays'))
        .finally(() => {
          scanning = undefined
          wake(touched ? debounceMs : state.isSettled ? Math.max(debounceMs, fullAt - performance.now()) : settleMs)
        })
    })
  }

  const scan = async (): Promise<void> => {
    // What is known to have changed goes before the look at everything, as long as that is not put off for ever.
    const isFull = touched === 'all' || performance.now() >= fullAt + (touched ? rescanMs : 0)
    const only = touched === 'all' || isFull ? {} : { touched: touched ?? new Set<string>() }
    touched = undefined
    if (isFull) fullAt = performance.now() + rescanMs
    state = await scanDirectory(state, { dir, settleMs, nowMs: Date.now(), upMs: performance.now(), ...only })
    if (stopped) return
    if (signals.follow(state.directories)) touched = 'all' // what changed before it was watched
    publish()
  }

  const publish = (): void => {
    if (state.files === seen.files && isDeepStrictEqual(state.faults, seen.faults)) return
    seen = state
    merged = mergeFiles(state.files, merged)
    const files = [...state.files.values()].filter(({ isUnread }) => isUnread).length
    const unread = { rejected: merged.rejected, files: files + state.faults.length }
    const nextOwn = ownClusterOf(merged.objects, home, own, merged.replaced, unread)
    const nextRejected = boundedRejections([...state.faults, ...merged.rejected], 'directory')
    if (nextOwn === own && isDeepStrictEqual(nextRejected, rejected)) return
    logRejections(log, { before: rejected, next: nextRejected, source: 'cluster directory' })
    own = nextOwn
    rejected = nextRejected
    for (const listener of [...listeners]) listener()
  }

  return {
    async start() {
      do {
        await scan()
        const lost = state.faults.find((fault) => fault.at === '.')
        if (lost && state.files.size === 0) {
          signals.close()
          throw new Problem(
            'not-found',
            `cluster directory "${dir}" ${lost.reason}: create it, or correct the path in the relay's settings`,
          )
        }
        if (!state.isSettled) await new Promise((resolve) => setTimeout(resolve, settleMs))
      } while (!state.isSettled && !stopped)
      wake(touched ? debounceMs : rescanMs)
    },
    current: () => own,
    rejected: () => rejected,
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async stop() {
      stopped = true
      cancel()
      listeners.clear()
      await scanning
      signals.close()
    },
  }
}
