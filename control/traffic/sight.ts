import type { Catalogue } from '#control/catalogue.ts'
import type { Centre } from '#control/centre.ts'
import { loadLoads } from '#control/store/loads.ts'
import { type Demands, demandsOf } from '#mesh/foresee/demand.ts'
import type { Sight } from '#mesh/foresee/outlook.ts'

/** Beyond it a report says nothing of now: its cluster counts as not measured. */
const loadAgeMsMax = 120_000

/** What plans and rehearsals know beside config: pods and gateways as clusters report them, and what was measured of late. */
export async function loadSight(
  centre: Centre,
  catalogue: Catalogue,
): Promise<{ readonly sight: Sight; readonly demands: Demands }> {
  const reports = await catalogue.reports()
  const loads = await centre.db.read((tx) => loadLoads(tx, centre.mesh))
  const fresh = loads.filter(({ takenAt }) => centre.now() - takenAt <= loadAgeMsMax)
  return {
    sight: {
      services: new Map(reports.map(({ row, summaries }) => [row.name, summaries])),
      gateways: new Map(reports.map(({ row, gateways }) => [row.name, { gateways }])),
    },
    demands: demandsOf(fresh.map(({ cluster, load }) => [cluster, load])),
  }
}
