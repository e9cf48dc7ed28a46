import type { CheckedItem } from '#control/report-item.ts'
import { type ClusterRow, loadOnNetwork } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { lockStream } from '#control/store/stream-writes.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import { clusterFactsSchema, reportKeys } from '#mesh/wire/report.ts'
import { trustStream } from '#mesh/wire/stream.ts'

/**
 * Why a cluster's own word does not put it on a network; undefined where it does. Whoever is on a network is told the pod
 * addresses of all others there, and its word on pod addresses is dialled by them: so a relay may name a network of its
 * own, and one that others are on only where the operator has named it for the cluster, or it is there already.
 */
export async function networkFault(
  tx: Tx,
  cluster: ClusterRow,
  network: string,
  now: number,
): Promise<string | undefined> {
  if (cluster.network === network) return undefined
  const mesh = parseMeshName(cluster.mesh)
  // One at a time: of two that name the same network at once, the second finds the first.
  await lockStream(tx, { mesh, stream: trustStream(mesh) }, now)
  const others = (await loadOnNetwork(tx, mesh, network)).filter(({ name }) => name !== cluster.name)
  if (others.length === 0) return undefined
  const { name } = cluster
  return (
    `network "${network}" is that of ${someOf(others.map((one) => one.name))}, and only the operator puts two clusters ` +
    `on one network: give ${name} a network of its own in its relay's settings, or announce it there ` +
    `(isthmus cluster create ${name} --network ${network}; where it has joined: isthmus cluster delete ${name} first)`
  )
}

/** The items of a report; what the cluster says of itself is refused where it names a network that is not for it to join. */
export async function refuseHeldNetwork(
  tx: Tx,
  cluster: ClusterRow,
  checked: readonly CheckedItem[],
  now: number,
): Promise<readonly CheckedItem[]> {
  const said = checked.findLast(({ write }) => write.key === reportKeys.cluster && write.body !== '')
  if (!said) return checked
  const { network } = clusterFactsSchema.parse(JSON.parse(said.write.body))
  const reason = await networkFault(tx, cluster, network, now)
  if (reason === undefined) return checked
  return checked.map((one) => (one === said ? { ...one, write: { ...one.write, body: '' }, reason } : one))
}
