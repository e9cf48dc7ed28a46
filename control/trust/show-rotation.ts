import type { Centre } from '#control/centre.ts'
import { unknownCluster } from '#control/member-cluster.ts'
import { type AuthorityRow, loadAuthorities } from '#control/store/authorities.ts'
import { loadCluster, loadClusterByName, loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { isOpen, type RotationRow } from '#control/store/rotations.ts'
import { loadRotationFacts } from '#control/trust/facts.ts'
import { type Forced, forcedOf, type Here } from '#control/trust/rotate.ts'
import { issuingMissing } from '#control/trust/rotate-issuing.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { type Missing, missingFor, rotationSteps } from '#mesh/trust/plan-rotation.ts'

type Party = { readonly id: string; readonly number: number | null; readonly sha256: string | null }

/** A rotation as people are shown it, with what it waits for at this moment. */
export type ShownRotation = Pick<RotationRow, 'id' | 'kind' | 'step' | 'startedAt' | 'stepAt' | 'by' | 'reason'> & {
  readonly cluster?: string
  readonly state: 'running' | 'done' | 'aborted'
  readonly from: Party | null
  readonly to: Party | null
  readonly waitsFor: readonly Missing[]
  /** Clusters that the step waits for no more, of all. */
  readonly progress: { readonly done: number; readonly of: number }
  readonly forced: readonly Forced[]
  readonly steps?: readonly { readonly step: string; readonly waitsFor: readonly Missing[] }[]
}

export function showRotation(centre: Centre, row: RotationRow, here: Here): Promise<ShownRotation> {
  return centre.db.read(async (tx) => {
    const { id, kind, step, startedAt, stepAt, by, reason } = row
    const authorities = await loadAuthorities(tx, centre.mesh)
    const running = isOpen(row)
    const waitsFor = running ? await waits(centre, tx, row, here) : []
    const of = kind === 'issuing' ? 1 : (await loadMembers(tx, centre.mesh)).length
    const late = new Set(waitsFor.map(({ cluster }) => cluster).filter((name) => name !== 'centre'))
    const cluster = kind === 'issuing' ? await loadCluster(tx, centre.mesh, row.toId) : undefined
    return {
      ...{ id, kind, step, startedAt, stepAt, by, reason, waitsFor },
      ...(cluster ? { cluster: cluster.name } : {}),
      state: running ? 'running' : step === 'aborted' ? 'aborted' : 'done',
      from: partyOf(authorities, row.fromId),
      to: kind === 'issuing' ? null : partyOf(authorities, row.toId),
      progress: { done: of - late.size, of },
      forced: forcedOf(row),
    }
  })
}

async function waits(centre: Centre, tx: Tx, row: RotationRow, { door }: Here): Promise<readonly Missing[]> {
  const { kind, step, toId } = row
  if (kind === 'issuing') return issuingMissing(centre, tx, row)
  if (step === 'aborted') return []
  return missingFor(kind, step, await loadRotationFacts(tx, centre.mesh, { toId, now: centre.now(), door }))
}

function partyOf(authorities: readonly AuthorityRow[], id: string): Party | null {
  const row = authorities.find((one) => one.id === id)
  return row ? { id, number: row.number ?? 1, sha256: sha256Hex(parseCertificate(row.certificate).der) } : null
}

/**
 * How a rotation would go if it began now: each step with what it would wait for as the relays are at this moment, apart
 * from what only its own beginning brings about. Changes nothing. Throws `not-found` for an unknown cluster.
 */
export async function rehearseRotation(
  centre: Centre,
  asked: { readonly kind: RotationRow['kind']; readonly cluster?: string },
): Promise<ShownRotation> {
  const now = centre.now()
  return centre.db.read(async (tx) => {
    const { kind, cluster } = asked
    if (cluster !== undefined && !(await loadClusterByName(tx, centre.mesh, cluster))) throw unknownCluster(cluster)
    const authorities = await loadAuthorities(tx, centre.mesh)
    const from = authorities.find((row) => row.kind === kind && row.state === 'active')
    const facts = await loadRotationFacts(tx, centre.mesh, { toId: from?.id ?? '', now })
    const names = kind === 'issuing' ? (['active'] as const) : rotationSteps
    const ours = {
      ...facts,
      relays: facts.relays.filter((relay) => cluster === undefined || relay.cluster === cluster),
    }
    const steps = names.map((step) => ({ step, waitsFor: missingFor(kind === 'issuing' ? 'root' : kind, step, ours) }))
    return {
      ...{ id: '', kind, ...(cluster === undefined ? {} : { cluster }), step: 'prepared', state: 'running', by: '' },
      ...{ startedAt: now, stepAt: now, reason: '', forced: [], to: null, waitsFor: [] },
      from: from ? partyOf(authorities, from.id) : null,
      progress: { done: 0, of: ours.relays.length },
      steps,
    }
  })
}
