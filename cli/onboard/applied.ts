import type { Json } from '#cli/onboard/cluster-api.ts'
import { fieldManager } from '#cli/onboard/manifests/object.ts'

/**
 * Whether an object of the API is all that `wanted` says, and holds nothing of ours beside it: then to apply it again
 * would change nothing. What the server adds by itself, and what others add, does not count.
 */
export const isApplied = (wanted: object, live: Json): boolean =>
  holds(live, wanted) && ownFields(live).every((fields) => within(fields, wanted))

/** Whether `live` has everything of `wanted`: lists in the same order and length. */
function holds(live: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted))
    return Array.isArray(live) && live.length === wanted.length && wanted.every((one, at) => holds(live[at], one))
  if (typeof wanted !== 'object' || wanted === null) return live === wanted
  if (typeof live !== 'object' || live === null) return false
  return Object.entries(wanted).every(([key, value]) => holds((live as Json)[key], value))
}

type Fields = Readonly<Record<string, unknown>>
type Managed = {
  readonly manager?: string
  readonly operation?: string
  readonly fieldsV1?: Fields
  readonly subresource?: string
}

export const managersOf = (live: Json): readonly Managed[] =>
  ((live['metadata'] ?? {}) as { managedFields?: Managed[] }).managedFields ?? []

/** What we applied before, as the server keeps it. Source: Kubernetes, FieldsV1. */
const ownFields = (live: Json): readonly Fields[] =>
  managersOf(live)
    .filter(({ manager, operation }) => manager === fieldManager && operation === 'Apply')
    .map(({ fieldsV1 }) => fieldsV1 ?? {})

/** Whether every field of a set is one of `wanted`. */
function within(fields: Fields, wanted: unknown): boolean {
  return Object.entries(fields).every(([key, below]) => {
    if (key === '.') return true
    const found = memberOf(key, wanted)
    return found !== undefined && within((below ?? {}) as Fields, found)
  })
}

/** `f:name` is a member, `k:{…}` the element of a list with these keys, `v:…` an element that is this value. */
function memberOf(key: string, wanted: unknown): unknown {
  const text = key.slice(2)
  if (key.startsWith('f:')) return (wanted as Json | undefined)?.[text]
  if (!Array.isArray(wanted)) return undefined
  const value: unknown = JSON.parse(text)
  return wanted.find((one) => holds(one, value))
}
