import type { Centre } from '#control/centre.ts'
import { parseSharedDomain } from '#control/first-settings.ts'
import { type ClusterRow, loadClusters } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadForeignDomains } from '#control/store/foreign-domains.ts'
import { loadMesh } from '#control/store/meshes.ts'
import { loadStanding } from '#control/store/revocations.ts'
import { type ClusterName, type MeshName, trustDomainOf } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

/** The trust domain that a cluster is given, and whether others may be given it too. */
export type Domain = Pick<ClusterRow, 'trustDomain' | 'sharedDomain'>

/**
 * The trust domain of a cluster that is announced: the one asked for, else as its mesh began. Throws `invalid` for one that
 * no cluster may share, `conflict` for one of others or one that is revoked.
 */
export async function domainFor(
  { mesh }: Pick<Centre, 'mesh'>,
  tx: Tx,
  {
    name,
    generation,
    asked,
  }: { readonly name: ClusterName; readonly generation: number; readonly asked?: string | undefined },
): Promise<Domain> {
  const own = parseTrustDomain(trustDomainOf(name, mesh, generation))
  const wanted = asked ?? (await loadMesh(tx, mesh))?.sharedDomain ?? own
  if (wanted === own) return { trustDomain: own, sharedDomain: null }
  const trustDomain = parseSharedDomain(wanted, mesh, 'trustDomain')
  const isForeign = (await loadForeignDomains(tx, mesh)).some((one) => one.trustDomain === trustDomain)
  if (isForeign) throw taken(trustDomain, 'is that of another mesh, whose roots were given here')
  const revoked = (await loadStanding(tx, mesh)).find(
    (one) => one.trustDomain === trustDomain && one.kind !== 'workload',
  )
  if (revoked) throw taken(trustDomain, `is revoked, with ${revoked.kind} ${revoked.subject} (${revoked.cut})`)
  return { trustDomain, sharedDomain: true }
}

const taken = (trustDomain: string, reason: string): Problem =>
  new Problem(
    'conflict',
    `the trust domain ${trustDomain} cannot be given to a cluster: it ${reason}; ask for another, or for its own: ` +
      'isthmus cluster create <name> --trust-domain <trust domain>',
    { violations: [{ path: 'trustDomain', reason }] },
  )

/** Names of the other clusters of a trust domain whose identities may still be in use. */
export async function othersOf(tx: Tx, mesh: MeshName, { name, trustDomain }: ClusterRow): Promise<string[]> {
  const found: string[] = []
  for (let after = ''; ; ) {
    const page = await loadClusters(tx, mesh, after, 500)
    for (const row of page)
      if (row.trustDomain === trustDomain && row.name !== name && row.state !== 'left') found.push(row.name)
    const last = page.at(-1)
    if (page.length < 500 || !last) return found
    after = last.name
  }
}

/** Thrown where a trust domain of many was to be shut out because of one. */
export function sharedByOthers(row: ClusterRow, others: readonly string[]): Problem {
  const { name, trustDomain } = row
  const listed = `${others.slice(0, 5).join(', ')}${others.length > 5 ? `, and ${others.length - 5} more` : ''}`
  return new Problem(
    'conflict',
    `cluster "${name}" shares the trust domain ${trustDomain} with ${listed}: nothing tells its certificates from theirs, ` +
      `and all of them would be shut out. Instead: isthmus cluster delete ${name}, which ends its relay and tokens; then ` +
      'isthmus trust rotate-root, after which nothing counts that its issuing CA has signed or will sign',
  )
}
