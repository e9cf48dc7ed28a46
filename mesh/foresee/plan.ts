import { newCompiler } from '#mesh/compile/compiler.ts'
import { type ConfigChange, type Configs, configChanges } from '#mesh/foresee/config-changes.ts'
import { type ForecastFacts, newForecast } from '#mesh/foresee/forecast.ts'
import { type PlannedShares, plannedShares } from '#mesh/foresee/planned-shares.ts'
import { type PlanWarning, warningsOf } from '#mesh/foresee/warnings.ts'
import { canonicalJson, hashOf, type Json, sha256Hex } from '#mesh/model/canonical.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { type ConfigEntry, writtenOf } from '#mesh/wire/cluster-config.ts'

/** One object that is to be written or taken away, and the fleet once it is. */
export type Step = {
  readonly wish: Json
  /** The number of the last change of policies before it: another one in between, and the plan stands no more. */
  readonly policies: number
  readonly after: Fleet
}

/** An entry that differs in the same way for each of some clusters; `before` absent = it comes, `after` absent = it goes. */
export type PlannedChange = {
  readonly key: string
  readonly clusters: readonly ClusterName[]
  readonly before?: ConfigEntry
  readonly after?: ConfigEntry
}

export type Plan = {
  /** Of all steps; of a plan of one step that step's. */
  readonly hash: string
  readonly steps: readonly { readonly hash: string }[]
  /** Clusters whose config would be another, with the hash it would have. */
  readonly clusters: readonly { readonly cluster: ClusterName; readonly hash: string; readonly changes: number }[]
  readonly changes: readonly PlannedChange[]
  readonly shares: readonly PlannedShares[]
  readonly warnings: readonly PlanWarning[]
}

/**
 * What changes of policies and groups would do, one after the other, without doing any: for every cluster the exact
 * difference of its compiled config, and what the traffic would do about it.
 *
 * A step's hash is over what is wished, the place among all changes of policies, and the config of every cluster that is
 * touched, before and after. So whoever applies it by that hash does what was shown here and nothing else.
 */
export function planOf(before: Fleet, steps: readonly Step[], facts: ForecastFacts): Plan {
  const compiler = newCompiler()
  const first = compiler.compile(before)
  let last: Configs = first
  const hashes = steps.map(({ wish, policies, after }) => {
    const next = compiler.compile(after)
    const changes = configChanges(last, next)
    last = next
    return { hash: stepHash(wish, policies, changes) }
  })
  const all = configChanges(first, last)
  const touched = {
    ...{ configs: last, changes: all, demands: facts.demands },
    ...{ before: newForecast(first, facts), after: newForecast(last, facts) },
  }
  return {
    hash: hashes.length === 1 && hashes[0] ? hashes[0].hash : sha256Hex(hashes.map(({ hash }) => hash).join()),
    steps: hashes,
    clusters: all.map(({ cluster, after, changes }) => ({ cluster, hash: after, changes: changes.length })),
    changes: grouped(all),
    shares: plannedShares(touched),
    warnings: warningsOf(touched),
  }
}

const stepHash = (wish: Json, policies: number, changes: readonly ConfigChange[]): string =>
  hashOf({ wish, policies, configs: changes.map(({ cluster, before, after }) => [cluster, before, after]) })

/** What is the same in many clusters is said once. */
function grouped(all: readonly ConfigChange[]): PlannedChange[] {
  const same = new Map<string, { readonly change: PlannedChange; readonly clusters: ClusterName[] }>()
  for (const { cluster, changes } of all)
    for (const change of changes) {
      const { key, before, after } = change
      const [was, is] = [before, after].map((body) => (body ? writtenOf(key, body).hash : ''))
      const text = canonicalJson([key, was ?? '', is ?? ''])
      const known = same.get(text)
      if (known) known.clusters.push(cluster)
      else same.set(text, { change: { ...change, clusters: [] }, clusters: [cluster] })
    }
  return [...same.values()]
    .map(({ change, clusters }) => ({ ...change, clusters }))
    .toSorted((a, b) => (a.key === b.key ? (`${a.clusters}` < `${b.clusters}` ? -1 : 1) : a.key < b.key ? -1 : 1))
}
