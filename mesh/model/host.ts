import { partsOf, type ServiceKey } from '#mesh/model/id.ts'

/** The one host of a federated service, whatever a member's own DNS domain is. */
export function hostOf(key: ServiceKey): string {
  const { namespace, name } = partsOf(key)
  return `${name}.${namespace}.svc.cluster.local`
}

/** The name that means "all exporters" (MCS API). */
export function clusterSetHostOf(key: ServiceKey): string {
  const { namespace, name } = partsOf(key)
  return `${name}.${namespace}.svc.clusterset.local`
}

/** The SNI between gateways, as Istio's: `outbound_.9080_._.reviews.bookinfo.svc.cluster.local`. */
export const sniOf = (host: string, port: number): string => `outbound_.${port}_._.${host}`

/** Envoy's outbound cluster, as Istio's: `outbound|9080||reviews.bookinfo.svc.cluster.local`. */
export const outboundNameOf = (host: string, port: number): string => `outbound|${port}||${host}`

/** The reserved name at which a gateway answers the relays' probes. */
export const probeSniOf = (cluster: string, mesh: string): string => `probe.${cluster}.${mesh}`
