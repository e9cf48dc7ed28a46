import type { Overload } from '#mesh/foresee/capacities.ts'
import type { Caller } from '#mesh/foresee/outlook.ts'
import { type Touched, type TouchedImport, touchedImports } from '#mesh/foresee/planned-shares.ts'
import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'

export type WarningKind = 'capacity' | 'region' | 'lastTier' | 'noFailover' | 'nobody' | 'notMeasured'

/** What the author of a change should know of what it would do. `callers`: clusters whose workloads it is about. */
export type PlanWarning = {
  readonly kind: WarningKind
  readonly service: ServiceKey
  readonly callers: readonly ClusterName[]
  readonly message: string
}

/** What may be wrong with what a change does, by service; the same for many callers is said once. */
export function warningsOf(touched: Touched): PlanWarning[] {
  const imports = touchedImports(touched)
  const single = imports.flatMap((one) => [...callerWarnings(one), ...regionWarning(one)])
  const together = [...Map.groupBy(single, (one) => `${one.service} ${one.kind} ${one.message}`).values()].flatMap(
    (same): PlanWarning[] => {
      const [first] = same
      return first ? [{ ...first, callers: same.flatMap(({ callers }) => callers).toSorted() }] : []
    },
  )
  const services = [...new Set(imports.map(({ service }) => service))].toSorted()
  const all = [...together, ...services.flatMap((service) => capacityWarnings(service, touched))]
  return all.toSorted((a, b) => (a.service === b.service ? (a.kind < b.kind ? -1 : 1) : a.service < b.service ? -1 : 1))
}

function callerWarnings({ service, caller, before, after }: TouchedImport): PlanWarning[] {
  const say = (kind: WarningKind, message: string): PlanWarning[] => [
    { kind, service, callers: [caller.cluster], message },
  ]
  if (!after) return say('lastTier', 'could not be called from there any more: nobody would offer it')
  if (before && after.outlook.cutPorts.length > before.outlook.cutPorts.length)
    return say('nobody', 'would be sent to clusters that have no ready pod of it, or no known gateway')
  const [was, is] = [before ? tiersIn(before.imported) : [], tiersIn(after.imported)]
  const listed = new Set(is.flat())
  const [only] = listed
  if (listed.size === 1 && (new Set(was.flat()).size > 1 || after.imported.sources.length > 1))
    return say('noFailover', `cannot fail over: cluster "${only}" would be all that its tiers name`)
  if (is.length === 1 && was.length > 1)
    return say('lastTier', `would have no tier left below its first one: where ${someOf([...listed])} fail, nothing is`)
  return []
}

/** The clusters of each tier of the policy: what `prefer` splits is one. */
function tiersIn({ tiers, policy }: ImportedService): readonly (readonly ClusterName[])[] {
  const by = Map.groupBy(tiers.entries(), ([at]) => policy?.tierOf[at] ?? at)
  return [...by.values()].map((parts) => parts.flatMap(([, { members }]) => members.map(({ cluster }) => cluster)))
}

/** Less is noise. */
const crossingMin = 0.005

/** Which part of a caller's calls leaves its region, before and after; undefined where it is no more than before. */
export function leavingRegion(
  seen: Omit<TouchedImport, 'caller'> & { readonly caller: Caller },
): { readonly was: number; readonly is: number } | undefined {
  const { caller, before, after } = seen
  if (!after || caller.region === '') return undefined
  const [was, is] = [crossing(caller.region, before), crossing(caller.region, after)]
  return is < was + crossingMin ? undefined : { was, is }
}

function regionWarning(seen: TouchedImport): PlanWarning[] {
  const { service, caller } = seen
  const leaving = leavingRegion(seen)
  if (!leaving) return []
  const { was, is } = leaving
  const message = `${percent(is)} of the calls from region "${caller.region}" would leave it (${percent(was)} before)`
  return [{ kind: 'region', service, callers: [caller.cluster], message }]
}

function crossing(region: string, seen: TouchedImport['after']): number {
  const regions = new Map(seen?.imported.sources.map((source) => [source.cluster, source.region]))
  const away = [...(seen?.outlook.shares ?? [])].filter(([cluster]) => regions.get(cluster) !== region)
  return away.reduce((sum, [, share]) => sum + share, 0)
}

function capacityWarnings(service: ServiceKey, { after }: Touched): PlanWarning[] {
  const { callings, overloads, notMeasured } = after.service(service)
  const callers = [...callings.keys()].toSorted()
  const unknown: PlanWarning[] =
    notMeasured.length === 0
      ? []
      : [
          {
            ...{ kind: 'notMeasured', service, callers: notMeasured },
            message: `its capacity is not checked against the calls of ${someOf(notMeasured)}: not measured`,
          },
        ]
  return [
    ...overloads.map((one): PlanWarning => ({ kind: 'capacity', service, callers, message: overloadText(one) })),
    ...unknown,
  ]
}

const units = { requestsPerSecond: 'requests a second', connections: 'connections' } as const

/** What a cluster would be asked for beyond its capacity, and what becomes of the rest. */
export function overloadText({ cluster, of, capacity, asked, given }: Overload): string {
  const rest =
    given > capacity ? `nobody else has room, so it would be given ${number(given)}` : 'the rest goes elsewhere'
  return `cluster "${cluster}" would be asked for ${number(asked)} ${units[of]}, and its capacity is ${number(capacity)}: ${rest}`
}

const number = (value: number): string => String(value >= 100 ? Math.round(value) : Math.round(value * 10) / 10)
const percent = (share: number): string => `${number(share * 100)} %`
