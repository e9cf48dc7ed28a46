import type { ServiceKey } from '#mesh/model/id.ts'

/** What a port speaks. `tcp` is opaque bytes; `tls` is the application's own TLS, carried opaquely. WebSocket is `http`. */
export type Protocol = 'http' | 'http2' | 'grpc' | 'tcp' | 'tls'

/** HTTP ports get routes, retries by method and HTTP/2 between proxies; the others are streams of bytes. */
export const isHttp = (protocol: Protocol): boolean =>
  protocol === 'http' || protocol === 'http2' || protocol === 'grpc'

export type ServicePort = {
  /** May be empty where a service has a single port. */
  readonly name: string
  readonly port: number
  readonly protocol: Protocol
  /** False where neither `appProtocol` nor the name said it: the port is opaque TCP, with a warning. */
  readonly declared: boolean
}

/** How many labels of a Service travel. */
export const labelsMax = 16

/** A service of the own cluster, as its Kubernetes object says. */
export type Service = {
  readonly key: ServiceKey
  readonly ports: readonly ServicePort[]
  /** Empty for a headless service. */
  readonly clusterIps: readonly string[]
  readonly headless: boolean
  /** The first `labelsMax` by name; absent = none. */
  readonly labels?: Readonly<Record<string, string>>
  /** Asks that a client stays with one pod (`sessionAffinity`). */
  readonly sticky?: true
  /** Where the object was read, for messages: a file and line, or `kubernetes`. */
  readonly origin: string
}

const byName: Readonly<Record<string, Protocol>> = {
  http: 'http',
  'kubernetes.io/ws': 'http',
  'kubernetes.io/wss': 'tls',
  'kubernetes.io/h2c': 'http2',
  ws: 'http',
  http2: 'http2',
  grpc: 'grpc',
  'grpc-web': 'http',
  tcp: 'tcp',
  https: 'tls',
  tls: 'tls',
  wss: 'tls',
  mongo: 'tcp',
  mysql: 'tcp',
  redis: 'tcp',
}

/**
 * The protocol of a port: `appProtocol` first, then the part of its name before the first hyphen; otherwise opaque TCP.
 * Source: Istio, "Explicit protocol selection"; Kubernetes KEP-3726 for the `kubernetes.io/` names.
 */
export function protocolOf(port: { readonly name?: string; readonly appProtocol?: string }): {
  readonly protocol: Protocol
  readonly declared: boolean
} {
  const said =
    named((port.appProtocol ?? '').toLowerCase()) ??
    named(/^(?:grpc-web|[^-]*)/.exec((port.name ?? '').toLowerCase())?.[0] ?? '')
  return said === undefined ? { protocol: 'tcp', declared: false } : { protocol: said, declared: true }
}

/** A port may be called "constructor". */
const named = (name: string): Protocol | undefined => (Object.hasOwn(byName, name) ? byName[name] : undefined)
