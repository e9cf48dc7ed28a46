import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'

export type ChangeSignals = {
  /** Watches exactly these directories (inode by path) from now on; true where one was not watched before. */
  follow(directories: ReadonlyMap<string, string>): boolean
  close(): void
}

/**
 * Calls `onSignal` when something in one of the followed directories may have changed, with its path where the system
 * says it. A signal is advice: what happens in a directory that cannot be watched (limits, a network file system) is found
 * by the next rescan. One watcher per directory, set by the listing: Node's recursive watcher lists by itself, throws from
 * inside when a directory vanishes under it, and stays on the old inode when the root is replaced.
 */
export function changeSignals(root: string, onSignal: (path: string | undefined) => void): ChangeSignals {
  const watchers = new Map<string, { readonly inode: string; readonly watcher: FSWatcher }>()
  const drop = (path: string): void => {
    watchers.get(path)?.watcher.close()
    watchers.delete(path)
  }
  const add = (path: string, inode: string): void => {
    try {
      const watcher = watch(join(root, path), { persistent: false }, (_event, name) =>
        onSignal(name === null ? undefined : path === '.' ? name : `${path}/${name}`),
      )
      watcher.on('error', () => drop(path))
      watchers.set(path, { inode, watcher })
    } catch {
      // not watched: the rescan sees it
    }
  }
  return {
    follow(directories) {
      for (const [path, { inode }] of [...watchers]) if (directories.get(path) !== inode) drop(path)
      const fresh = [...directories].filter(([path]) => !watchers.has(path))
      for (const [path, inode] of fresh) add(path, inode)
      return fresh.some(([path]) => watchers.has(path))
    },
    close() {
      for (const path of [...watchers.keys()]) drop(path)
    },
  }
}
