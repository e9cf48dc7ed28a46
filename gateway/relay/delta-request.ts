import { fromBinary } from '@bufbuild/protobuf'
import { type Node, NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { type Status, StatusSchema } from '#gen/google/rpc/status_pb.js'

/** A DeltaDiscoveryRequest as it came. */
export type DeltaRequest = {
  typeUrl: string
  responseNonce: string
  readonly resourceNamesSubscribe: string[]
  readonly resourceNamesUnsubscribe: string[]
  readonly initialResourceVersions: (readonly [name: string, version: string])[]
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
  const request: DeltaRequest = {
    ...{ typeUrl: '', responseNonce: '' },
    ...{ resourceNamesSubscribe: [], resourceNamesUnsubscribe: [], initialResourceVersions: [] },
  }
  eachField(bytes, [0, bytes.length], (field, from, to) => {
    if (field === 1) request.node = fromBinary(NodeSchema, bytes.subarray(from, to))
    else if (field === 2) request.typeUrl = textOf(bytes, from, to)
    else if (field === 3) request.resourceNamesSubscribe.push(textOf(bytes, from, to))
    else if (field === 4) request.resourceNamesUnsubscribe.push(textOf(bytes, from, to))
    else if (field === 5) request.initialResourceVersions.push(entryOf(bytes, from, to))
    else if (field === 6) request.responseNonce = textOf(bytes, from, to)
    else if (field === 7) request.errorDetail = fromBinary(StatusSchema, bytes.subarray(from, to))
  })
  return request
}

function entryOf(bytes: Buffer, from: number, to: number): readonly [string, string] {
  let [key, value] = ['', '']
  eachField(bytes, [from, to], (field, start, end) => {
    if (field === 1) key = textOf(bytes, start, end)
    else if (field === 2) value = textOf(bytes, start, end)
  })
  return [key, value]
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Nearly every text is ASCII, which needs no decoder. */
function textOf(bytes: Buffer, from: number, to: number): string {
  for (let at = from; at < to; at++) if ((bytes[at] ?? 0) > 127) return utf8.decode(bytes.subarray(from, to))
  return bytes.toString('latin1', from, to)
}

/** Calls `take` for each field of wire type 2, with where its bytes begin and end; the others are stepped over. */
function eachField(
  bytes: Buffer,
  [from, to]: readonly [number, number],
  take: (field: number, from: number, to: number) => void,
): void {
  let at = from
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = at < to ? bytes[at] : undefined
      if (byte === undefined) throw new RangeError('a request that ends within a field')
      at += 1
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
    throw new RangeError('a request with a number of more than ten bytes')
  }
  while (at < to) {
    const tag = varint()
    const wire = tag & 7
    if (wire === 0) {
      varint()
      continue
    }
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : Number.NaN
    const end = at + length
    if (!(end <= to)) throw new RangeError('a request with a field that is cut off or of no known form')
    if (wire === 2) take(Math.floor(tag / 8), at, end)
    at = end
  }
}
