import { and, count, desc, eq, gt, inArray, lt, ne } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type CertificateRow, certificates } from '#control/store/schema/certificate.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { CertificateRow }

export async function insertCertificate(tx: Tx, row: CertificateRow): Promise<void> {
  kept(tx, certificates, await tx.insert(certificates).values(row).returning())
}

/** The issuing CA that a cluster was given last. */
export async function loadLastIssuing(tx: Tx, mesh: MeshName, clusterId: string): Promise<CertificateRow | undefined> {
  const isTheirs = and(eq(certificates.mesh, mesh), eq(certificates.clusterId, clusterId))
  const [row] = await tx
    .select()
    .from(certificates)
    .where(and(isTheirs, eq(certificates.kind, 'issuing')))
    .orderBy(desc(certificates.issuedAt), desc(certificates.notAfter))
    .limit(1)
  return row
}

/** CAs of istiods that have not ended: the last of each cluster. */
export async function loadIstiodCas(tx: Tx, mesh: MeshName, now: number): Promise<CertificateRow[]> {
  const rows = await tx
    .select()
    .from(certificates)
    .where(and(eq(certificates.mesh, mesh), eq(certificates.kind, 'istiod-ca'), gt(certificates.notAfter, now)))
    .orderBy(desc(certificates.issuedAt))
  return rows.filter((row, i) => rows.findIndex(({ clusterId }) => clusterId === row.clusterId) === i)
}

/** Every CA of a cluster that was given for a key, to whomever. */
export const loadIssuingOf = (tx: Tx, mesh: MeshName, spkiSha256: string): Promise<CertificateRow[]> =>
  tx
    .select()
    .from(certificates)
    .where(
      and(
        eq(certificates.mesh, mesh),
        eq(certificates.spkiSha256, spkiSha256),
        inArray(certificates.kind, ['issuing', 'istiod-ca']),
      ),
    )

/** How many certificates that have not ended stand under each authority, by its id. */
export async function countIssuedUnder(tx: Tx, mesh: MeshName, now: number): Promise<ReadonlyMap<string, number>> {
  const rows = await tx
    .select({ authorityId: certificates.authorityId, n: count() })
    .from(certificates)
    .where(and(eq(certificates.mesh, mesh), gt(certificates.notAfter, now)))
    .groupBy(certificates.authorityId)
  return new Map(rows.map(({ authorityId, n }) => [authorityId, n]))
}

/** How many certificates a cluster was given since `since`. */
export async function countIssued(tx: Tx, mesh: MeshName, clusterId: string, since: number): Promise<number> {
  const [row] = await tx
    .select({ n: count() })
    .from(certificates)
    .where(and(eq(certificates.mesh, mesh), eq(certificates.clusterId, clusterId), gt(certificates.issuedAt, since)))
  return row?.n ?? 0
}

/** Forgets certificates that ended before `before`, at most `limit` of them; gives back how many. */
export async function pruneCertificates(tx: Tx, mesh: MeshName, before: number, limit: number): Promise<number> {
  const ended = tx
    .select({ serial: certificates.serial })
    .from(certificates)
    .where(and(eq(certificates.mesh, mesh), lt(certificates.notAfter, before)))
    .limit(limit)
  const rows = await tx
    .delete(certificates)
    .where(and(eq(certificates.mesh, mesh), inArray(certificates.serial, ended)))
    .returning()
  dropped(tx, certificates, rows)
  return rows.length
}

/**
 * Forgets the certificates of one cluster that were issued first where it has more than `max`, at most `limit` of them;
 * gives back how many. A relay that restarts over and over gets a new one each time. A CA of an istiod stays until it ends:
 * only an administrator asks for one, and a rotation of the root waits for it.
 */
export async function boundCertificates(
  tx: Tx,
  mesh: MeshName,
  clusterId: string,
  { max, limit }: { readonly max: number; readonly limit: number },
): Promise<number> {
  const isOfCluster = and(eq(certificates.mesh, mesh), eq(certificates.clusterId, clusterId))
  const theirs = and(isOfCluster, ne(certificates.kind, 'istiod-ca'))
  const [row] = await tx.select({ n: count() }).from(certificates).where(theirs)
  const many = Math.min(limit, (row?.n ?? 0) - max)
  if (many <= 0) return 0
  const first = await tx
    .select({ serial: certificates.serial })
    .from(certificates)
    .where(theirs)
    .orderBy(certificates.issuedAt, certificates.serial)
    .limit(many)
  const serials = first.map(({ serial }) => serial)
  const rows = await tx
    .delete(certificates)
    .where(and(theirs, inArray(certificates.serial, serials)))
    .returning()
  dropped(tx, certificates, rows)
  return rows.length
}
