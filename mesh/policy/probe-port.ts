import { isHttp, type Protocol, type ServicePort } from '#mesh/model/service.ts'
import type { ServiceProbe } from '#mesh/model/traffic-policy.ts'

/** How often a service is asked where its policy does not say. */
export const probeEverySeconds = 3

/** Whom each kind asks first, where a service has several ports that it could ask. */
const speaks: Readonly<Record<ServiceProbe['kind'], readonly Protocol[]>> = {
  http: ['http', 'http2', 'grpc'],
  grpc: ['grpc', 'http2', 'http'],
  tcp: ['tcp', 'tls', 'http', 'http2', 'grpc'],
}

/** True where such a probe could be answered at such a port: a stream knows no request. */
export const isProbed = ({ kind }: Pick<ServiceProbe, 'kind'>, { protocol }: Pick<ServicePort, 'protocol'>): boolean =>
  kind === 'tcp' || isHttp(protocol)

/** The port that a probe means; undefined where the service has none that could answer it. */
export function probedPort<P extends Pick<ServicePort, 'port' | 'protocol'>>(
  probe: Pick<ServiceProbe, 'kind' | 'port'>,
  ports: readonly P[],
): P | undefined {
  if (probe.port !== undefined) return ports.find((one) => one.port === probe.port && isProbed(probe, one))
  const fitting = ports.filter((one) => isProbed(probe, one)).toSorted((a, b) => a.port - b.port)
  const order = speaks[probe.kind]
  return fitting.toSorted((a, b) => order.indexOf(a.protocol) - order.indexOf(b.protocol))[0]
}
