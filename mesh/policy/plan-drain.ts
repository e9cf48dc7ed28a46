import { type DrainKind, type DrainState, rampOf } from '#mesh/model/drain.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** A drain as it stands. */
export type DrainStanding = {
  readonly kind: DrainKind
  readonly state: DrainState
  readonly percent: number
  readonly overMs: number
  readonly graceMs: number
  /** Unix ms: when it came to stand so. */
  readonly stepAt: number
}

/** What is seen of a drain since its last step. */
export type DrainSight = {
  /** Relays that were heard of late and do not follow the last step yet. */
  readonly behind: readonly ClusterName[]
  /** Relays that are not heard any more: nobody knows what their proxies do. */
  readonly unheard: readonly ClusterName[]
  /** Relays that have never told what they follow, nor what they measure: older ones, or none that ever ran. */
  readonly silent: readonly ClusterName[]
  /** Set where callers fail clearly more often than before it began: how. */
  readonly failing?: string
  readonly quiet: Quiet
}

/** Whether anything still goes where nothing should. */
export type Quiet =
  | { readonly is: 'proved'; readonly proof: string }
  /** Something does, or it is not yet known for long enough, or cannot be known. */
  | { readonly is: 'not-yet'; readonly why: string }

export type DrainStep =
  | { readonly kind: 'wait'; readonly why: string }
  | { readonly kind: 'to'; readonly state: DrainState; readonly percent: number; readonly why: string }

export const drainTimes = {
  /** How long a step waits for relays that are not heard, before it goes on without them. */
  unheardMs: 30_000,
  /** How long a gateway lets live what is open on a chain that was withdrawn. */
  gatewayDrainMs: 20_000,
  /** Between the steps of an undrain: all of it within 10 s. */
  returnMs: 3000,
} as const

/**
 * What a drain does next. Its share goes down by steps, evenly over `overMs`; each waits until every relay that is heard
 * follows the one before, so that no caller is ahead of what was found to be good. Once nobody is sent there, what is
 * still open is left alone for the grace period but its last part, in which the gateways end it; then it has to be proved
 * that nothing is left. Where callers fail more than before, the share stays where it is and a person decides.
 *
 * An undrain opens first and then gives back half and all. It waits for who has to open, as long as that takes.
 */
export function nextDrainStep(drain: DrainStanding, sight: DrainSight, now: number): DrainStep {
  const { state, percent, stepAt } = drain
  switch (state) {
    case 'ramping':
      if (sight.failing !== undefined) return { kind: 'to', state: 'stopped', percent, why: stoppedBy(sight.failing) }
      return percent > 0 ? nextShare(drain, sight, now) : afterRamp(drain, sight, now)
    case 'closing':
      if (now - stepAt < drainTimes.gatewayDrainMs) return { kind: 'wait', why: 'the gateways end what is still open' }
      return { kind: 'to', state: 'proving', percent, why: 'what was open had its time' }
    case 'proving':
      return afterProof(drain, sight, now)
    case 'returning':
      return nextReturn(drain, sight, now)
    case 'done':
    case 'stopped':
    case 'undone':
      return { kind: 'wait', why: '' }
  }
}

const stoppedBy = (failing: string): string => `${failing}: its share stays where it is; undo: isthmus undrain`

function nextShare({ kind, percent, overMs, stepAt }: DrainStanding, sight: DrainSight, now: number): DrainStep {
  const steps = rampOf(kind)
  const next = steps.find((one) => one < percent) ?? 0
  const isFirst = percent === 100
  const dueIn = isFirst ? 0 : stepAt + overMs / steps.length - now
  if (dueIn > 0) return { kind: 'wait', why: 'the next step follows' }
  const held = isFirst ? undefined : heldBy(missing({ kind, percent }, sight), stepAt, now)
  if (held !== undefined) return { kind: 'wait', why: held }
  const why = isFirst ? 'callers are told' : without('callers are told', sight)
  return { kind: 'to', state: 'ramping', percent: next, why }
}

function afterRamp(drain: DrainStanding, sight: DrainSight, now: number): DrainStep {
  const { graceMs, stepAt } = drain
  const held = heldBy(missing(drain, sight), stepAt, now)
  if (held !== undefined) return { kind: 'wait', why: held }
  if (now - stepAt < Math.max(0, graceMs - drainTimes.gatewayDrainMs))
    return { kind: 'wait', why: 'nobody is sent there; what is still open has its time' }
  return { kind: 'to', state: 'closing', percent: 0, why: without('what is still open is ended', sight) }
}

/** Of who is not heard the drained gateways tell, but he may be on his way back, and then tells himself. */
function afterProof({ percent, stepAt }: DrainStanding, { quiet, ...sight }: DrainSight, now: number): DrainStep {
  if (quiet.is === 'not-yet') return { kind: 'wait', why: quiet.why }
  const held = heldBy({ ...sight, behind: [], silent: [] }, stepAt, now)
  if (held !== undefined) return { kind: 'wait', why: held }
  return { kind: 'to', state: 'done', percent, why: without(quiet.proof, sight) }
}

/** Who never told what it follows cannot be waited for until it does. */
function nextReturn({ percent, stepAt }: DrainStanding, sight: DrainSight, now: number): DrainStep {
  const { behind, unheard } = sight
  const held = behind.length + unheard.length > 0 ? [...behind, ...unheard] : undefined
  if (percent === 0 && held) return { kind: 'wait', why: `${someOf(held)} has not opened its gateways yet` }
  const silent = percent === 0 ? heldBy(sight, stepAt, now) : undefined
  if (silent !== undefined) return { kind: 'wait', why: silent }
  if (now - stepAt < drainTimes.returnMs) return { kind: 'wait', why: 'it comes back' }
  if (percent < 50) return { kind: 'to', state: 'returning', percent: 50, why: 'callers are told' }
  return { kind: 'to', state: 'undone', percent: 100, why: 'it has its whole share again' }
}

/** Why the next step is not made yet; undefined where nothing keeps it. */
function heldBy({ behind, unheard, silent }: Missing, stepAt: number, now: number): string | undefined {
  if (behind.length > 0) return `${someOf(behind)} ${behind.length === 1 ? 'does' : 'do'} not follow the last step yet`
  if (now - stepAt >= drainTimes.unheardMs) return undefined
  const waited = `waited for ${drainTimes.unheardMs / 1000} s`
  if (unheard.length > 0) return `${someOf(unheard)} ${areOf(unheard)} not heard; it is ${waited}`
  return silent.length > 0 ? `${someOf(silent)} ${neverTold(silent)}; it is ${waited}` : undefined
}

type Missing = Pick<DrainSight, 'behind' | 'unheard' | 'silent'>

/** Who never told anything is waited for after the first step alone: each further one would only last longer. */
const missing = ({ kind, percent }: Pick<DrainStanding, 'kind' | 'percent'>, sight: DrainSight): Missing =>
  percent === rampOf(kind)[0] ? sight : { ...sight, silent: [] }

function without(text: string, { unheard, silent }: Pick<Missing, 'unheard' | 'silent'>): string {
  const away = unheard.length > 0 ? `; without ${someOf(unheard)}, which ${areOf(unheard)} not heard` : ''
  return `${text}${away}${silent.length > 0 ? `; without ${someOf(silent)}, which ${neverTold(silent)}` : ''}`
}

const areOf = (several: readonly unknown[]): string => (several.length === 1 ? 'is' : 'are')
const neverTold = (several: readonly unknown[]): string =>
  `${several.length === 1 ? 'has' : 'have'} never told what it follows`
