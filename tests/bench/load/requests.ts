import type { Mode, Resource } from '#tests/bench/load/response.ts'
import { field, textField } from '#tests/bench/load/wire.ts'

/** What a client says about one type; the node of the first request is put before it. */
export type Asking = {
  readonly type: string
  /** All names that it wants from now on; empty: everything. */
  readonly wanted: ReadonlySet<string>
  readonly added?: readonly string[]
  readonly gone?: readonly string[]
  /** What it holds from an earlier stream, and what of it is a type whose names must be asked for. */
  readonly held?: readonly Resource[]
  readonly asksFor?: readonly Resource[]
  /** Of the last response of the type, where there was one on this stream. */
  readonly nonce?: string
  readonly version?: string
  readonly refuses?: boolean
}

const fault = Buffer.from([8, 3, 18, 2, 110, 111])

/** A request in parts. Field numbers: DeltaDiscoveryRequest, DiscoveryRequest. */
export const requestOf: { readonly [M in Mode]: (asking: Asking) => Buffer[] } = {
  delta: ({ type, added = [], gone = [], held = [], asksFor = [], nonce, refuses }) => [
    textField(2, type),
    ...added.map((name) => textField(3, name)),
    ...gone.map((name) => textField(4, name)),
    ...asksFor.map((one) => encodedOf(one).name),
    ...held.map((one) => encodedOf(one).version),
    ...(nonce === undefined ? [] : [textField(6, nonce)]),
    ...(refuses ? [field(7, fault)] : []),
  ],
  sotw: ({ type, wanted, nonce, version, refuses }) => [
    ...(version === undefined ? [] : [textField(1, version)]),
    ...namesField(wanted),
    textField(4, type),
    ...(nonce === undefined ? [] : [textField(5, nonce)]),
    ...(refuses ? [field(6, fault)] : []),
  ],
}

/** What is said of a resource by everybody who comes back, encoded once. */
function encodedOf(resource: Resource): { readonly name: Buffer; readonly version: Buffer } {
  const known = encodings.get(resource)
  if (known) return known
  const fresh = {
    name: textField(3, resource.name),
    version: field(5, Buffer.concat([textField(1, resource.name), textField(2, resource.version)])),
  }
  encodings.set(resource, fresh)
  return fresh
}
const encodings = new WeakMap<Resource, { readonly name: Buffer; readonly version: Buffer }>()

export const nodeField = (mode: Mode, node: Buffer): Buffer => field(mode === 'delta' ? 1 : 2, node)

/** The list of names that a client of the state of the world says again and again, encoded once for each list. */
function namesField(wanted: ReadonlySet<string>): Buffer[] {
  if (wanted.size === 0) return []
  const known = lists.get(wanted)
  if (known) return [known]
  const bytes = Buffer.concat([...wanted].map((name) => textField(3, name)))
  lists.set(wanted, bytes)
  return [bytes]
}
const lists = new WeakMap<ReadonlySet<string>, Buffer>()
