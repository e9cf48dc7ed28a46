import type { Image } from '#tests/support/kubernetes/node/running.ts'

/** On the address of the node. */
export const apiServerPort = 6443
export const kubeletPort = 10_250

export type NodeSettings = {
  readonly kubeconfig: string
  readonly dir: string
  /** Of the node, on the LAN. */
  readonly address: string
  readonly lan: string
  readonly podCidr: string
  /** What pods have on the LAN: from there they call others. */
  readonly egressCidr: string
  readonly serviceCidr: string
  /** Of load balancers, on the LAN. */
  readonly balancerCidr: string
  readonly dns: string
  /** Of the kubelet's server, whom the API server asks for logs: PEM files. */
  readonly tls: { readonly cert: string; readonly key: string }
  readonly nodes: readonly { readonly name: string; readonly region: string; readonly zone: string }[]
  /** By name, without tag. */
  readonly images: Readonly<Record<string, Image>>
}

/** What its log says when all of it runs. */
export const readyLine = 'the node is ready'
