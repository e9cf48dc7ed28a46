/** The type URLs that a relay serves to proxies, in the order in which they must be applied when adding (make before break). */
export const typeUrls = {
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoint: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  secret: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
} as const

export type TypeUrl = (typeof typeUrls)[keyof typeof typeUrls]

/**
 * One named xDS object, encoded once. Two resources with the same `version` have the same bytes: the version is the
 * content hash, so a relay compares versions and never bytes. The same object is shared by every stream that needs it.
 */
export type XdsResource = {
  readonly type: TypeUrl
  readonly name: string
  /** The serialised message (the value of the Any, without the type URL). */
  readonly bytes: Uint8Array
  /** First 16 hex digits of SHA-256 over `bytes`. */
  readonly version: string
  /** The object of the user that this resource comes from (`service bookinfo/reviews`): what a NACK sets aside. */
  readonly owner?: string
}

/** All that one proxy is to be served, by type and then by name. A type that is absent has no resources. */
export type ResourceSet = { readonly [type in TypeUrl]?: ReadonlyMap<string, XdsResource> }
