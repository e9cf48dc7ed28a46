/** An east-west gateway as other clusters dial it. `down` is the own cluster's word; `unknown` is dialled. */
export type Gateway = {
  /** An IP address, or a host name: each relay that dials it resolves it before it renders (`gateway-address.ts`). */
  readonly address: string
  readonly port: number
  readonly state: 'ready' | 'down' | 'unknown'
  /** Unix ms: when the centre first heard this IP address of its cluster; absent for a name, and in the own cluster's word. */
  readonly since?: number
}
