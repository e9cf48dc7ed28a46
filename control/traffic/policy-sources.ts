import type { Tx } from '#control/store/database.ts'
import { loadMark } from '#control/store/mesh-marks.ts'
import { type ClusterName, type MeshName, parseClusterName } from '#mesh/model/id.ts'

/** Clusters whose policies and groups count for the whole mesh, in order. */
export async function loadPolicySources(tx: Tx, mesh: MeshName): Promise<readonly ClusterName[]> {
  const text = (await loadMark(tx, mesh, 'policy-sources'))?.value ?? ''
  return text === '' ? [] : (JSON.parse(text) as string[]).map(parseClusterName)
}
