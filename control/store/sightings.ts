import { and, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { ephemeral } from '#control/store/durable.ts'
import { type ClusterRow, clusters } from '#control/store/schema/cluster.ts'

/** Notes when a cluster was last heard. Neither a revision of the cluster nor worth the journal: it is heard again. */
export async function saveSighting(tx: Tx, cluster: Pick<ClusterRow, 'mesh' | 'id'>, now: number): Promise<void> {
  await tx
    .update(clusters)
    .set({ lastSeenAt: now })
    .where(and(eq(clusters.mesh, cluster.mesh), eq(clusters.id, cluster.id)))
  ephemeral(tx, clusters)
}
