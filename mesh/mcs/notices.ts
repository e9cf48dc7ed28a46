import type { Change } from '#mesh/mcs/changes.ts'
import { cutText } from '#mesh/mcs/cut-text.ts'
import type { ObjectCondition, SeenCondition, SeenObjects } from '#mesh/mcs/objects.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Shift } from '#mesh/model/traffic.ts'

/** What an object's users should hear: an Event of Kubernetes. */
export type Notice = {
  readonly type: 'Normal' | 'Warning'
  /** One word in CamelCase. */
  readonly reason: string
  readonly note: string
}

/** Source: Kubernetes, Event v1. */
const noteMax = 1000

const isBad = ({ type, status }: ObjectCondition): boolean =>
  type === 'Conflict' ? status === 'True' : status === 'False'

/**
 * What is news in a status that was just written: what turned bad, or is bad for another reason, and what is well again.
 * That something is as it should be from the start is none.
 */
export function noticesOf(change: Change, seen: SeenObjects): readonly Notice[] {
  const [conditions, before] = conditionsOf(change, seen)
  const told = new Set<string>()
  return conditions.flatMap((one): Notice[] => {
    const old = before.find(({ type }) => type === one.type)
    const was = old !== undefined && isBad(old)
    if (isBad(one)) {
      const isKnown = was && old.reason === one.reason && old.message === one.message
      // Who is not valid is not ready for the same reason.
      if (isKnown || told.has(one.message)) return []
      told.add(one.message)
      return [{ type: 'Warning', reason: one.reason.split(',')[0] ?? one.type, note: cutText(one.message, noteMax) }]
    }
    return was && one.status !== 'Unknown'
      ? [{ type: 'Normal', reason: one.reason, note: cutText(one.message, noteMax) }]
      : []
  })
}

function conditionsOf(
  change: Change,
  seen: SeenObjects,
): readonly [readonly ObjectCondition[], readonly SeenCondition[]] {
  switch (change.kind) {
    case 'export status':
      return [change.conditions, seen.exports.get(change.key)?.conditions ?? []]
    case 'import status':
      return [change.status.conditions, seen.imports.get(change.key)?.status.conditions ?? []]
    case 'policy status':
      return [change.conditions, seen.policies.get(change.id)?.conditions ?? []]
    case 'group status':
      return [change.conditions, seen.groups.get(change.name)?.conditions ?? []]
    default:
      return [[], []]
  }
}

const reasons: Readonly<Record<Shift['kind'], string>> = {
  shift: 'TrafficShifted',
  return: 'TrafficReturns',
  'ramp-done': 'TrafficReturned',
  'frozen-shift': 'TrafficKept',
}

/** On how many services at most a shift is told: more would hide all other Events. */
const shiftServicesMax = 10

/** A move of this cluster's callers, for each of the services that it moved; the first ones where they are many. */
export function shiftNotices(shift: Shift): readonly { readonly service: ServiceKey; readonly notice: Notice }[] {
  const { kind, cluster, from, to, servicesCount, failedMeanwhile } = shift
  const many = servicesCount > shiftServicesMax ? `; one of ${servicesCount} services` : ''
  const failed = failedMeanwhile === null ? '' : `; ${failedMeanwhile} calls failed meanwhile`
  const moved = `from ${someOf(from) || 'nobody'} to ${someOf(to) || 'nobody'}`
  const what =
    kind === 'frozen-shift'
      ? `calls stay with ${cluster}, which does not answer: nothing moves while the mesh is frozen`
      : `calls of this cluster go ${moved}, because ${cluster} ${kind === 'shift' ? 'takes them no more' : 'takes them again'}`
  const note = cutText(`${what}${evidenceOf(shift)}${many}${failed}`, noteMax)
  const isWarning = kind === 'shift' || kind === 'frozen-shift'
  const notice: Notice = { type: isWarning ? 'Warning' : 'Normal', reason: reasons[kind], note }
  return shift.services.slice(0, shiftServicesMax).map((service) => ({ service, notice }))
}

function evidenceOf({ evidence: { probe, service, advice } }: Shift): string {
  if (probe) return ` (${probe.failed} of ${probe.of} probes failed, the last one: ${probe.last})`
  if (service) return ` (${service.probe}: ${service.said})`
  return advice === undefined ? '' : ` (${advice})`
}
