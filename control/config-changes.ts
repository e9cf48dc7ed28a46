import { newCompiler } from '#mesh/compile/compiler.ts'
import { configChanges as changesOf } from '#mesh/foresee/config-changes.ts'
import type { Fleet } from '#mesh/model/fleet.ts'

/** What one change would do to one cluster's config: keys of its entries. */
export type ConfigChange = {
  readonly cluster: string
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
}

/** Which configs one fleet gives that another does not: the same compiler, once on each. */
export function configChanges(before: Fleet, after: Fleet): ConfigChange[] {
  const compiler = newCompiler()
  const old = compiler.compile(before)
  return changesOf(old, compiler.compile(after)).map(({ cluster, changes }) => ({
    cluster,
    added: changes.filter((one) => one.before === undefined).map(({ key }) => key),
    removed: changes.filter((one) => one.after === undefined).map(({ key }) => key),
    changed: changes.filter((one) => one.before && one.after).map(({ key }) => key),
  }))
}
