import { isDeepStrictEqual } from 'node:util'
import { type Document, isMap, isNode, isScalar, isSeq, type Node, type YAMLMap, type YAMLSeq } from 'yaml'
import { isShape, type Shape } from '#cli/onboard/inject/kube-shape.ts'

/**
 * Writes into a document what differs between what it says and what it is to say. All else stays as it was written:
 * comments, order, quotes. Things in lists are known by their names. The document may have no aliases.
 */
export function patchDocument(document: Document, before: unknown, after: unknown): void {
  document.contents = patched(document, document.contents, before, after)
}

function patched(document: Document, node: unknown, before: unknown, after: unknown): Node {
  if (isNode(node) && isDeepStrictEqual(before, after)) return node
  if (isMap(node) && isShape(before) && isShape(after)) return patchedMap(document, node, before, after)
  if (isSeq(node) && Array.isArray(before) && Array.isArray(after)) return patchedList(document, node, before, after)
  return document.createNode(after)
}

function patchedMap(document: Document, map: YAMLMap, before: Shape, after: Shape): YAMLMap {
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) map.delete(nodeKey(map, key))
  for (const [key, value] of Object.entries(after)) {
    const own = nodeKey(map, key)
    map.set(own, patched(document, map.get(own, true), before[key], value))
  }
  return map
}

/** Keys are texts for us, whatever YAML takes them for: `8080:`, `true:`. */
const nodeKey = (map: YAMLMap, key: string): unknown =>
  map.items.map((pair) => pair.key).find((one) => isScalar(one) && String(one.value) === key) ?? key

function patchedList(
  document: Document,
  list: YAMLSeq,
  before: readonly unknown[],
  after: readonly unknown[],
): YAMLSeq {
  const nameOf = (one: unknown): unknown => (isShape(one) ? one['name'] : undefined)
  const old = before.map((value, at) => ({ value, node: list.items[at] }))
  const first = list.items[0]
  list.items = after.map((value) => {
    const known = old.find((one) => isDeepStrictEqual(one.value, value) || sameName(nameOf(one.value), nameOf(value)))
    return patched(document, known?.node, known?.value, value)
  })
  // A comment above the first one is about that one.
  if (list.commentBefore && isNode(first) && list.items[0] !== first && list.items.includes(first)) {
    first.commentBefore = list.commentBefore
    list.commentBefore = null
  }
  return list
}

const sameName = (a: unknown, b: unknown): boolean => typeof a === 'string' && a === b
