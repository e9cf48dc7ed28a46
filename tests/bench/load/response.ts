import { hash } from 'node:crypto'
import { typeUrls } from '#mesh/model/resource.ts'
import { noReferences, type References, referencesIn } from '#tests/bench/load/references.ts'
import { fieldsOf, messageIn } from '#tests/bench/load/wire.ts'

/** The two forms of ADS: what changed, or everything of a type each time. */
export type Mode = 'delta' | 'sotw'

/** One resource as a client knows it; the same object for all clients, so that what is made of it is made once. */
export type Resource = { readonly name: string; readonly version: string }

export type Response = {
  readonly type: string
  readonly nonce: string
  /** Of the whole response; a client of the state of the world repeats it. */
  readonly version: string
  readonly resources: readonly Resource[]
  readonly removed: readonly string[]
  /** Of `resources`, then `removed`. */
  readonly names: readonly string[]
}

const { cluster: cds, listener: lds } = typeUrls
const keptBytes = 64 << 20

/** References by version of the cluster or listener that has them, read once for all clients. */
const references = new Map<string, References>()

export const referencesOf = (version: string): References => references.get(version) ?? noReferences

/**
 * Reads responses, handed in as the pieces in which they came: names, versions and nonces, and of clusters and listeners
 * what they refer to. Most of them go to many streams byte for byte, nonce included: such a one is recognised by its
 * bytes, all of them, and given again.
 */
export function responseReader(): (mode: Mode, pieces: readonly Buffer[]) => Response {
  const kept = new Map<string, { readonly frame: Buffer; readonly response: Response }[]>()
  let size = 0
  return (mode, pieces) => {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const key = `${mode} ${length}`
    const alike = kept.get(key) ?? []
    const known = alike.find(({ frame }) => isMadeOf(frame, pieces))
    if (known) return known.response
    const frame = Buffer.concat(pieces)
    const response = parseResponse(mode, messageIn(frame))
    size += length
    if (size > keptBytes) {
      kept.clear()
      size = length
    }
    kept.set(key, [{ frame, response }, ...alike].slice(0, 4))
    return response
  }
}

function isMadeOf(frame: Buffer, pieces: readonly Buffer[]): boolean {
  let at = 0
  return pieces.every((piece) => {
    const from = at
    at += piece.length
    return piece.compare(frame, from, at) === 0
  })
}

/** Field numbers of DeltaDiscoveryResponse and DiscoveryResponse, which agree where both have one. */
function parseResponse(mode: Mode, message: Buffer): Response {
  const said = { type: '', nonce: '', version: '' }
  const bodies: Buffer[] = []
  const removed: string[] = []
  for (const [number, bytes] of fieldsOf(message)) {
    if (number === 1) said.version = bytes.toString()
    else if (number === 2) bodies.push(bytes)
    else if (number === 4) said.type = bytes.toString()
    else if (number === 5) said.nonce = bytes.toString()
    else if (number === 6) removed.push(bytes.toString())
  }
  const read = mode === 'delta' ? namedOf : anyOf
  const resources = bodies.map((bytes) => {
    const { name, version, any } = read(bytes)
    if ((said.type === cds || said.type === lds) && !references.has(version))
      references.set(version, referencesIn(said.type, any))
    return shared(name, version)
  })
  return { ...said, resources, removed, names: [...resources.map(({ name }) => name), ...removed] }
}

const resourcesByKey = new Map<string, Resource>()

function shared(name: string, version: string): Resource {
  const key = `${version} ${name}`
  const known = resourcesByKey.get(key)
  if (known) return known
  const fresh = { name, version }
  resourcesByKey.set(key, fresh)
  return fresh
}

type Read = { name: string; version: string; any: Buffer }

function namedOf(resource: Buffer): Read {
  const found: Read = { name: '', version: '', any: Buffer.alloc(0) }
  for (const [number, bytes] of fieldsOf(resource)) {
    if (number === 1) found.version = bytes.toString()
    else if (number === 2) found.any = bytes
    else if (number === 3) found.name = bytes.toString()
  }
  return found
}

/** A resource of the state of the world has no version of its own; its name is the first field of every served type. */
function anyOf(any: Buffer): Read {
  for (const [number, value] of fieldsOf(any)) {
    if (number !== 2) continue
    for (const [first, bytes] of fieldsOf(value))
      if (first === 1) return { name: bytes.toString(), version: hash('sha1', any, 'base64'), any }
  }
  throw new Error('a resource without a name')
}
