import { newCompiler } from '#mesh/compile/compiler.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * The config of every member, by cluster name in order. Pure: equal fleets, in whatever order, give equal configs, and
 * parts that several clusters share are the same objects.
 *
 * A config names nothing that is not exported to its cluster: no service, source, identity or condition about it. What
 * an exporter and an importer disagree on, or a list that names nobody, is a condition in the config of the cluster that
 * can mend it. Throws `internal` where two members carry one name.
 */
export const compile = (fleet: Fleet): ReadonlyMap<ClusterName, ClusterConfig> => newCompiler().compile(fleet)

/** The config of one member, as `compile` gives it. Throws `not-found` where the fleet has no such member. */
export function compileOne(fleet: Fleet, cluster: ClusterName): ClusterConfig {
  const config = compile(fleet).get(cluster)
  if (!config) throw new Problem('not-found', `mesh "${fleet.mesh}" has no cluster "${cluster}"`)
  return config
}
