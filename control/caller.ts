import type { Role } from '#control/store/operator-keys.ts'
import type { ClusterId, ClusterName, MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Who asks, as its credential proves it: content never says who somebody is. */
export type Operator = {
  readonly kind: 'operator'
  readonly id: string
  readonly name: string
  readonly role: Role
  readonly mesh: MeshName
}
export type ClusterCaller = {
  readonly kind: 'cluster'
  readonly id: ClusterId
  readonly name: ClusterName
  readonly mesh: MeshName
  /** When the access token ends, Unix ms. */
  readonly expiresAt: number
}
export type Caller = Operator | ClusterCaller

/** The centre itself: first start, renewals. */
export const centreCaller = 'centre'

/** How a caller is written in the audit log. */
export const callerText = (caller: Caller): string =>
  caller.kind === 'operator' ? `operator:${caller.id}` : `cluster:${caller.name}`

const ranks: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 }

/** The caller as an operator of at least that role. Throws `forbidden`, which says what is missing. */
export function requireRole(caller: Caller, role: Role): Operator {
  if (caller.kind === 'cluster')
    throw new Problem('forbidden', `the token of cluster "${caller.name}" may only sync, pull, watch and be certified`)
  if (ranks[caller.role] < ranks[role])
    throw new Problem('forbidden', `the key "${caller.name}" has the role ${caller.role}; this needs ${role}`)
  return caller
}

/** The caller as a cluster; with `id`, as that one. Throws `forbidden`. */
export function requireCluster(caller: Caller, id?: string): ClusterCaller {
  if (caller.kind !== 'cluster') throw new Problem('forbidden', 'only the relay of a cluster may do this, by its token')
  if (id !== undefined && caller.id !== id)
    throw new Problem('forbidden', `the token is of cluster "${caller.name}" (${caller.id}), the request is for ${id}`)
  return caller
}
