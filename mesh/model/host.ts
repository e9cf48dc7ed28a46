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

/** One cluster's part of a federated service: there only where that cluster's export asks for it. */
export const clusterHostOf = (key: ServiceKey, cluster: string): string => `${cluster}.${clusterSetHostOf(key)}`

/** One pod of a headless service, in whatever cluster. Source: MCS API DNS specification (KEP-1645) §2.4. */
export const podHostOf = (key: ServiceKey, cluster: string, hostname: string): string =>
  `${hostname}.${clusterHostOf(key, cluster)}`

/** One pod of a headless service, as its own cluster names it (Kubernetes DNS specification). */
export const ownPodHostOf = (key: ServiceKey, hostname: string): string => `${hostname}.${hostOf(key)}`

/** The SNI between gateways, as Istio's: `outbound_.9080_._.reviews.bookinfo.svc.cluster.local`. */
export const sniOf = (host: string, port: number): string => `outbound_.${port}_._.${host}`

/** Envoy's outbound cluster, as Istio's: `outbound|9080||reviews.bookinfo.svc.cluster.local`. */
export const outboundNameOf = (host: string, port: number): string => `outbound|${port}||${host}`

/** The reserved name at which a gateway answers the relays' probes. */
export const probeSniOf = (cluster: string, mesh: string): string => `probe.${cluster}.${mesh}`
