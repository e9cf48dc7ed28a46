import { cutText } from '#mesh/mcs/cut-text.ts'
import type { ObjectCondition } from '#mesh/mcs/objects.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { RejectedObject } from '#mesh/model/view.ts'

export type PolicyFacts = {
  readonly config: ClusterConfig
  /** Objects of the own cluster that could not be read. */
  readonly rejected: readonly RejectedObject[]
}

/** Whether a GlobalTrafficPolicy is in force, as far as this cluster's config says so. */
export function policyConditions(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  facts: PolicyFacts,
): readonly ObjectCondition[] {
  const fault = faultOf(`policy ${namespace}/${name}`, `GlobalTrafficPolicy ${namespace}/${name}`, facts)
  if (fault) return [fault]
  const governed = [...facts.config.imports.values()].filter(({ policy }) =>
    policy?.name.startsWith(`${namespace}/${name}@`),
  )
  const [first] = governed
  if (first)
    return [
      {
        ...inForce('True', 'Governs'),
        message: `it governs how this cluster calls ${governed.length === 1 ? first.key : `${governed.length} services`}`,
      },
    ]
  return [
    {
      ...inForce('Unknown', 'GovernsNothing'),
      message:
        'nothing is wrong with it, and it governs none of the services that this cluster calls: no such service is ' +
        'exported, another policy goes before, or the centre has not read it yet (see isthmus explain)',
    },
  ]
}

/** The same for a SamenessGroup: nothing in a config names one, so what is known is whether anything is wrong. */
export function groupConditions(name: string, facts: PolicyFacts): readonly ObjectCondition[] {
  const fault = faultOf(`group ${name}`, `SamenessGroup ${name}`, facts)
  return [fault ?? { ...inForce('True', 'Accepted'), message: 'nothing is wrong with it that the centre has named' }]
}

const inForce = (status: ObjectCondition['status'], reason: string) => ({ type: 'InForce', status, reason }) as const

function faultOf(object: string, id: string, { config, rejected }: PolicyFacts): ObjectCondition | undefined {
  const unread = rejected.find((one) => one.object === id)
  if (unread) return { ...inForce('False', 'Invalid'), message: cutText(`it cannot be read: ${unread.reason}`) }
  const said = config.conditions.find(
    (one) => one.object === object && (one.type === 'PolicyNotInForce' || one.type === 'PolicyOverruled'),
  )
  return said && { ...inForce('False', said.reason), message: cutText(said.message) }
}
