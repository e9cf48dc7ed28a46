import { and, desc, eq, lt, lte, or } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { type CompiledRow, compiled } from '#control/store/schema/compiled.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { CompiledRow }

export async function loadLastCompiled(tx: Tx, mesh: MeshName, cluster: string): Promise<CompiledRow | undefined> {
  const [row] = await tx
    .select()
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  return row
}

/** Which config a cluster has, without the config: with a hundred members that is a hundred megabytes. */
export async function loadLastHead(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
): Promise<Pick<CompiledRow, 'revision' | 'hash'> | undefined> {
  const [row] = await tx
    .select({ revision: compiled.revision, hash: compiled.hash })
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  return row
}

export async function loadCompiled(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  revision: number,
): Promise<CompiledRow | undefined> {
  const [row] = await tx
    .select()
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster), eq(compiled.revision, revision)))
  return row
}

/** Newest first, without bodies; those below revision `before` where it is given. */
export const loadCompiledHistory = (
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  page: { readonly before: number | undefined; readonly limit: number },
): Promise<Omit<CompiledRow, 'body'>[]> =>
  tx
    .select({
      mesh: compiled.mesh,
      cluster: compiled.cluster,
      revision: compiled.revision,
      hash: compiled.hash,
      cause: compiled.cause,
      author: compiled.author,
      at: compiled.at,
      policies: compiled.policies,
      base: compiled.base,
      ackedAt: compiled.ackedAt,
    })
    .from(compiled)
    .where(
      and(
        eq(compiled.mesh, mesh),
        eq(compiled.cluster, cluster),
        ...(page.before === undefined ? [] : [lt(compiled.revision, page.before)]),
      ),
    )
    .orderBy(desc(compiled.revision))
    .limit(page.limit)

export async function appendCompiled(tx: Tx, row: CompiledRow): Promise<void> {
  await tx.insert(compiled).values(row)
}

/** Forgets what is older than `before`, and all but the newest `max`; never the newest config of a cluster. */
export async function pruneCompiled(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  { before, max }: { readonly before: number; readonly max: number },
): Promise<void> {
  const last = await loadLastHead(tx, mesh, cluster)
  if (last === undefined) return
  await tx
    .delete(compiled)
    .where(
      and(
        eq(compiled.mesh, mesh),
        eq(compiled.cluster, cluster),
        or(lt(compiled.at, before), lte(compiled.revision, last.revision - max)),
        lt(compiled.revision, last.revision),
      ),
    )
}
