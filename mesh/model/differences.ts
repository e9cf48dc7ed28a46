import type { Json } from '#mesh/model/canonical.ts'

/** One place in which two values differ: `tiers[0].members[1].weight`; absent on one side = not there. */
export type Difference = { readonly path: string; readonly before?: Json; readonly after?: Json }

/**
 * Every place in which two JSON values differ, as deep as both have the same shape, in the order of their keys. Empty when
 * they are equal. Lists whose members have a name are compared by it, so that one that moved or was put in between does
 * not make all others differ; what only changed its place is told as the order of names.
 */
export function differencesOf(before: Json | undefined, after: Json | undefined, path = ''): Difference[] {
  if (before === undefined || after === undefined) return before === after ? [] : [oneOf(path, before, after)]
  if (Array.isArray(before) && Array.isArray(after)) return ofLists(before, after, path)
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted()
    return keys.flatMap((key) => differencesOf(before[key], after[key], path === '' ? key : `${path}.${key}`))
  }
  return before === after ? [] : [oneOf(path, before, after)]
}

type Fields = { readonly [name: string]: Json | undefined }

const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const oneOf = (path: string, before: Json | undefined, after: Json | undefined): Difference => ({
  path,
  ...(before === undefined ? {} : { before }),
  ...(after === undefined ? {} : { after }),
})

function ofLists(before: readonly Json[], after: readonly Json[], path: string): Difference[] {
  const [old, fresh] = [namedOf(before), namedOf(after)]
  if (old && fresh) {
    const names = [...new Set([...old.keys(), ...fresh.keys()])]
    const inside = names.flatMap((name) => differencesOf(old.get(name), fresh.get(name), `${path}[${name}]`))
    const left = (of: ReadonlyMap<string, Json>, others: ReadonlyMap<string, Json>) =>
      [...of.keys()].filter((name) => others.has(name))
    const [was, is] = [left(old, fresh), left(fresh, old)]
    return was.join('\n') === is.join('\n') ? inside : [...inside, { path: `${path} (order)`, before: was, after: is }]
  }
  const isPlain = [...before, ...after].every((one) => !isObject(one) && !Array.isArray(one))
  if (isPlain) return JSON.stringify(before) === JSON.stringify(after) ? [] : [oneOf(path, [...before], [...after])]
  return Array.from({ length: Math.max(before.length, after.length) }, (_, at) =>
    differencesOf(before[at], after[at], `${path}[${at}]`),
  ).flat()
}

/** Members by their name, where each has one of its own. */
function namedOf(list: readonly Json[]): ReadonlyMap<string, Json> | undefined {
  const names = list.map(nameOf)
  const named = new Map(names.flatMap((name, at) => (name === undefined ? [] : [[name, list[at] as Json] as const])))
  return named.size === list.length && list.length > 0 ? named : undefined
}

function nameOf(value: Json): string | undefined {
  if (!isObject(value)) return undefined
  const { cluster, name, port, region, group, object }: Fields = value
  const said = cluster ?? name ?? port ?? region ?? group ?? object
  return typeof said === 'string' || typeof said === 'number' ? String(said) : undefined
}
