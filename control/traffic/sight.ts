import type { Catalogue } from '#control/catalogue.ts'
import type { Centre } from '#control/centre.ts'
import { loadOpenDrains } from '#control/store/drains.ts'
import { subjectOf } from '#control/traffic/advice.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { demandsOf } from '#mesh/foresee/demand.ts'
import type { ForecastFacts } from '#mesh/foresee/forecast.ts'
import { addressKey } from '#mesh/model/address.ts'
import { loadFreshMs, measuredWindow } from '#mesh/model/load.ts'

/**
 * What plans and rehearsals know beside config: pods and gateways as clusters report them, drains, what was measured of
 * late, and whom relays take for dead or let back by and by.
 */
export async function loadForecastFacts(centre: Centre, catalogue: Catalogue): Promise<ForecastFacts> {
  const reports = await catalogue.reports()
  const { loads, drains } = await centre.db.read(async (tx) => ({
    loads: await knownLoads(centre, tx),
    drains: (await loadOpenDrains(tx, centre.mesh)).map((row) => ({ ...subjectOf(row), percent: row.percent })),
  }))
  const windows = [...loads].flatMap(([cluster, { load }]) => {
    const window = measuredWindow(load, centre.now())
    return window ? [[cluster, window] as const] : []
  })
  const fresh = [...loads].filter(([, { takenAt }]) => centre.now() - takenAt <= loadFreshMs)
  const shut = new Set(
    drains.flatMap((one) => (one.kind === 'gateway' && one.percent === 0 ? [`${one.cluster} ${one.gateway}`] : [])),
  )
  return {
    sight: {
      services: new Map(reports.map(({ row, summaries }) => [row.name, summaries])),
      gateways: new Map(
        reports.map(({ row, gateways }) => [
          row.name,
          {
            gateways: gateways.map((one) =>
              shut.has(`${row.name} ${addressKey(one)}`) ? { ...one, state: 'down' as const } : one,
            ),
          },
        ]),
      ),
      drained: new Map(drains.flatMap((one) => (one.kind === 'cluster' ? [[one.cluster, one.percent]] : []))),
      judged: new Map(
        fresh.map(([caller, { load }]) => [caller, new Map(load.health.map((one) => [one.cluster, one.percent]))]),
      ),
    },
    demands: demandsOf(windows),
  }
}
