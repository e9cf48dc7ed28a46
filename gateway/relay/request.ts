import { fromBinary } from '@bufbuild/protobuf'
import { broughtNothing } from '#gateway/relay/brought.ts'
import { readDeltaRequest } from '#gateway/relay/delta-request.ts'
import type { AdsRequest, Mode } from '#gateway/relay/stream-state.ts'
import type { Node } from '#gen/envoy/config/core/v3/base_pb.js'
import { DiscoveryRequestSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'

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
      brought: broughtNothing,
    }
  }
  const request = readDeltaRequest(bytes)
  return {
    ...common(request),
    subscribe: request.resourceNamesSubscribe,
    unsubscribe: request.resourceNamesUnsubscribe,
    brought: request.initialResourceVersions,
  }
}

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
