import type { Image } from '#tests/support/kubernetes/node/running.ts'

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
  readonly nodes: readonly { readonly name: string; readonly region: string; readonly zone: string }[]
  /** By name, without tag. */
  readonly images: Readonly<Record<string, Image>>
}

/** What its log says when all of it runs. */
export const readyLine = 'the node is ready'
