import { fromBinary } from '@bufbuild/protobuf'
import { type Brought, broughtIn, broughtNothing } from '#gateway/relay/brought.ts'
import { eachField, textIn, textsOf } from '#gateway/relay/fields.ts'
import { type Node, NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { type Status, StatusSchema } from '#gen/google/rpc/status_pb.js'

/** A DeltaDiscoveryRequest as it came. */
export type DeltaRequest = {
  typeUrl: string
  responseNonce: string
  /** These hold on to the message, too. */
  resourceNamesSubscribe: string[]
  readonly resourceNamesUnsubscribe: string[]
  initialResourceVersions: Brought
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
  const [names, entries]: [number[], number[]] = [[], []]
  const request: DeltaRequest = {
    ...{ typeUrl: '', responseNonce: '', resourceNamesSubscribe: [], resourceNamesUnsubscribe: [] },
    initialResourceVersions: broughtNothing,
  }
  eachField(bytes, [0, bytes.length], (field, from, to) => {
    if (field === 1) request.node = fromBinary(NodeSchema, bytes.subarray(from, to))
    else if (field === 2) request.typeUrl = text(from, to)
    else if (field === 3) names.push(from, to)
    else if (field === 4) request.resourceNamesUnsubscribe.push(text(from, to))
    else if (field === 5) entries.push(from, to)
    else if (field === 6) request.responseNonce = text(from, to)
    else if (field === 7) request.errorDetail = fromBinary(StatusSchema, bytes.subarray(from, to))
  })
  request.resourceNamesSubscribe = textsOf(bytes, names)
  request.initialResourceVersions = broughtIn(bytes, entries)
  return request
}
