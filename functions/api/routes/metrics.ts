import { loadAuthorities } from '#control/store/authorities.ts'
import { type ClusterRow, loadClusters } from '#control/store/clusters.ts'
import { loadUnacked } from '#control/store/compiled.ts'
import { loadOutbox } from '#control/store/outbox.ts'
import { loadOpenRotations } from '#control/store/rotations.ts'
import { loadStreams } from '#control/store/streams.ts'
import { loadTrustHead } from '#control/store/trust-heads.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { loadBundle } from '#control/trust/bundle.ts'
import { loadRelayTrust } from '#control/trust/facts.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { hearingsOf } from '#functions/api/hearings.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'

const lookMs = 5000
const shownMax = 2000
const dayMs = 24 * 3_600_000

/** `/metrics` for Prometheus, with an operator's key of any role as bearer token. Gauges are read at most every five seconds. */
export function metricsRoutes(api: Api, door: Door): void {
  const { centre, metrics } = door
  let lookedAt = Number.NEGATIVE_INFINITY
  api.get('/metrics', forRole(door, 'viewer'), async (c) => {
    if (performance.now() - lookedAt >= lookMs) {
      await look()
      lookedAt = performance.now()
    }
    return c.body(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType })
  })

  async function look(): Promise<void> {
    const seen = await centre.db.read(async (tx) => ({
      clusters: await loadClusters(tx, centre.mesh, '', 10_000),
      streams: await loadStreams(tx, centre.mesh, ['ep', 'cfg', 'trust', 'adv', 'rep']),
      outbox: await loadOutbox(tx, centre.mesh),
      authorities: await loadAuthorities(tx, centre.mesh),
      rotations: await loadOpenRotations(tx, centre.mesh),
      bundle: await loadBundle(tx, centre.mesh),
      trust: await loadRelayTrust(tx, centre.mesh, centre.now()),
      unacked: await loadUnacked(tx, centre.mesh, centre.now() - dayMs),
      loads: await knownLoads(centre, tx),
      log: await loadTrustHead(tx, centre.mesh, 'issuances'),
    }))
    metrics.clusters.reset()
    for (const [state, rows] of Map.groupBy(seen.clusters, (row) => row.state))
      metrics.clusters.set({ state }, rows.length)
    noteSilence(seen.clusters.filter((row) => row.state === 'joined'))
    metrics.unacknowledged.reset()
    // Where no proxy is connected, or the relay does not tell, nothing is known.
    for (const { cluster, load } of [...seen.loads.values()].slice(0, shownMax))
      if (load.proxies.measured + load.proxies.notMeasured > 0) {
        const since = seen.unacked.get(cluster)
        metrics.unacknowledged.set({ cluster }, since === undefined ? 0 : Math.max(0, centre.now() - since) / 1000)
      }
    metrics.streams.reset()
    for (const [kind, rows] of Map.groupBy(seen.streams, (row) => row.kind)) metrics.streams.set({ kind }, rows.length)
    metrics.outbox.set(seen.outbox.length)
    for (const row of seen.authorities)
      if (row.state === 'active')
        metrics.certificateEnd.set({ kind: row.kind }, parseCertificate(row.certificate).notAfter.getTime() / 1000)
    metrics.authorityEnd.reset()
    for (const { kind, number, state, certificate } of seen.authorities)
      if (state !== 'revoked')
        metrics.authorityEnd.set(
          { kind, number: number ?? 1, state },
          parseCertificate(certificate).notAfter.getTime() / 1000,
        )
    metrics.rotationStep.reset()
    for (const { kind, step } of seen.rotations) metrics.rotationStep.set({ kind, step }, 1)
    const seq = seen.bundle?.link.seq ?? 0
    metrics.bundleSeq.set(seq)
    const holds = seen.trust.filter(
      ({ said }) => said?.seq === seq && said.acked >= said.proxies && said.missingCount === 0,
    )
    metrics.bundleUnacknowledged.set(seen.trust.length - holds.length)
    metrics.issuances.set(seen.log?.seq ?? 0)
    metrics.certificateEnd.set({ kind: 'centre-serving' }, door.servingEnd().getTime() / 1000)
  }

  /** Each member by itself; of more than a chart can show, the first by name. Who left is shown no more. */
  function noteSilence(members: readonly ClusterRow[]): void {
    metrics.silence.reset()
    const hearings = hearingsOf(centre)
    const ids = new Set(members.map((row) => row.id))
    for (const id of hearings.keys()) if (!ids.has(id)) hearings.delete(id)
    for (const { id, name, lastSeenAt, joinedAt, createdAt } of members.slice(0, shownMax)) {
      const heardAt = Math.max(lastSeenAt ?? 0, joinedAt ?? createdAt, hearings.get(id)?.takenAt ?? 0)
      metrics.silence.set({ cluster: name }, Math.max(0, centre.now() - heardAt) / 1000)
    }
  }
}
