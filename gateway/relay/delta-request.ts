import { fromBinary } from '@bufbuild/protobuf'
import { eachField } from '#gateway/relay/fields.ts'
import { type Node, NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { type Status, StatusSchema } from '#gen/google/rpc/status_pb.js'

/** A DeltaDiscoveryRequest as it came. */
export type DeltaRequest = {
  typeUrl: string
  responseNonce: string
  readonly resourceNamesSubscribe: string[]
  readonly resourceNamesUnsubscribe: string[]
  /** Texts that hold on to the message: who keeps one keeps a copy (`ownCopy`). */
  readonly initialResourceVersions: Map<string, string>
  node?: Node
  errorDetail?: Status
}

/**
 * Reads a DeltaDiscoveryRequest by hand: a proxy that comes back names all that it holds, and a thousand come back at
 * once, so the general reader would be a third of the work. Throws on bytes that are none; unknown fields are skipped.
 * Source: envoy.service.discovery.v3, field numbers; protobuf encoding.
 */
export function readDeltaRequest(message: Uint8Array): DeltaRequest {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length)
  const text = textIn(bytes)
  let part: Text | undefined
  const request: DeltaRequest = {
    ...{ typeUrl: '', responseNonce: '' },
    ...{ resourceNamesSubscribe: [], resourceNamesUnsubscribe: [], initialResourceVersions: new Map() },
  }
  eachField(bytes, [0, bytes.length], (field, from, to) => {
    if (field === 1) request.node = fromBinary(NodeSchema, bytes.subarray(from, to))
    else if (field === 2) request.typeUrl = text(from, to)
    else if (field === 3) request.resourceNamesSubscribe.push(text(from, to))
    else if (field === 4) request.resourceNamesUnsubscribe.push(text(from, to))
    else if (field === 5) {
      part ??= partIn(bytes, text)
      addEntry(request.initialResourceVersions, { bytes, text: part, from, to })
    } else if (field === 6) request.responseNonce = text(from, to)
    else if (field === 7) request.errorDetail = fromBinary(StatusSchema, bytes.subarray(from, to))
  })
  return request
}

type Text = (from: number, to: number) => string
type Place = { readonly bytes: Buffer; readonly text: Text; readonly from: number; readonly to: number }

function addEntry(entries: Map<string, string>, { bytes, text, from, to }: Place): void {
  // As everybody writes it: the key, then the value, neither of more than 127 bytes.
  const keyEnd = from + 2 + (bytes[from + 1] ?? 0)
  const isPlain = bytes[from] === 0x0a && bytes[keyEnd] === 0x12 && keyEnd + 2 + (bytes[keyEnd + 1] ?? 0) === to
  if (isPlain && keyEnd - from < 130 && to - keyEnd < 130) {
    entries.set(text(from + 2, keyEnd), text(keyEnd + 2, to))
    return
  }
  let [key, value] = ['', '']
  eachField(bytes, [from, to], (field, start, end) => {
    if (field === 1) key = text(start, end)
    else if (field === 2) value = text(start, end)
  })
  entries.set(key, value)
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The quick way puts a sign of its own for bytes that are no text; the other throws at them. */
const textIn =
  (bytes: Buffer): Text =>
  (from, to) => {
    const text = bytes.toString('utf8', from, to)
    return text.includes('\ufffd') ? utf8.decode(bytes.subarray(from, to)) : text
  }

/** Parts of one text, for a message that is ASCII throughout: four hundred strings made one by one cost three times as much. */
function partIn(bytes: Buffer, text: Text): Text {
  const whole = bytes.toString('latin1')
  return /[\x80-\xff]/.test(whole) ? text : (from, to) => whole.slice(from, to)
}
