import { fromBinary } from '@bufbuild/protobuf'
import type { AdsRequest, Mode } from '#gateway/relay/stream-state.ts'
import type { Node } from '#gen/envoy/config/core/v3/base_pb.js'
import { DeltaDiscoveryRequestSchema, DiscoveryRequestSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'

/** One request of either form, and the node when it carries one. */
export type IncomingRequest = AdsRequest & { readonly node: Node | undefined }

/** Reads a request of the given form. Throws on bytes that are none. */
export function parseRequest(mode: Mode, bytes: Uint8Array): IncomingRequest {
  if (mode === 'sotw') {
    const request = fromBinary(DiscoveryRequestSchema, bytes)
    return {
      ...common(request),
      subscribe: request.resourceNames,
      unsubscribe: [],
      initialVersions: [],
    }
  }
  const plain = plainAnswer(bytes)
  if (plain) return plain
  const request = fromBinary(DeltaDiscoveryRequestSchema, bytes)
  return {
    ...common(request),
    subscribe: request.resourceNamesSubscribe,
    unsubscribe: request.resourceNamesUnsubscribe,
    initialVersions: Object.entries(request.initialResourceVersions),
  }
}

const none: readonly never[] = []
const typeTag = 0x12
const nonceTag = 0x32

/**
 * A delta request that holds nothing but a type and a nonce, as every acknowledgement does: one for each response to
 * each stream, so it is read by hand. Undefined for any other.
 */
function plainAnswer(bytes: Uint8Array): IncomingRequest | undefined {
  const found: { type?: string; nonce?: string } = {}
  for (let at = 0; at < bytes.length; ) {
    const [tag, length = 128] = bytes.subarray(at, at + 2)
    const end = at + 2 + length
    // A longer text, or one that is cut, is left to the other reader.
    if ((tag !== typeTag && tag !== nonceTag) || length > 127 || end > bytes.length) return undefined
    found[tag === typeTag ? 'type' : 'nonce'] = utf8.decode(bytes.subarray(at + 2, end))
    at = end
  }
  const { type, nonce } = found
  if (type === undefined || nonce === undefined) return undefined
  return { type, nonce, node: undefined, subscribe: none, unsubscribe: none, initialVersions: none }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

type Common = {
  readonly typeUrl: string
  readonly node?: Node | undefined
  readonly responseNonce: string
  readonly errorDetail?: { readonly message: string; readonly code: number } | undefined
}

const common = ({ typeUrl, node, responseNonce, errorDetail }: Common) => ({
  type: typeUrl,
  node,
  nonce: responseNonce,
  ...(errorDetail && { error: errorDetail.message || `code ${errorDetail.code}` }),
})
