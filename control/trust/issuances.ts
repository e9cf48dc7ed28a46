import type { AuthorityRow } from '#control/store/authorities.ts'
import type { Database, Tx } from '#control/store/database.ts'
import { dropIssuances, type IssuanceRow, insertIssuance, loadIssuances } from '#control/store/issuances.ts'
import { loadTrustHead, lockTrustHead, moveTrustHead } from '#control/store/trust-heads.ts'
import { canonicalJson, type Json, sha256Hex } from '#mesh/model/canonical.ts'
import type { MeshName } from '#mesh/model/id.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'

/** One certificate as the log tells it. `authority` is the id of who signed, itself for one that signed itself. */
export type Issued = {
  readonly at: number
  readonly kind: 'root' | 'control-plane' | 'issuing' | 'relay-serving' | 'centre-serving' | 'istiod-ca'
  /** `operator:<id>`, `cluster:<name>` or `centre`. */
  readonly requester: string
  readonly cluster: string
  readonly trustDomain: string
  readonly authority: string
  readonly certificate: Certificate
}

/** What stands in place of rows that were pruned: the next row that is left follows the hash given here. */
type Checkpoint = { readonly kind: 'checkpoint'; readonly upTo: number; readonly hash: string }

const bodyOf = ({ certificate, at: _, ...said }: Issued) => ({
  ...said,
  serial: Buffer.from(certificate.serial).toString('hex'),
  keySha256: sha256Hex(certificate.publicKey.spki),
  notBefore: certificate.notBefore.getTime(),
  notAfter: certificate.notAfter.getTime(),
})

export const issuanceHash = (prev: string, body: string): string => sha256Hex(`${prev}\n${body}`)

/**
 * Notes a certificate in the log of everything that was signed, in the transaction before it is answered. Each entry
 * holds the hash of the one before it, so none can be changed or taken out without its being seen.
 */
export const appendIssuance = (tx: Tx, mesh: MeshName, issued: Issued): Promise<IssuanceRow> =>
  appendBody(tx, mesh, { at: issued.at, body: bodyOf(issued) })

async function appendBody(
  tx: Tx,
  mesh: MeshName,
  { at, body }: { readonly at: number; readonly body: Json },
): Promise<IssuanceRow> {
  const head = await lockTrustHead(tx, mesh, 'issuances')
  const text = canonicalJson(body)
  const hash = issuanceHash(head.hash, text)
  const row: IssuanceRow = { mesh, seq: head.seq + 1, at, prev: head.hash, hash, body: text }
  await insertIssuance(tx, row)
  await moveTrustHead(tx, { ...head, seq: row.seq, hash })
  return row
}

/** An authority that the centre has made, as the log tells it. */
export const authorityIssued = (made: {
  readonly row: AuthorityRow
  readonly certificate: Certificate
  readonly by: string
  readonly at: number
}): Issued => ({
  ...{ at: made.at, kind: made.row.kind, requester: made.by, cluster: '', trustDomain: '' },
  ...{ authority: made.row.id, certificate: made.certificate },
})

export type LogCheck = {
  readonly checked: number
  readonly head: { readonly seq: number; readonly hash: string }
  /** The first entry that is not what was written there, or that is missing. */
  readonly brokenAt?: number
}

const pageRows = 500

/**
 * Reads the whole log and computes each hash anew: whole, or the number of the first entry that was changed, dropped or
 * put elsewhere. Entries that were pruned are vouched for by a later checkpoint.
 */
export async function verifyIssuances(db: Database, mesh: MeshName): Promise<LogCheck> {
  let checked = 0
  let last: Pick<IssuanceRow, 'seq' | 'hash'> | undefined
  let first: IssuanceRow | undefined
  const points: Checkpoint[] = []
  for (;;) {
    const page = await db.read((tx) => loadIssuances(tx, mesh, last?.seq ?? 0, pageRows))
    for (const row of page) {
      first ??= row
      const follows = last === undefined || (row.seq === last.seq + 1 && row.prev === last.hash)
      if (!follows || row.hash !== issuanceHash(row.prev, row.body))
        return { checked, head: headOf(last), brokenAt: last === undefined ? row.seq : last.seq + 1 }
      const point = checkpointOf(row.body)
      if (point) points.push(point)
      last = row
      checked++
    }
    if (page.length < pageRows) break
  }
  const head = await db.read((tx) => loadTrustHead(tx, mesh, 'issuances'))
  // What was written while this was read only adds: the head may be ahead of the last row seen, and never behind it.
  const end = last?.seq ?? 0
  const isWhole = (head?.seq ?? 0) === end ? (head?.hash ?? '') === (last?.hash ?? '') : await reaches(db, mesh, end)
  if (!isWhole) return { checked, head: headOf(last), brokenAt: end + 1 }
  const begins = first === undefined || first.prev === '' || points.some((p) => isBefore(p, first))
  return { checked, head: headOf(last), ...(begins ? {} : { brokenAt: first?.seq ?? 0 }) }
}

const isBefore = (point: Checkpoint, first: IssuanceRow | undefined): boolean =>
  point.upTo + 1 === first?.seq && point.hash === first.prev

const headOf = (row: Pick<IssuanceRow, 'seq' | 'hash'> | undefined): LogCheck['head'] => ({
  seq: row?.seq ?? 0,
  hash: row?.hash ?? '',
})

/** True where the entry after `end` is there: it came in meanwhile. */
const reaches = async (db: Database, mesh: MeshName, end: number): Promise<boolean> =>
  (await db.read((tx) => loadIssuances(tx, mesh, end, 1)))[0]?.seq === end + 1

function checkpointOf(body: string): Checkpoint | undefined {
  const said = JSON.parse(body) as { readonly kind: string }
  return said.kind === 'checkpoint' ? (said as Checkpoint) : undefined
}

/**
 * Forgets entries from before `before`, and the oldest past `max`, at most `limit` of them: a checkpoint is written first
 * that vouches for where the rest begins. Gives back how many went.
 */
export async function pruneIssuances(
  tx: Tx,
  mesh: MeshName,
  {
    now,
    before,
    max,
    limit,
  }: { readonly now: number; readonly before: number; readonly max: number; readonly limit: number },
): Promise<number> {
  const head = await lockTrustHead(tx, mesh, 'issuances')
  const oldest = await loadIssuances(tx, mesh, 0, limit)
  const first = oldest[0]
  if (!first) return 0
  // The last entry stays: the head speaks of it.
  const past = oldest.filter(({ seq, at }) => seq < head.seq && (at < before || head.seq - seq >= max))
  const last = past.filter((row, n) => row.seq === first.seq + n).at(-1)
  if (!last) return 0
  await appendBody(tx, mesh, { at: now, body: { kind: 'checkpoint', upTo: last.seq, hash: last.hash } })
  return dropIssuances(tx, mesh, last.seq)
}
