import { type AuthorityRow, loadAuthorities, trustedBy } from '#control/store/authorities.ts'
import { loadIstiodCas } from '#control/store/certificates.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadAcross, loadStreams } from '#control/store/streams.ts'
import { loadBundle } from '#control/trust/bundle.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import type { RelayTrust, RotationFacts } from '#mesh/trust/plan-rotation.ts'
import { reportKeys } from '#mesh/wire/report.ts'
import { reportStream } from '#mesh/wire/stream.ts'
import { type TrustReport, trustReportSchema } from '#mesh/wire/trust-report.ts'

/** Who is not heard for this long does not count as knowing anything. */
const silentMsMax = 3 * 60_000

/** A member's word on trust, and when its relay was last heard. */
export type MemberTrust = RelayTrust & { readonly said?: TrustReport }

/** What every member says of trust, by name. What it said is stored as it was checked; what is not understood counts as not said. */
export async function loadRelayTrust(tx: Tx, mesh: MeshName, now: number): Promise<MemberTrust[]> {
  const members = await loadMembers(tx, mesh)
  const reports = new Map((await loadStreams(tx, mesh, ['rep'])).map((row) => [row.source, row]))
  const names = members.map(({ name }) => reportStream(name))
  const said = new Map((await loadAcross(tx, mesh, names, reportKeys.trust)).map((row) => [row.stream, row.body]))
  return members.map(({ name, joinedAt, createdAt }) => {
    const stream = reports.get(name)
    const heardAt = stream && stream.srcEpoch !== '' ? stream.updatedAt : undefined
    const report = parseReport(said.get(reportStream(name)))
    return {
      cluster: name,
      ...silence(now, heardAt, joinedAt ?? createdAt),
      ...(report ? { said: report } : {}),
    }
  })
}

function silence(now: number, heardAt: number | undefined, joinedAt: number): { readonly silent?: string } {
  if (heardAt === undefined) return { silent: `its relay was never heard since ${new Date(joinedAt).toISOString()}` }
  if (now - heardAt <= silentMsMax) return {}
  return { silent: `its relay was last heard at ${new Date(heardAt).toISOString()}` }
}

function parseReport(body: string | undefined): TrustReport | undefined {
  if (body === undefined || body === '') return undefined
  return trustReportSchema.safeParse(JSON.parse(body)).data
}

/** Digests of what members trust of an authority. */
export const digestsOf = (row: Pick<AuthorityRow, 'certificate' | 'trusted'>): string[] =>
  trustedBy(row).map((pem) => sha256Hex(parseCertificate(pem).der))

/** All that the next step of a rotation to `toId` depends on. */
export async function loadRotationFacts(
  tx: Tx,
  mesh: MeshName,
  { toId, now, door }: { readonly toId: string; readonly now: number; readonly door?: string | undefined },
): Promise<RotationFacts> {
  const inForce = await loadBundle(tx, mesh)
  const to = (await loadAuthorities(tx, mesh)).find((row) => row.id === toId)
  const names = new Map((await loadMembers(tx, mesh)).map(({ id, name }) => [id, name]))
  const istiods = (await loadIstiodCas(tx, mesh, now)).flatMap(({ clusterId, authorityId }) => {
    const cluster = names.get(clusterId)
    return authorityId === toId || cluster === undefined ? [] : [cluster]
  })
  return {
    istiods,
    bundle: { seq: inForce?.link.seq ?? 0, digest: inForce?.link.digest ?? '' },
    relays: await loadRelayTrust(tx, mesh, now),
    to: to ? digestsOf(to) : [],
    door,
  }
}
