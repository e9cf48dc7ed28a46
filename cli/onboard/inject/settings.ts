import type { ProxyPlace } from '#cli/onboard/manifests/proxy.ts'
import { ports } from '#cli/onboard/manifests/settings.ts'

/** All that a sidecar is told and that is not of its own pod. */
export type InjectSettings = ProxyPlace & {
  /** Absent = as the pod is labelled. */
  readonly region?: string
  /** With Envoy and the programs `proxy` and `redirect`. */
  readonly image: string
  /** Istio's CNI plugin installs the redirection: no container of the pod needs a right for that. */
  readonly cni: boolean
}

/** The user of Envoy and of the program beside it: what it sends is not redirected. Istio's number, which its CNI plugin knows. */
export const proxyUser = 1337

/** Where Envoy takes what is redirected, and the status that a kubelet asks. Istio's numbers. */
export const proxyPorts = { outbound: 15001, inbound: 15006, status: ports.proxyStatus } as const

/** Never redirected: SSH, and what is asked of a proxy itself (its status, and the ports that Istio has for the same). */
export const openPorts = [22, proxyPorts.status, 15021, 15090] as const
