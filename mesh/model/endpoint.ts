import type { NetworkName } from '#mesh/model/id.ts'

/** Where something runs. `zone` may be empty. */
export type Locality = { readonly region: string; readonly zone: string }

/**
 * `ready` takes traffic; `draining` ends what it has (a terminating pod that still serves); `not-ready` is counted in
 * totals and never dialled.
 */
export type Health = 'ready' | 'draining' | 'not-ready'

/** One pod behind one service of the own cluster. */
export type Endpoint = {
  readonly address: string
  /** Port number on the pod by the service port's name. */
  readonly ports: Readonly<Record<string, number>>
  readonly health: Health
  readonly locality: Locality
  readonly network: NetworkName
  /** `<namespace>/<pod>`; empty where the slice names no pod. */
  readonly pod: string
  readonly serviceAccount: string
  /** True where the pod carries Istio's label `security.istio.io/tlsMode: istio`. */
  readonly meshed: boolean
  /** Set for headless services whose pods have names of their own. */
  readonly hostname?: string
}
