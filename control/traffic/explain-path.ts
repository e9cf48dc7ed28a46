import type { Centre } from '#control/centre.ts'
import type { ReportMemo } from '#control/load-fleet.ts'
import { loadClusterByName } from '#control/store/clusters.ts'
import { centreSeen } from '#control/traffic/centre-view.ts'
import { explain } from '#mesh/foresee/explain.ts'
import { hostKey } from '#mesh/foresee/meant-name.ts'
import type { AskedCall } from '#mesh/foresee/path.ts'
import type { Explanation } from '#mesh/model/explanation.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Explains calls as the centre sees them. Reports that have not moved since the last call are not read again. */
export type Explainer = (asked: AskedCall) => Promise<Explanation>

/** Throws `not-found` where the caller's cluster is no member. */
export function openExplainer(centre: Centre): Explainer {
  const memo: ReportMemo = new Map()
  return (asked) =>
    centre.db.read(async (tx) => {
      const { cluster, namespace } = asked.caller
      const row = await loadClusterByName(tx, centre.mesh, cluster)
      if (row?.state !== 'joined')
        throw new Problem('not-found', `"${cluster}" is no member of mesh "${centre.mesh}"; see: isthmus clusters`)
      return explain(await centreSeen(centre, tx, { row, key: hostKey(asked.host, namespace), memo }), asked)
    })
}
