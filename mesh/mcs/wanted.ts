import { type AddressRange, planAddresses } from '#mesh/mcs/addresses.ts'
import { exportConditions } from '#mesh/mcs/exports.ts'
import { addressWish, importSpec, importStatus } from '#mesh/mcs/imports.ts'
import type { DerivedSlice, ImportSpec, ImportStatus, ObjectCondition, SeenObjects } from '#mesh/mcs/objects.ts'
import { groupConditions, policyConditions } from '#mesh/mcs/policies.ts'
import { slicesOf } from '#mesh/mcs/slices.ts'
import type { ClusterConfig, Condition } from '#mesh/model/cluster-config.ts'
import { type ClusterName, partsOf, type ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { ClusterSetAddresses, RejectedObject, View } from '#mesh/model/view.ts'

export type WantedFacts = {
  readonly view: View & { readonly config: ClusterConfig }
  readonly seen: SeenObjects
  readonly rejected: readonly RejectedObject[]
  /** What the relay itself found about its services. */
  readonly remarks: readonly Condition[]
  /** Absent = imported services get no addresses. */
  readonly range: AddressRange | undefined
}

/** What the own cluster's API server is to hold of the mesh. */
export type Wanted = {
  readonly imports: ReadonlyMap<ServiceKey, { readonly spec: ImportSpec; readonly status: ImportStatus }>
  readonly slices: ReadonlyMap<string, DerivedSlice>
  /** Of these nothing was heard: what there is of them stays, `<cluster> <ns>/<svc>`. */
  readonly unheard: ReadonlySet<string>
  readonly exports: ReadonlyMap<ServiceKey, readonly ObjectCondition[]>
  readonly policies: ReadonlyMap<string, readonly ObjectCondition[]>
  readonly groups: ReadonlyMap<string, readonly ObjectCondition[]>
  /** Namespaces of services that are offered here, and that this cluster does not have: these are not imported. */
  readonly withoutNamespace: readonly string[]
  /** What a person should know of the whole. */
  readonly conditions: readonly Condition[]
}

/**
 * The MCS objects and conditions that follow from what is exported to this cluster and by it. A service is imported where
 * its namespace exists: none is made for it. Objects of others and those that refuse are left alone.
 */
export function wantedObjects(facts: WantedFacts): Wanted {
  const { view, seen, range } = facts
  const { config, own, home, summaries, clusterSet = noAddresses } = view
  const imported = [...config.imports.values()].filter(({ key }) => {
    const there = seen.imports.get(key)
    const isOthers = there !== undefined && (!there.isOurs || there.refuses)
    return seen.namespaces.has(partsOf(key).namespace) && !own.refused.has(key) && !isOthers
  })
  const wishes = imported.map((one) =>
    addressWish(one, { home: home.cluster, summaries, has: clusterSet.get(one.key) }),
  )
  const planned = range && planAddresses(wishes, clusterSet, range)
  const imports = imported.map((one): [ServiceKey, { spec: ImportSpec; status: ImportStatus }] => {
    const addresses = planned?.addresses.get(one.key) ?? { parts: {} }
    const lack = planned ? (planned.without.has(one.key) ? 'range used up' : undefined) : 'no range'
    const status = importStatus(one, lack && { of: lack, cidr: range?.cidr ?? '' })
    return [one.key, { spec: importSpec(one, addresses), status }]
  })
  const neighbours = imported.flatMap((one) =>
    one.sources
      .filter(({ cluster, network }) => cluster !== home.cluster && network === config.network)
      .map((source) => ({ one, source, heard: summaries.services.get(source.cluster)?.get(one.key) })),
  )
  const named = [...config.imports.keys()].map((key) => partsOf(key).namespace)
  const missing = new Set(named.filter((namespace) => !seen.namespaces.has(namespace)))
  return {
    imports: new Map(imports),
    slices: new Map(
      neighbours.flatMap(({ one, source, heard }) =>
        [...slicesOf(one, source, heard?.flat ?? [])].map(([name, slice]): [string, DerivedSlice] => [
          `${partsOf(one.key).namespace}/${name}`,
          slice,
        ]),
      ),
    ),
    unheard: new Set(
      neighbours.flatMap(({ one, source, heard }) => (heard ? [] : [unheardKey(source.cluster, one.key)])),
    ),
    exports: new Map([...seen.exports.keys()].map((key) => [key, exportConditions(key, { ...facts, own, config })])),
    policies: new Map(
      [...seen.policies.keys()].map((id) => {
        const [namespace = '', name = ''] = id.split('/')
        return [id, policyConditions({ namespace, name }, { ...facts, config })]
      }),
    ),
    groups: new Map([...seen.groups.keys()].map((name) => [name, groupConditions(name, { ...facts, config })])),
    conditions: usedUp(planned?.without ?? new Set(), range),
    withoutNamespace: [...missing].sort(),
  }
}

const noAddresses: ReadonlyMap<ServiceKey, ClusterSetAddresses> = new Map()

export const unheardKey = (cluster: ClusterName, key: ServiceKey): string => `${cluster} ${key}`

function usedUp(without: ReadonlySet<ServiceKey>, range: AddressRange | undefined): readonly Condition[] {
  if (without.size === 0 || !range) return []
  const message =
    `no address of ${range.cidr} is left for ${someOf([...without].sort())}: give the relay a larger range ` +
    '(kubernetes.clusterSetCidr); those that have one keep it where the new range holds the old one'
  return [{ type: 'ClusterSetAddressesUsedUp', reason: 'Bound', message, object: 'cluster' }]
}
