import type { Catalogue } from '#control/catalogue.ts'
import type { Centre } from '#control/centre.ts'
import type { Tx } from '#control/store/database.ts'
import { type DrainRow, loadOpenDrains } from '#control/store/drains.ts'
import { isClosing, subjectOf } from '#control/traffic/advice.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { demandsOf } from '#mesh/foresee/demand.ts'
import type { ForecastFacts } from '#mesh/foresee/forecast.ts'
import { measuredWindow } from '#mesh/model/load.ts'
import type { Summaries } from '#mesh/model/summary.ts'

/** What plans and rehearsals know beside config: pods and gateways as clusters report them, and all of `forecastFacts`. */
export async function loadForecastFacts(centre: Centre, catalogue: Catalogue): Promise<ForecastFacts> {
  const reports = await catalogue.reports()
  const summaries = {
    services: new Map(reports.map((one) => [one.row.name, one.summaries])),
    gateways: new Map(reports.map(({ row, gateways }) => [row.name, { gateways }])),
  }
  return centre.db.read((tx) => forecastFacts(centre, tx, summaries))
}

/** Beside pods and gateways: drains, and what was measured of late. */
export async function forecastFacts(centre: Centre, tx: Tx, summaries: Summaries): Promise<ForecastFacts> {
  const loads = await knownLoads(centre, tx)
  const drains = (await loadOpenDrains(tx, centre.mesh)).map((row) => ({ row, subject: subjectOf(row) }))
  const windows = [...loads].flatMap(([cluster, { load }]) => {
    const window = measuredWindow(load, centre.now())
    return window ? [[cluster, window] as const] : []
  })
  return {
    sight: {
      ...summaries,
      drained: new Map(
        drains.flatMap(({ row, subject }) => (subject.kind === 'cluster' ? [[subject.cluster, row.percent]] : [])),
      ),
      closed: drains.flatMap(({ row, subject }) => (isShut(row) ? [subject] : [])),
    },
    demands: demandsOf(windows),
  }
}

/** A gateway has others beside it from its first step on; what else is drained is a last resort until its chains go. */
const isShut = (row: DrainRow): boolean => isClosing(row) || (row.kind === 'gateway' && row.percent === 0)
