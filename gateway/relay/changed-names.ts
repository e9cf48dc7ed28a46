import type { Resources } from '#gateway/relay/subscription.ts'

const memo = new WeakMap<Resources, WeakMap<Resources, readonly string[]>>()

/**
 * The names whose version differs between two maps, computed once per pair: all streams that share a resource set make
 * the same step.
 */
export function changedNames(from: Resources, to: Resources): readonly string[] {
  if (last?.from === from && last.to === to) return last.names
  // Only for this turn of the loop: it would hold all that was served before, a route table of megabytes among it.
  if (!last) setImmediate(forget)
  last = { from, to, names: namesBetween(from, to) }
  return last.names
}

const forget = (): void => {
  last = undefined
}

let last: { readonly from: Resources; readonly to: Resources; readonly names: readonly string[] } | undefined

function namesBetween(from: Resources, to: Resources): readonly string[] {
  const known = memo.get(from)?.get(to)
  if (known) return known
  const names: string[] = []
  for (const [name, resource] of to) if (from.get(name)?.version !== resource.version) names.push(name)
  for (const name of from.keys()) if (!to.has(name)) names.push(name)
  const steps = memo.get(from) ?? new WeakMap<Resources, readonly string[]>()
  memo.set(from, steps.set(to, names))
  return names
}
