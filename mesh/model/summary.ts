import type { Gateway } from '#mesh/model/gateway.ts'
import type { PodName } from '#mesh/model/pod-name.ts'

/** Ready and all meshed endpoints of one port in one locality of one cluster. */
export type PortCount = {
  readonly port: number
  readonly region: string
  readonly zone: string
  readonly ready: number
  readonly total: number
}

/** An endpoint that crosses a cluster border: only between clusters of one network. */
export type FlatEndpoint = {
  readonly address: string
  readonly port: number
  /** The service port it stands for. */
  readonly servicePort: number
  readonly region: string
  readonly zone: string
  readonly draining: boolean
  /** Unix ms: when the centre first heard it of this cluster; absent from a centre that keeps no such times. */
  readonly since?: number
  /** Of a headless service's pod that others may call by it. */
  readonly hostname?: string
}

/** One service of one cluster, as others see it. Sorted, so that equal facts give equal bytes. */
export type ServiceSummary = {
  readonly counts: readonly PortCount[]
  /** Present only towards clusters of the same network. */
  readonly flat?: readonly FlatEndpoint[]
  /** Of a headless service: its pods that may be called one by one. */
  readonly podNames?: readonly PodName[]
}

/** How to reach a cluster from another network. */
export type GatewaySummary = { readonly gateways: readonly Gateway[] }

/** What one relay knows of the other clusters: absent = unknown, never the same as a summary with zero. */
export type Summaries = {
  /** By source cluster, then by service key (`<ns>/<svc>`). */
  readonly services: ReadonlyMap<string, ReadonlyMap<string, ServiceSummary>>
  /** By source cluster. */
  readonly gateways: ReadonlyMap<string, GatewaySummary>
}
