import { and, asc, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import {
  type SamenessGroupRow,
  samenessGroups,
  type TrafficPolicyRow,
  trafficPolicies,
} from '#control/store/schema/traffic.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { SamenessGroupRow, TrafficPolicyRow }

/** All policies of a mesh, by namespace and name; bounded by `policiesMax`. */
export const loadPolicies = (tx: Tx, mesh: MeshName): Promise<TrafficPolicyRow[]> =>
  tx
    .select()
    .from(trafficPolicies)
    .where(eq(trafficPolicies.mesh, mesh))
    .orderBy(asc(trafficPolicies.namespace), asc(trafficPolicies.name))

export const loadGroups = (tx: Tx, mesh: MeshName): Promise<SamenessGroupRow[]> =>
  tx.select().from(samenessGroups).where(eq(samenessGroups.mesh, mesh)).orderBy(asc(samenessGroups.name))

const policyNamed = (mesh: string, namespace: string, name: string) =>
  and(eq(trafficPolicies.mesh, mesh), eq(trafficPolicies.namespace, namespace), eq(trafficPolicies.name, name))
const groupNamed = (mesh: string, name: string) => and(eq(samenessGroups.mesh, mesh), eq(samenessGroups.name, name))

export async function loadPolicy(
  tx: Tx,
  mesh: MeshName,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<TrafficPolicyRow | undefined> {
  const [row] = await tx
    .select()
    .from(trafficPolicies)
    .where(policyNamed(mesh, namespace, name))
  return row
}

export async function loadGroup(tx: Tx, mesh: MeshName, name: string): Promise<SamenessGroupRow | undefined> {
  const [row] = await tx.select().from(samenessGroups).where(groupNamed(mesh, name))
  return row
}

/** Makes the policy, or writes it over the row of before. Only under the lock of `lockPolicies`. */
export async function savePolicy(tx: Tx, row: TrafficPolicyRow): Promise<void> {
  const { spec, revision, updatedAt } = row
  const updated = await tx
    .update(trafficPolicies)
    .set({ spec, revision, updatedAt })
    .where(policyNamed(row.mesh, row.namespace, row.name))
    .returning()
  if (kept(tx, trafficPolicies, updated)) return
  kept(tx, trafficPolicies, await tx.insert(trafficPolicies).values(row).returning())
}

export async function deletePolicy(tx: Tx, { mesh, namespace, name }: TrafficPolicyRow): Promise<void> {
  dropped(
    tx,
    trafficPolicies,
    await tx
      .delete(trafficPolicies)
      .where(policyNamed(mesh, namespace, name))
      .returning(),
  )
}

/** As `savePolicy`, for a group. */
export async function saveGroup(tx: Tx, row: SamenessGroupRow): Promise<void> {
  const { clusters, revision, updatedAt } = row
  const updated = await tx
    .update(samenessGroups)
    .set({ clusters, revision, updatedAt })
    .where(groupNamed(row.mesh, row.name))
    .returning()
  if (kept(tx, samenessGroups, updated)) return
  kept(tx, samenessGroups, await tx.insert(samenessGroups).values(row).returning())
}

export async function deleteGroup(tx: Tx, { mesh, name }: SamenessGroupRow): Promise<void> {
  dropped(tx, samenessGroups, await tx.delete(samenessGroups).where(groupNamed(mesh, name)).returning())
}
