import { compareText } from '#mesh/compile/offer.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** More of one kind would not be read by anybody, and must not hide the others. */
const perObjectMax = 5
const perKindMax = 100
/** One item of a stream has to hold them all. */
const conditionsMax = 500

/**
 * Conditions in order, each kind bounded for each object and for the cluster; the last of a kind that was cut says how
 * many more there are. So a list of a thousand wrong names, or a thousand exports with one each, leaves room for the
 * condition of another kind that matters.
 */
export function bounded(conditions: readonly Condition[]): readonly Condition[] {
  const byObject = Map.groupBy(conditions, ({ object, type }) => `${type} ${object}`)
  const perObject = [...byObject.values()].flatMap((same) => cut(same, perObjectMax, moreOfObject))
  const byKind = Map.groupBy(perObject, ({ type }) => type)
  const perKind = [...byKind.values()].flatMap((same) => cut(same, perKindMax, moreOfKind))
  return cut(perKind.toSorted(byContent), conditionsMax, moreOfAll)
}

function cut(
  list: readonly Condition[],
  max: number,
  more: (left: readonly [Condition, ...Condition[]]) => Condition,
): readonly Condition[] {
  if (list.length <= max) return list
  const inOrder = list.toSorted(byContent)
  const [first, ...rest] = inOrder.slice(max - 1)
  return first ? [...inOrder.slice(0, max - 1), more([first, ...rest])] : inOrder
}

const moreOfObject = (left: readonly [Condition, ...Condition[]]): Condition => ({
  ...left[0],
  message: `and ${left.length} more of this kind: mend the others first`,
})

const moreOfKind = (left: readonly [Condition, ...Condition[]]): Condition => {
  const objects = [...new Set(left.map(({ object }) => object))]
  const message = `and ${left.length} more of this kind (${someOf(objects)}): mend the others first`
  return { ...left[0], object: 'cluster', message }
}

const moreOfAll = (left: readonly [Condition, ...Condition[]]): Condition => ({
  ...{ type: 'Truncated', reason: 'TooMany', object: 'cluster' },
  message: `${left.length} more conditions are not shown: mend these first`,
})

const byContent = (a: Condition, b: Condition): number =>
  compareText(a.object, b.object) || compareText(a.type, b.type) || compareText(a.message, b.message)
