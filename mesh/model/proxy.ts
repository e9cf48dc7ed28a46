import type { Locality } from '#mesh/model/endpoint.ts'

/** Where a proxy without traffic redirection listens (INTERCEPTION_MODE NONE). */
export type PlainAddresses = {
  /** The application's own address; the inbound side forwards `<pod ip>:<port>` to `<application>:<port>`. */
  readonly application: string
  /** Outbound HTTP listeners bind here, one per port; the Host header decides. */
  readonly outbound: string
  /** Address to bind for a TCP or TLS service, by `<host>:<port>`. */
  readonly tcp: Readonly<Record<string, string>>
}

/** What one connected proxy says about itself, after its identity was checked against its certificate or token. */
export type Proxy = {
  readonly kind: 'sidecar' | 'router'
  /** The whole node id, unique among the relay's connections. */
  readonly id: string
  readonly namespace: string
  readonly pod: string
  readonly serviceAccount: string
  readonly ips: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly locality: Locality
  readonly interception: 'NONE' | 'REDIRECT' | 'TPROXY'
  /** Present with NONE. */
  readonly plain?: PlainAddresses
  /** Where a router listens, where its node says so (metadata `ISTHMUS.gateway`). */
  readonly gateway?: { readonly address: string; readonly port: number }
}
