import { parseReport } from '#control/parse-report.ts'
import type { CheckedItem } from '#control/report-item.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import type { ClusterRow } from '#control/store/schema/cluster.ts'
import { loadAcross } from '#control/store/streams.ts'
import { addressKey } from '#mesh/model/address.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { reportKeys } from '#mesh/wire/report.ts'
import { reportStream } from '#mesh/wire/stream.ts'

/**
 * The items of a report, the gateways refused where another member reported one of their addresses first. A proxy knows
 * an endpoint by its address alone: of two clusters at one address only one can be proved, and calls of the other fail.
 */
export async function refuseHeldGateways(
  tx: Tx,
  cluster: ClusterRow,
  checked: readonly CheckedItem[],
): Promise<readonly CheckedItem[]> {
  const said = checked.find(({ write }) => write.key === reportKeys.gateways && write.body !== '')
  if (!said) return checked
  const others = (await loadMembers(tx, parseMeshName(cluster.mesh))).filter(({ name }) => name !== cluster.name)
  const streams = new Map(others.map(({ name }) => [reportStream(name), name]))
  const own = new Set(addressesIn(said.write.body))
  for (const row of await loadAcross(tx, cluster.mesh, [...streams.keys()], reportKeys.gateways)) {
    const twice = addressesIn(row.body).find((address) => own.has(address))
    if (twice === undefined) continue
    const reason = `${twice} is a gateway of cluster ${streams.get(row.stream)} already: give each cluster its own address`
    return checked.map((one) => (one === said ? { ...one, write: { ...one.write, body: '' }, reason } : one))
  }
  return checked
}

/** None in an item that this version cannot read: one cluster's must not end the reports of all others. */
const addressesIn = (body: string): string[] =>
  parseReport([{ key: reportKeys.gateways, body }]).gateways.map(addressKey)
