import { type Calling, type Overloads, withinCapacities } from '#mesh/foresee/capacities.ts'
import type { Configs } from '#mesh/foresee/config-changes.ts'
import type { Demands } from '#mesh/foresee/demand.ts'
import {
  type Caller,
  type Lost,
  nothingLost,
  type Outlook,
  type OutlookFacts,
  outlookOf,
  type Sight,
} from '#mesh/foresee/outlook.ts'
import type { ClusterConfig, ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'

/** Where the calls of one service go, by calling cluster; those that are lost call no more. */
export type ServiceForecast = { readonly callings: ReadonlyMap<ClusterName, Calling> } & Overloads

/** Where all calls of a fleet go. Services are worked out when they are asked for, once. */
export type Forecast = { readonly service: (key: ServiceKey) => ServiceForecast }

/** What is known of a fleet beside its configs. */
export type ForecastFacts = {
  readonly sight: Sight
  readonly demands: Demands
  readonly unheard?: NonNullable<OutlookFacts['unheard']>
}

export function newForecast(configs: Configs, { demands, ...seen }: ForecastFacts, lost: Lost = nothingLost): Forecast {
  const known = new Map<ServiceKey, ServiceForecast>()
  const facts = { ...seen, lost }
  const outlooks = newOutlooks(facts)
  const callers = [...configs.values()].filter(({ cluster }) => !lost.clusters.has(cluster))
  return {
    service: (key) => {
      const forecast = known.get(key) ?? forecastOf(key)
      known.set(key, forecast)
      return forecast
    },
  }

  function forecastOf(key: ServiceKey): ServiceForecast {
    const first = callers.flatMap((caller: ClusterConfig): Calling[] => {
      const imported = caller.imports.get(key)
      return imported ? [{ caller, imported, outlook: outlooks(caller, imported) }] : []
    })
    const { callings, ...overloads } = withinCapacities(first, demands, ({ caller, imported }, caps) =>
      outlookOf(caller, imported, { ...facts, caps }),
    )
    return { callings: new Map(callings.map((one) => [one.caller.cluster, one])), ...overloads }
  }
}

/** Callers that see the same import in the same way have the same outlook, and the same object. */
function newOutlooks(facts: OutlookFacts) {
  const known = new WeakMap<ImportedService, Map<string, Outlook>>()
  return (caller: Caller, imported: ImportedService): Outlook => {
    const bySight = known.get(imported) ?? new Map<string, Outlook>()
    known.set(imported, bySight)
    const isOwn = imported.sources.some(({ cluster }) => cluster === caller.cluster)
    const isNear = imported.sources.some(({ network }) => network === caller.network)
    const seen = `${isOwn ? caller.cluster : ''} ${isNear ? caller.network : ''}`
    const outlook = bySight.get(seen) ?? outlookOf(caller, imported, facts)
    bySight.set(seen, outlook)
    return outlook
  }
}
