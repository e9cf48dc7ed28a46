import type { DerivedSlice, ImportSpec, ImportStatus, ObjectCondition, Seen, SeenObjects } from '#mesh/mcs/objects.ts'
import { unheardKey, type Wanted } from '#mesh/mcs/wanted.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import { partsOf, type ServiceKey } from '#mesh/model/id.ts'

/** One write to the API server. */
export type Change =
  | { readonly kind: 'import'; readonly key: ServiceKey; readonly spec: ImportSpec }
  | { readonly kind: 'import status'; readonly key: ServiceKey; readonly status: ImportStatus }
  | { readonly kind: 'slice'; readonly id: string; readonly slice: DerivedSlice; readonly importUid: string }
  | { readonly kind: 'export status'; readonly key: ServiceKey; readonly conditions: readonly ObjectCondition[] }
  | { readonly kind: 'policy status'; readonly id: string; readonly conditions: readonly ObjectCondition[] }
  | { readonly kind: 'group status'; readonly name: string; readonly conditions: readonly ObjectCondition[] }
  | { readonly kind: 'remove import'; readonly key: ServiceKey; readonly was: Seen<object> }
  | { readonly kind: 'remove slice'; readonly id: string; readonly was: Seen<object> }

/**
 * The fewest writes that lead from what the API server has to what is wanted, in the order in which they are to be made:
 * what goes away last. What refuses, what others made and what nothing was heard of stays.
 */
export function changesBetween(wanted: Wanted, seen: SeenObjects): readonly Change[] {
  return [
    ...[...wanted.imports].flatMap(([key, { spec, status }]) => importChanges(key, { spec, status }, seen)),
    ...[...wanted.slices].flatMap(([id, slice]): Change[] => {
      const importUid = seen.imports.get(slice.service)?.uid
      // Its owner first: a slice without one would outlive the relay.
      if (importUid === undefined || same(facts(seen.slices.get(id)), slice)) return []
      return [{ kind: 'slice', id, slice, importUid }]
    }),
    ...[...wanted.exports].flatMap(([key, conditions]): Change[] =>
      sameConditions(seen.exports.get(key)?.conditions, conditions) ? [] : [{ kind: 'export status', key, conditions }],
    ),
    ...[...wanted.policies].flatMap(([id, conditions]): Change[] =>
      sameConditions(seen.policies.get(id)?.conditions, conditions) ? [] : [{ kind: 'policy status', id, conditions }],
    ),
    ...[...wanted.groups].flatMap(([name, conditions]): Change[] =>
      sameConditions(seen.groups.get(name)?.conditions, conditions) ? [] : [{ kind: 'group status', name, conditions }],
    ),
    ...[...seen.slices].flatMap(([id, was]): Change[] => {
      const isWanted = wanted.slices.has(id) || wanted.unheard.has(unheardKey(was.cluster, was.service))
      return isWanted ? [] : [{ kind: 'remove slice', id, was }]
    }),
    ...[...seen.imports].flatMap(([key, was]): Change[] => {
      const stays =
        wanted.imports.has(key) || !was.isOurs || was.refuses || !seen.namespaces.has(partsOf(key).namespace)
      return stays ? [] : [{ kind: 'remove import', key, was }]
    }),
  ]
}

function importChanges(
  key: ServiceKey,
  { spec, status }: { readonly spec: ImportSpec; readonly status: ImportStatus },
  seen: SeenObjects,
): Change[] {
  const there = seen.imports.get(key)
  if (!there || !same(there.spec, spec)) return [{ kind: 'import', key, spec }, ...(there ? statusOf() : [])]
  return statusOf()

  function statusOf(): Change[] {
    const isSame =
      same(there?.status.clusters, status.clusters) && sameConditions(there?.status.conditions, status.conditions)
    return isSame ? [] : [{ kind: 'import status', key, status }]
  }
}

const facts = (slice: Seen<DerivedSlice> | undefined): DerivedSlice | undefined => {
  if (!slice) return undefined
  const { uid: _1, resourceVersion: _2, generation: _3, ...said } = slice
  return said
}

/** Conditions of other types, which others set, are none of ours. */
function sameConditions(seen: readonly ObjectCondition[] = [], wanted: readonly ObjectCondition[]): boolean {
  const byType = new Map(seen.map((one) => [one.type, one]))
  return wanted.every((one) => {
    const there = byType.get(one.type)
    return there?.status === one.status && there.reason === one.reason && there.message === one.message
  })
}

const same = (a: unknown, b: unknown): boolean =>
  a !== undefined && canonicalJson(a as Json) === canonicalJson(b as Json)
