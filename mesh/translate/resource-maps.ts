import type { XdsResource } from '#mesh/model/resource.ts'
import { compareText } from '#mesh/translate/encode.ts'
import type { Memo } from '#mesh/translate/memo.ts'

export type ResourceMap = ReadonlyMap<string, XdsResource>

export const emptyMap: ResourceMap = new Map()

/** Resources by name, in the order of names; the same members give the same map. */
export function named(memo: Memo, key: string, resources: readonly XdsResource[]): ResourceMap {
  const list = memo.list(`named ${key}`, [resources], () => resources)
  return memo.keep(`map ${key}`, [list], () => mapOf(list))
}

/** The same for what several proxies share and what is one proxy's own: proxies with the same own part share the map. */
export function joined(
  memo: Memo,
  key: string,
  shared: readonly XdsResource[],
  own: readonly XdsResource[],
): ResourceMap {
  const ownKey = `${key} ${own.map((r) => `${r.name} ${r.version} ${r.owner}`).join()}`
  // The key says all that is in them, whichever proxy's they were first.
  const list = memo.keep(`own ${ownKey}`, [], () => own)
  return memo.keep(`map ${ownKey}`, [shared, list], () => mapOf([...list, ...shared]))
}

/** Of two resources of one name the first stays, so that a proxy's own pod is reached whatever else claims its name. */
function mapOf(resources: readonly XdsResource[]): ResourceMap {
  const map = new Map<string, XdsResource>()
  for (const resource of resources.toSorted((a, b) => compareText(a.name, b.name)))
    if (!map.has(resource.name)) map.set(resource.name, resource)
  return map
}
