import { and, asc, eq, gt, inArray, ne, sql } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { fixedStatement, given, rowParser } from '#control/store/fixed-statement.ts'
import { kept } from '#control/store/kept.ts'
import { type ClusterRow, clusters, type NewCluster } from '#control/store/schema/cluster.ts'
import { chunks } from '#control/store/streams.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { ClusterRow }

const of = (mesh: MeshName, id: string) => and(eq(clusters.mesh, mesh), eq(clusters.id, id))

export async function loadCluster(tx: Tx, mesh: MeshName, id: string): Promise<ClusterRow | undefined> {
  const [row] = await tx.select().from(clusters).where(of(mesh, id))
  return row
}

/** Those of these ids that there are. */
export async function loadClustersById(tx: Tx, mesh: MeshName, ids: readonly string[]): Promise<ClusterRow[]> {
  const rows = await Promise.all([...chunks(ids, idsMax)].map((some) => clustersById(some.length)(tx, mesh, some)))
  return rows.flat()
}

const idsMax = 50
const byCount = new Map<number, (tx: Tx, mesh: MeshName, ids: readonly string[]) => Promise<ClusterRow[]>>()

function clustersById(count: number) {
  const known = byCount.get(count)
  if (known) return known
  const names = Array.from({ length: count }, (_, n) => `id${n}`)
  const select = fixedStatement((tx) =>
    tx
      .select()
      .from(clusters)
      .where(
        and(
          eq(clusters.mesh, given('mesh')),
          inArray(
            clusters.id,
            names.map((name) => sql.placeholder(name)),
          ),
        ),
      ),
  )
  const made = async (tx: Tx, mesh: MeshName, ids: readonly string[]) =>
    (await select(tx, { mesh, ...Object.fromEntries(names.map((name, n) => [name, ids[n] ?? ''])) })).map(parseRow)
  byCount.set(count, made)
  return made
}

const parseRow = rowParser(clusters)

export async function loadClusterByName(tx: Tx, mesh: MeshName, name: string): Promise<ClusterRow | undefined> {
  const [row] = await tx
    .select()
    .from(clusters)
    .where(and(eq(clusters.mesh, mesh), eq(clusters.name, name)))
  return row
}

/** Clusters by name, also those that left; those after `after` only. */
export const loadClusters = (tx: Tx, mesh: MeshName, after: string, limit: number): Promise<ClusterRow[]> =>
  tx
    .select()
    .from(clusters)
    .where(and(eq(clusters.mesh, mesh), gt(clusters.name, after)))
    .orderBy(asc(clusters.name))
    .limit(limit)

export const loadMembers = (tx: Tx, mesh: MeshName): Promise<ClusterRow[]> =>
  tx
    .select()
    .from(clusters)
    .where(and(eq(clusters.mesh, mesh), eq(clusters.state, 'joined')))
    .orderBy(asc(clusters.name))

/** Clusters on a network, those that are only expected there too. */
export const loadOnNetwork = (tx: Tx, mesh: MeshName, network: string): Promise<ClusterRow[]> =>
  tx
    .select()
    .from(clusters)
    .where(and(eq(clusters.mesh, mesh), eq(clusters.network, network), ne(clusters.state, 'left')))
    .orderBy(asc(clusters.name))

export async function insertCluster(tx: Tx, row: NewCluster): Promise<void> {
  kept(tx, clusters, await tx.insert(clusters).values(row).returning())
}

/** Writes `change` where the cluster is still at `row.revision`; undefined where somebody else was faster. */
export async function updateCluster(
  tx: Tx,
  row: ClusterRow,
  change: Partial<Omit<ClusterRow, 'mesh' | 'id' | 'name' | 'revision'>>,
): Promise<ClusterRow | undefined> {
  const updated = await tx
    .update(clusters)
    .set({ ...change, revision: row.revision + 1 })
    .where(and(eq(clusters.mesh, row.mesh), eq(clusters.id, row.id), eq(clusters.revision, row.revision)))
    .returning()
  return kept(tx, clusters, updated)
}
