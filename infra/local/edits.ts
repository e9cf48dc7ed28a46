import { statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { manifestFiles } from './manifests.ts'
import type { Sandbox } from './sandbox.ts'

const lookMs = 400

/**
 * Tells, in words for people, which files of the clusters' manifests somebody added, changed or removed: why calls move
 * though nobody killed anything. What is there at the first look at a cluster is no news.
 */
export function watchEdits(sandbox: Pick<Sandbox, 'members'>, did: (words: string) => void): { close(): void } {
  const known = new Map<string, Stamps>()
  const look = () => {
    const news: { readonly words: string; readonly cluster: string }[] = []
    for (const { plan } of sandbox.members) {
      const after = stampsOf(join(plan.dir, 'manifests'))
      const before = known.get(plan.name) ?? after
      // A directory that cannot be read just now is not an empty one.
      if (!after || !before) continue
      known.set(plan.name, after)
      for (const words of editsBetween(before, after)) news.push({ words, cluster: plan.name })
    }
    // The same done to several at once, as a shell's `*` does, is one deed.
    for (const words of new Set(news.map((one) => one.words)))
      did(`${words} in ${news.flatMap((one) => (one.words === words ? [one.cluster] : [])).join(' and ')}`)
  }
  look()
  const timer = setInterval(look, lookMs)
  return { close: () => clearInterval(timer) }
}

/** Files by their path below the manifests, each with what changes when its content does. */
type Stamps = ReadonlyMap<string, string>

function stampsOf(dir: string): Stamps | undefined {
  try {
    return new Map(
      manifestFiles(dir).map((path) => {
        const { mtimeMs, size, ino } = statSync(path)
        return [relative(dir, path), `${mtimeMs} ${size} ${ino}`]
      }),
    )
  } catch {
    return undefined
  }
}

/** `exports/ratings.yaml was removed`, one for each file that differs. */
export function editsBetween(before: Stamps, after: Stamps): string[] {
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((path) => {
    if (before.get(path) === after.get(path)) return []
    return [`${path} was ${!after.has(path) ? 'removed' : before.has(path) ? 'changed' : 'added'}`]
  })
}
