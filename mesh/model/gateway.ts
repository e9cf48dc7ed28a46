/** An east-west gateway as other clusters dial it. `down` is the own cluster's word; `unknown` is dialled. */
export type Gateway = {
  /** An IP address. Host names are resolved by the relay before they get here. */
  readonly address: string
  readonly port: number
  readonly state: 'ready' | 'down' | 'unknown'
}
