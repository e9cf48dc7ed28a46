import { cutText } from '#mesh/mcs/cut-text.ts'
import type { ObjectCondition } from '#mesh/mcs/objects.ts'
import type { ClusterConfig, Condition } from '#mesh/model/cluster-config.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { OwnCluster, RejectedObject } from '#mesh/model/view.ts'

export type ExportFacts = {
  readonly own: OwnCluster
  readonly config: ClusterConfig
  /** Objects of the own cluster that could not be read. */
  readonly rejected: readonly RejectedObject[]
  /** What the relay itself found about services (no pods with a proxy, no protocol). */
  readonly remarks: readonly Condition[]
}

/**
 * The conditions of one ServiceExport: whether it can be offered, whether it is, and whether an older export elsewhere says
 * otherwise. Source: MCS API (KEP-1645), ServiceExport conditions `Valid`, `Ready`, `Conflict` and their reasons.
 */
export function exportConditions(key: ServiceKey, facts: ExportFacts): readonly ObjectCondition[] {
  const valid = validOf(key, facts)
  return [valid, readyOf(key, facts, valid), conflictOf(key, facts)]
}

function validOf(key: ServiceKey, { own, rejected }: ExportFacts): ObjectCondition {
  const said = (status: 'True' | 'False', reason: string, message: string) => ({
    type: 'Valid',
    status,
    reason,
    message,
  })
  const unread = rejected.find(({ object }) => object === `ServiceExport ${key}`)
  if (!own.exports.has(key) && unread) return said('False', 'Invalid', cutText(`it cannot be read: ${unread.reason}`))
  if (own.externalNames?.has(key))
    return said(
      'False',
      'InvalidServiceType',
      'a Service of type ExternalName has no pods: export the Service behind it',
    )
  if (!own.services.has(key))
    return said('False', 'NoService', `there is no Service ${key}: create it, or remove this ServiceExport`)
  return said('True', 'Valid', 'the Service can be offered to other clusters')
}

function readyOf(key: ServiceKey, { config, remarks }: ExportFacts, valid: ObjectCondition): ObjectCondition {
  const type = 'Ready'
  if (valid.status !== 'True') return { type, status: 'False', reason: 'Failed', message: valid.message }
  const object = `service ${key}`
  const about = [...config.conditions, ...remarks].filter((one) => one.object === object && one.type !== 'Conflict')
  const more = [...new Set(about.map(({ type: kind, message }) => `${kind}: ${message}`))].sort()
  const exported = config.exports.get(key)
  if (!exported)
    return {
      ...{ type, status: 'Unknown', reason: 'Pending' },
      message: cutText(['the centre has not said yet that it is offered', ...more].join('; ')),
    }
  if (about.some((one) => one.type === 'NotImportable'))
    return { type, status: 'False', reason: 'Failed', message: cutText(more.join('; ')) }
  const to = exported.consumers.length === 1 ? '1 other cluster' : `${exported.consumers.length} other clusters`
  const message = cutText([`it is offered to ${to}`, ...more].join('; '))
  return { type, status: 'True', reason: 'Exported', message }
}

/** Several reasons are joined by commas, as the API asks for. */
function conflictOf(key: ServiceKey, { config }: ExportFacts): ObjectCondition {
  const type = 'Conflict'
  const found = config.conditions.filter((one) => one.type === type && one.object === `service ${key}`)
  if (found.length === 0)
    return { type, status: 'False', reason: 'NoConflicts', message: 'no older export of this name says otherwise' }
  const reason = [...new Set(found.map((one) => one.reason))].sort().join(',')
  return { type, status: 'True', reason, message: cutText(found.map(({ message }) => message).join('; ')) }
}
