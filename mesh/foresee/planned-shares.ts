import type { Calling } from '#mesh/foresee/capacities.ts'
import type { ConfigChange, Configs } from '#mesh/foresee/config-changes.ts'
import { type Demands, demandOf } from '#mesh/foresee/demand.ts'
import type { Forecast } from '#mesh/foresee/forecast.ts'
import type { Outlook } from '#mesh/foresee/outlook.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import { type ClusterName, type ServiceKey, serviceKey } from '#mesh/model/id.ts'

export type Share = { readonly cluster: ClusterName; readonly share: number }

/** Where some callers send their calls of a service, before and after; empty = to nobody who could answer. */
export type PlannedShares = {
  readonly service: ServiceKey
  readonly callers: readonly ClusterName[]
  readonly before: readonly Share[]
  readonly after: readonly Share[]
  /** Of those callers that are measured, together; null where none is. */
  readonly requestsPerSecond: number | null
  /** How many of the callers are not measured. */
  readonly notMeasured: number
}

/** What a change touches, and where calls go before and after it. */
export type Touched = {
  readonly configs: Configs
  readonly changes: readonly ConfigChange[]
  readonly before: Forecast
  readonly after: Forecast
  readonly demands: Demands
}

/** One import that is another than before, as one caller sees it. */
export type TouchedImport = {
  readonly service: ServiceKey
  readonly caller: ClusterConfig
  readonly before?: Calling
  readonly after?: Calling
}

export function touchedImports({ configs, changes, before, after }: Touched): TouchedImport[] {
  return changes.flatMap(({ cluster, changes: entries }) => {
    const caller = configs.get(cluster)
    if (!caller) return []
    return entries.flatMap(({ key }): TouchedImport[] => {
      const service = importIn(key)
      if (service === undefined) return []
      const [was, is] = [before, after].map((forecast) => forecast.service(service).callings.get(cluster))
      return [{ service, caller, ...(was ? { before: was } : {}), ...(is ? { after: is } : {}) }]
    })
  })
}

const importPrefix = 'import/'
function importIn(key: string): ServiceKey | undefined {
  if (!key.startsWith(importPrefix)) return undefined
  const [namespace = '', name = ''] = key.slice(importPrefix.length).split('/')
  return serviceKey(namespace, name)
}

/** The shares that would be others than before; callers with the same shares together. */
export function plannedShares(touched: Touched): PlannedShares[] {
  const { demands } = touched
  const moved = touchedImports(touched).flatMap(({ service, caller, before, after }) => {
    const [was, is] = [sharesOf(before?.outlook), sharesOf(after?.outlook)]
    const text = JSON.stringify([was, is])
    return JSON.stringify(was) === JSON.stringify(is) ? [] : [{ service, cluster: caller.cluster, was, is, text }]
  })
  return [...Map.groupBy(moved, ({ service, text }) => `${service} ${text}`).values()]
    .flatMap((same): PlannedShares[] => {
      const [first] = same
      if (!first) return []
      const callers = same.map(({ cluster }) => cluster).toSorted()
      const measured = callers.flatMap((caller) => demandOf(demands, caller, first.service) ?? [])
      return [
        {
          ...{ service: first.service, callers, before: first.was, after: first.is },
          requestsPerSecond:
            measured.length === 0 ? null : measured.reduce((sum, one) => sum + one.requestsPerSecond, 0),
          notMeasured: callers.length - measured.length,
        },
      ]
    })
    .toSorted((a, b) =>
      a.service === b.service ? (`${a.callers}` < `${b.callers}` ? -1 : 1) : a.service < b.service ? -1 : 1,
    )
}

/** Rounded to a tenth of a percent of a percent: what differs by less does not differ. */
export const sharesOf = (outlook: Outlook | undefined): Share[] =>
  [...(outlook?.shares ?? [])].flatMap(([cluster, share]) => {
    const rounded = Math.round(share * 10_000) / 10_000
    return rounded === 0 ? [] : [{ cluster, share: rounded }]
  })
