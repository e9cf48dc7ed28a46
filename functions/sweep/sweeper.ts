import type { Centre } from '#control/centre.ts'
import { boundAudit, loadLoudClusters, pruneAudit } from '#control/store/audit.ts'
import { boundCertificates, pruneCertificates } from '#control/store/certificates.ts'
import { loadClusters } from '#control/store/clusters.ts'
import { pruneCompiled } from '#control/store/compiled.ts'
import { pruneDrains } from '#control/store/drains.ts'
import { pruneJoinTokens } from '#control/store/join-tokens.ts'
import { historyKeptMs, prunePolicyHistory } from '#control/store/policy-history.ts'
import { pruneShifts } from '#control/store/shift-events.ts'
import { batch, inBatches, sweep } from '#control/store/sweep.ts'
import { pruneIssuances } from '#control/trust/issuances.ts'

/** Sweeps now and then; `stop` waits for a sweep under way. */
export type Sweeper = { stop(): Promise<void> }

const dayMs = 24 * 60 * 60_000
/**
 * How long things are kept: compiled configs (the newest of each cluster always) and states of policies, join tokens once
 * spent or expired, the audit log, drains that were undone, and the facts of a certificate after its end.
 */
export const keptMs = {
  compiled: historyKeptMs,
  joinTokens: 7 * dayMs,
  audit: 90 * dayMs,
  certificatesEnded: 30 * dayMs,
  drainsUndone: 90 * dayMs,
  /** Longer than a relay goes on telling what it was told is taken. */
  shifts: 7 * dayMs,
  /** Longer than anything lives that a relay was given. */
  issuances: 400 * dayMs,
} as const
/**
 * How many are kept at most, however young: a relay that restarts over and over writes sixty events an hour, and an
 * export that comes and goes a config each time.
 */
export const keptMax = {
  compiled: 1000,
  audit: { inAll: 100_000, perCluster: 5000 },
  certificates: 1000,
  issuances: 200_000,
} as const
export type KeptMax = {
  readonly compiled: number
  readonly audit: { readonly inAll: number; readonly perCluster: number }
  readonly certificates: number
}
const periodMs = 60 * 60_000
const firstMs = 60_000

/** One sweep: tombstones, one-time things past their end, and history past its age or its bound. Safe to run twice. */
export async function sweepCentre(centre: Centre, max: KeptMax = keptMax): Promise<void> {
  const now = centre.now()
  await sweep(centre.db, now)
  await centre.db.transact((tx) => pruneJoinTokens(tx, now - keptMs.joinTokens))
  await inBatches(() => centre.db.transact((tx) => pruneAudit(tx, centre.mesh, now - keptMs.audit, batch)))
  await inBatches(() =>
    centre.db.transact((tx) => pruneCertificates(tx, centre.mesh, now - keptMs.certificatesEnded, batch)),
  )
  await inBatches(() => centre.db.transact((tx) => prunePolicyHistory(tx, centre.mesh, now - keptMs.compiled, batch)))
  await inBatches(() => centre.db.transact((tx) => pruneDrains(tx, centre.mesh, now - keptMs.drainsUndone, batch)))
  await centre.db.transact((tx) => pruneShifts(tx, centre.mesh, now - keptMs.shifts))
  const log = { now, before: now - keptMs.issuances, max: keptMax.issuances, limit: batch }
  await inBatches(() => centre.db.transact((tx) => pruneIssuances(tx, centre.mesh, log)))
  for (let after = ''; ; ) {
    const page = await centre.db.read((tx) => loadClusters(tx, centre.mesh, after, 100))
    for (const { name, id } of page) {
      const compiled = { before: now - keptMs.compiled, max: max.compiled }
      await centre.db.transact((tx) => pruneCompiled(tx, centre.mesh, name, compiled))
      const certificates = { max: max.certificates, limit: batch }
      await inBatches(() => centre.db.transact((tx) => boundCertificates(tx, centre.mesh, id, certificates)))
    }
    const last = page.at(-1)
    if (!last) break
    after = last.name
  }
  for (const caller of await centre.db.read((tx) => loadLoudClusters(tx, centre.mesh, max.audit.perCluster)))
    await boundEvents({ caller, max: max.audit.perCluster })
  await boundEvents({ max: max.audit.inAll })

  function boundEvents(of: { readonly caller?: string; readonly max: number }): Promise<number> {
    return inBatches(() => centre.db.transact((tx) => boundAudit(tx, centre.mesh, { ...of, limit: batch })))
  }
}

/** Sweeps a minute after the start and every hour then. A failed sweep is logged, and the next does its work. */
export function openSweeper(centre: Centre): Sweeper {
  let running = Promise.resolve()
  const run = () => {
    running = running
      .then(() => sweepCentre(centre))
      .catch((err: unknown) => centre.log.warn({ err }, 'sweeping failed; the next sweep does it'))
  }
  const first = setTimeout(run, firstMs)
  const timer = setInterval(run, periodMs)
  first.unref()
  timer.unref()
  return {
    stop: async () => {
      clearTimeout(first)
      clearInterval(timer)
      await running
    },
  }
}
