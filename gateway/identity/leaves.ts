import type { IssuedLeaf } from '#gateway/identity/issuance-log.ts'

/** What is in force: leaves under another root, of another trust domain or of an issuing CA before `issuingBefore` are old. */
export type CurrentAuthority = {
  readonly root: string
  readonly trustDomain: string
  readonly issuingBefore?: number
}

/** Which leaves are in use, as far as a relay can know: what it issued, and what each proxy says it holds. */
export type Leaves = {
  issued(leaf: IssuedLeaf): void
  /** The proxy of a pod holds the leaf with this serial number. */
  looked(pod: string, serial: string): void
  /** Whether the leaf that the pod says it holds is to be renewed: an old one, or one that nothing is known of. */
  isOld(pod: string, serial: string, current: CurrentAuthority): boolean
  /** Leaves in use that are old, of pods that exist, and the end of the one that lasts longest (0 = none). */
  old(
    exists: (pod: string) => boolean,
    current: CurrentAuthority,
  ): { readonly old: number; readonly oldestNotAfter: number }
}

/** A pod whose last answer is this young may not have got it, and hold the leaf before. */
const unsureMs = 60_000
const podsMax = 50_000

type Known = { latest: IssuedLeaf; before?: IssuedLeaf; held?: IssuedLeaf | 'unknown' }

export function leavesInUse(loaded: readonly IssuedLeaf[], now: () => number): Leaves {
  const pods = new Map<string, Known>()
  const issued = (leaf: IssuedLeaf) => {
    // Without a pod nothing supersedes it.
    const key = leaf.pod || `key ${leaf.keySha256}`
    const known = pods.get(key)
    pods.delete(key)
    pods.set(key, known ? { ...known, latest: leaf, before: known.latest } : { latest: leaf })
    if (pods.size > podsMax) forgetEnded()
  }
  for (const leaf of loaded) if (leaf.notAfter > now()) issued(leaf)

  return {
    issued,
    looked: (pod, serial) => {
      const known = pods.get(pod)
      if (known) known.held = bySerial(known, serial) ?? 'unknown'
    },
    isOld: (pod, serial, current) => {
      const leaf = bySerial(pods.get(pod), serial)
      return leaf === undefined || isOld(leaf, current)
    },
    old: (exists, current) => {
      const all = [...pods].flatMap(([key, known]) => (key.startsWith('key ') || exists(key) ? inUse(known) : []))
      const old = all.filter((leaf) => leaf.notAfter > now() && isOld(leaf, current))
      return { old: old.length, oldestNotAfter: old.reduce((end, { notAfter }) => Math.max(end, notAfter), 0) }
    },
  }

  /** What is not known to be held counts as the oldest that it can be. */
  function inUse({ latest, before, held }: Known): readonly IssuedLeaf[] {
    if (held !== undefined && held !== 'unknown') return [held]
    const isSure = held === undefined && latest.at + unsureMs < now()
    return isSure || !before ? [latest] : [before]
  }

  function forgetEnded(): void {
    for (const [key, { latest }] of pods) if (latest.notAfter <= now()) pods.delete(key)
    for (const key of pods.keys()) if (pods.size <= podsMax || !pods.delete(key)) break
  }
}

const bySerial = (known: Known | undefined, serial: string): IssuedLeaf | undefined =>
  known &&
  [known.latest, known.before, known.held === 'unknown' ? undefined : known.held].find((one) => one?.serial === serial)

const isOld = (leaf: IssuedLeaf, { root, trustDomain, issuingBefore = 0 }: CurrentAuthority): boolean =>
  leaf.root !== root || leaf.trustDomain !== trustDomain || leaf.caMadeAt < issuingBefore
