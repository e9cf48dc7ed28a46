import { parseReport } from '#control/parse-report.ts'
import type { ClusterRow } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadLive } from '#control/store/streams.ts'
import { partsOf } from '#mesh/model/id.ts'
import { reportStream } from '#mesh/wire/stream.ts'

/** Of other clusters: as whom of them the issuing CA of one could make itself believed. */
export type Claims = { readonly identities: number; readonly clusters: number }

/**
 * What every cluster of a shared trust domain could claim, by name: the identities behind what the others of its domain
 * export, which are those that the centre knows of, each counted once.
 */
export async function loadClaims(tx: Tx, members: readonly ClusterRow[]): Promise<ReadonlyMap<string, Claims>> {
  const sharing = members.filter((row) => row.sharedDomain === true)
  const accounts = new Map<string, readonly string[]>()
  for (const row of sharing) accounts.set(row.name, await accountsOf(tx, row))
  return new Map(
    sharing.map(({ name, trustDomain }) => {
      const others = sharing.filter((row) => row.trustDomain === trustDomain && row.name !== name)
      const identities = new Set(others.flatMap((row) => accounts.get(row.name) ?? []))
      return [name, { identities: identities.size, clusters: others.length }]
    }),
  )
}

/** `<namespace>/<service account>` of what a cluster exports. */
async function accountsOf(tx: Tx, { mesh, name }: ClusterRow): Promise<string[]> {
  const { exports } = parseReport(await loadLive(tx, { mesh, stream: reportStream(name) }))
  return [...exports].flatMap(([key, { serviceAccounts }]) =>
    serviceAccounts.map((account) => `${partsOf(key).namespace}/${account}`),
  )
}
