/** States that a rotation walks through. `tainted`: nothing that the old authority signed is in use any more. */
export const rotationSteps = ['prepared', 'published', 'active', 'tainted', 'revoked'] as const
export type RotationStep = (typeof rotationSteps)[number]

/** What one relay last said of trust, and whether it is heard. Digests are SHA-256 (hex). */
export type RelayTrust = {
  readonly cluster: string
  /** Why it counts as unreachable; absent: it is heard. */
  readonly silent?: string
  /** Absent: it has told nothing of trust. */
  readonly said?: {
    readonly seq: number
    readonly digest: string
    readonly proxies: number
    readonly acked: number
    readonly missing: readonly string[]
    readonly missingCount: number
    readonly issuing: { readonly root: string; readonly notAfter: number; readonly trustDomain: string } | null
    readonly serving: { readonly ca: string; readonly notAfter: number } | null
    readonly pinned: readonly string[]
    readonly proxyCas: { readonly all: number; readonly current: number }
    readonly leaves: { readonly old: number; readonly oldestNotAfter: number }
    readonly fault?: { readonly reason: string; readonly detail: string }
  }
}

export type RotationFacts = {
  /** The bundle in force at the centre. */
  readonly bundle: { readonly seq: number; readonly digest: string }
  readonly relays: readonly RelayTrust[]
  /** What members trust of the authority that comes: digest of its certificate, or of the user's root above it. */
  readonly to: readonly string[]
  /** Clusters with an istiod of their own whose CA is not of the authority that comes: nobody renews it but people. */
  readonly istiods?: readonly string[]
  /** The control-plane CA that vouches for the centre's own door; absent where the user's own certificate does. */
  readonly door?: string | undefined
}

/** One thing that a step waits for. `cluster` is `centre` where it is not a cluster's doing. */
export type Missing = {
  readonly cluster: string
  readonly what: 'unreachable' | 'bundle' | 'proxies' | 'issuing' | 'leaves' | 'serving' | 'pinned'
  readonly detail: string
}

export type RotationVerdict =
  | { readonly kind: 'wait'; readonly missing: readonly Missing[] }
  | { readonly kind: 'step'; readonly to: RotationStep }
  | { readonly kind: 'done' }

/**
 * What a rotation does next. The order is the one in which no handshake fails: what comes is trusted everywhere before
 * anything is signed by it, and what goes is trusted until nothing signed by it is in use. Every wait is for the word of
 * all relays about this very bundle; one that is not heard is waited for, since it might still trust less than all others.
 */
export function nextStep(
  { kind, step }: { readonly kind: 'root' | 'control-plane'; readonly step: RotationStep },
  facts: RotationFacts,
): RotationVerdict {
  const missing = missingFor(kind, step, facts)
  if (missing.length > 0) return { kind: 'wait', missing }
  const to = rotationSteps[rotationSteps.indexOf(step) + 1]
  return to === undefined ? { kind: 'done' } : { kind: 'step', to }
}

/** What a step of a rotation waits for, given these facts, cluster by cluster. */
export function missingFor(
  kind: 'root' | 'control-plane',
  step: RotationStep,
  { relays, bundle, to, door, istiods = [] }: RotationFacts,
): Missing[] {
  // Before the bundle names what comes there is nothing to acknowledge, and `tainted` is the end of a wait.
  if (step === 'prepared' || step === 'tainted') return []
  const missing = relays.flatMap((relay) => missingOf(kind, step, relay, { bundle, to }))
  if (kind === 'control-plane' && step === 'active' && door !== undefined && !to.includes(door))
    missing.push({ cluster: 'centre', what: 'serving', detail: 'the centre serves under the old control-plane CA' })
  if (kind === 'root' && step === 'active')
    for (const cluster of istiods) {
      const detail = `the CA of its istiod is of the old root: isthmus trust export-cacerts ${cluster} --secret <file>`
      missing.push({ cluster, what: 'issuing', detail })
    }
  return missing
}

function missingOf(
  kind: 'root' | 'control-plane',
  step: RotationStep,
  { cluster, silent, said }: RelayTrust,
  { bundle, to }: Pick<RotationFacts, 'bundle' | 'to'>,
): Missing[] {
  if (silent !== undefined) return [{ cluster, what: 'unreachable', detail: silent }]
  if (!said) return [{ cluster, what: 'bundle', detail: 'its relay says nothing of trust: upgrade it' }]
  const found: Missing[] = []
  const add = (what: Missing['what'], detail: string): void => void found.push({ cluster, what, detail })
  if (said.fault) add('bundle', `${said.fault.reason}: ${said.fault.detail}`)
  else if (said.seq !== bundle.seq || said.digest !== bundle.digest)
    add('bundle', `holds bundle ${said.seq}, not ${bundle.seq} as the centre has it`)
  const unacked = Math.max(said.missingCount, said.proxies - said.acked)
  if (unacked > 0) add('proxies', listed(unacked, said.missing, 'have not acknowledged the bundle'))
  if (kind === 'control-plane' && step === 'published') {
    if (!to.some((digest) => said.pinned.includes(digest)))
      add('pinned', 'its relay does not believe the new control-plane CA towards the centre')
    const old = said.proxyCas.all - said.proxyCas.current
    if (old > 0) add('pinned', `${old} of its ${said.proxyCas.all} proxies do not believe the new one at the relay`)
  }
  if (step !== 'active') return found
  if (kind === 'root') {
    if (said.issuing === null || !to.includes(said.issuing.root))
      add('issuing', said.issuing ? 'its issuing CA is of the old root' : 'it has no issuing CA')
    if (said.leaves.old > 0) {
      const last = new Date(said.leaves.oldestNotAfter).toISOString()
      add('leaves', `${oldLeaves(said.leaves.old)} in use, until ${last} at the latest`)
    }
  } else if (said.serving === null || !to.includes(said.serving.ca))
    add('serving', 'its relay serves under the old control-plane CA')
  return found
}

function listed(count: number, names: readonly string[], what: string): string {
  const shown = names.slice(0, 5).join('; ')
  return `${count} of its proxies ${what}${shown === '' ? '' : `: ${shown}${count > 5 ? '; …' : ''}`}`
}

const oldLeaves = (count: number): string =>
  count === 1 ? '1 workload certificate of before is' : `${count} workload certificates of before are`
