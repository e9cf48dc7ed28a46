import { hash } from 'node:crypto'
import { typeUrls } from '#mesh/model/resource.ts'
import { noReferences, type References, referencesIn } from '#tests/bench/load/references.ts'
import { fieldsOf } from '#tests/bench/load/wire.ts'

/** The two forms of ADS: what changed, or everything of a type each time. */
export type Mode = 'delta' | 'sotw'

export type Response = {
  readonly type: string
  readonly nonce: string
  /** Of the whole response; a client of the state of the world repeats it. */
  readonly version: string
  readonly resources: readonly { readonly name: string; readonly version: string }[]
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
 * Reads responses: names, versions and nonces, and of clusters and listeners what they refer to. Most of them go to many
 * streams byte for byte, nonce included: such a one is recognised by its bytes, all of them, and given again.
 */
export function responseReader(): (mode: Mode, message: Buffer) => Response {
  const kept = new Map<string, { readonly bytes: Buffer; readonly response: Response }[]>()
  let size = 0
  return (mode, message) => {
    const key = `${mode} ${message.length}`
    const alike = kept.get(key) ?? []
    const known = alike.find(({ bytes }) => bytes.equals(message))
    if (known) return known.response
    const response = parseResponse(mode, message)
    size += message.length
    if (size > keptBytes) {
      kept.clear()
      size = message.length
    }
    kept.set(key, [{ bytes: message, response }, ...alike].slice(0, 4))
    return response
  }
}

/** Field numbers of DeltaDiscoveryResponse and DiscoveryResponse, which agree where both have one. */
export function parseResponse(mode: Mode, message: Buffer): Response {
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
    return { name, version }
  })
  return { ...said, resources, removed, names: [...resources.map(({ name }) => name), ...removed] }
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
