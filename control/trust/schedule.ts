import { centreCaller } from '#control/caller.ts'
import type { Centre } from '#control/centre.ts'
import { type AuthorityRow, loadAuthorities } from '#control/store/authorities.ts'
import { loadOpenRotations } from '#control/store/rotations.ts'
import { startRotation } from '#control/trust/rotate.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'

/** Well before the first alert: a rotation may have to wait for somebody. */
const leftMin = 0.3

/** Why an authority is to be rotated now, by itself; undefined while there is time. */
export function dueReason(
  row: Pick<AuthorityRow, 'kind' | 'certificate' | 'stateAt' | 'createdAt'>,
  now: number,
  rootAfterMs: number | undefined,
): string | undefined {
  const { notBefore, notAfter } = parseCertificate(row.certificate)
  const life = notAfter.getTime() - notBefore.getTime()
  if (notAfter.getTime() - now < leftMin * life) return `scheduled: it ends at ${notAfter.toISOString()}`
  const since = row.stateAt ?? row.createdAt
  if (row.kind !== 'root' || rootAfterMs === undefined || now - since < rootAfterMs) return undefined
  return `scheduled: it is in use since ${new Date(since).toISOString()}`
}

/**
 * Begins the rotations that are due: of what nears its end, and of the root once it is older than the setting says. The key
 * of the next is a sealed file of the same curve. One whose key is with KMS is left to people, who name the next key: an
 * alert tells them. Gives how many were begun.
 */
export async function startDueRotations(centre: Centre, rootAfterMs: number | undefined): Promise<number> {
  const { rows, open } = await centre.db.read(async (tx) => ({
    rows: await loadAuthorities(tx, centre.mesh),
    open: await loadOpenRotations(tx, centre.mesh),
  }))
  let begun = 0
  for (const row of rows) {
    if (row.state !== 'active' || !row.keyRef.startsWith('file:') || row.trusted !== null) continue
    if (open.some(({ kind }) => kind === row.kind)) continue
    const reason = dueReason(row, centre.now(), rootAfterMs)
    if (reason === undefined) continue
    const curve = parseCertificate(row.certificate).publicKey.kind === 'P-384' ? 'P-384' : 'P-256'
    await startRotation(centre, centreCaller, { kind: row.kind, wish: { where: 'file', curve }, reason })
    centre.log.info({ kind: row.kind, reason }, 'a rotation was begun')
    begun++
  }
  return begun
}
