import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'

/**
 * The envelopes of xDS as the secret server needs them, both dialects in one shape. By hand for the reason in
 * `mesh/translate/secret.ts`: the generated types cost 15 MB in every pod; the tests hold these against them.
 * Source: envoy.service.discovery.v3 (field numbers beside each field).
 */
export type Asked = {
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** Versions that a delta client already holds after a reconnect. */
  readonly held: ReadonlyMap<string, string>
  readonly nonce: string
  /** Message of a NACK. */
  readonly refused?: string
}

export type Answered = {
  readonly version: string
  readonly nonce: string
  readonly resources: readonly { readonly name: string; readonly version: string; readonly bytes: Uint8Array }[]
  /** Names that a delta client asked for and that do not exist. */
  readonly removed: readonly string[]
}

const secretType = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
const lengthDelimited = 2

/** DiscoveryRequest: resource_names 3, response_nonce 5, error_detail 6. Throws on bytes that are no message. */
export function readRequest(bytes: Uint8Array): Asked {
  const fields = fieldsOf(bytes)
  return {
    subscribe: texts(fields, 3),
    unsubscribe: [],
    held: new Map(),
    nonce: texts(fields, 5)[0] ?? '',
    ...refusedOf(fields, 6),
  }
}

/** DeltaDiscoveryRequest: subscribe 3, unsubscribe 4, initial_resource_versions 5, response_nonce 6, error_detail 7. */
export function readDeltaRequest(bytes: Uint8Array): Asked {
  const fields = fieldsOf(bytes)
  const held = (fields.get(5) ?? []).map((entry) => {
    const pair = fieldsOf(entry)
    return [texts(pair, 1)[0] ?? '', texts(pair, 2)[0] ?? ''] as const
  })
  return {
    subscribe: texts(fields, 3),
    unsubscribe: texts(fields, 4),
    held: new Map(held),
    nonce: texts(fields, 6)[0] ?? '',
    ...refusedOf(fields, 7),
  }
}

/** DiscoveryResponse: version_info 1, resources 2, type_url 4, nonce 5. */
export function writeResponse({ version, nonce, resources }: Answered): Uint8Array {
  const to = new BinaryWriter()
  text(to, 1, version)
  for (const { bytes } of resources) message(to, 2, (any) => writeAny(any, bytes))
  text(to, 4, secretType)
  text(to, 5, nonce)
  return to.finish()
}

/** DeltaDiscoveryResponse: system_version_info 1, resources 2 (version 1, resource 2, name 3), type_url 4, nonce 5, removed 6. */
export function writeDeltaResponse({ version, nonce, resources, removed }: Answered): Uint8Array {
  const to = new BinaryWriter()
  text(to, 1, version)
  for (const resource of resources)
    message(to, 2, (inner) => {
      text(inner, 1, resource.version)
      message(inner, 2, (any) => writeAny(any, resource.bytes))
      text(inner, 3, resource.name)
    })
  text(to, 4, secretType)
  text(to, 5, nonce)
  for (const name of removed) text(to, 6, name)
  return to.finish()
}

type Fields = ReadonlyMap<number, readonly Uint8Array[]>

/** The length-delimited fields of a message; numbers are skipped, none is needed. */
function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes)
  const fields = new Map<number, Uint8Array[]>()
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    if (wireType === lengthDelimited) fields.set(field, [...(fields.get(field) ?? []), reader.bytes()])
    else reader.skip(wireType, field)
  }
  return fields
}

const texts = (fields: Fields, field: number): readonly string[] =>
  (fields.get(field) ?? []).map((bytes) => Buffer.from(bytes).toString('utf8'))

/** google.rpc.Status: message 2. */
function refusedOf(fields: Fields, field: number): { readonly refused?: string } {
  const status = fields.get(field)?.[0]
  return status ? { refused: texts(fieldsOf(status), 2)[0] ?? 'without a reason' } : {}
}

const text = (to: BinaryWriter, field: number, value: string) => to.tag(field, lengthDelimited).string(value)

function message(to: BinaryWriter, field: number, write: (inner: BinaryWriter) => void): void {
  to.tag(field, lengthDelimited).fork()
  write(to)
  to.join()
}

function writeAny(to: BinaryWriter, bytes: Uint8Array): void {
  text(to, 1, secretType)
  to.tag(2, lengthDelimited).bytes(bytes)
}
