/** All that differs between the installations of two clusters. */
export type OnboardSettings = {
  readonly cluster: string
  readonly mesh: string
  /** Of the cluster: the identity of its relay is in it. */
  readonly trustDomain: string
  readonly region: string
  readonly network: string
  readonly images: { readonly relay: string; readonly proxy: string }
  readonly gateway: {
    /** Of a load balancer that is made by hand; none = what the Service is given. */
    readonly addresses: readonly { readonly address: string; readonly port: number }[]
    readonly annotations: Readonly<Record<string, string>>
    readonly replicas: number
  }
  /** IPv4 CIDR of which imported services get addresses; absent = they get none. */
  readonly clusterSetCidr?: string
}

export const gatewayPort = 15443

/** Of the programs' ports, by what they are for. */
export const ports = {
  ...{ proxies: 15012, handOn: 15013, status: 15014, dns: 15053 },
  ...{ gateway: gatewayPort, proxyStatus: 15020 },
} as const

/** ConfigMap of every namespace with meshed pods, and of the gateway: whom they trust. Istio's name for it. */
export const rootConfigMap = 'istio-ca-root-cert'
export const joinSecret = 'relay-join'
/** Made by the relay: its key and membership. */
export const relaySecret = 'relay'

/**
 * How an AWS load balancer is asked for: a network load balancer to the pods themselves, inside the VPC unless it is to be
 * public. Source: AWS Load Balancer Controller, Service annotations.
 */
export const nlbAnnotations = (isPublic: boolean): Readonly<Record<string, string>> => {
  const of = (name: string): string => `service.beta.kubernetes.io/aws-load-balancer-${name}`
  return {
    [of('type')]: 'external',
    [of('nlb-target-type')]: 'ip',
    [of('scheme')]: isPublic ? 'internet-facing' : 'internal',
    [of('attributes')]: 'load_balancing.cross_zone.enabled=true',
  }
}
