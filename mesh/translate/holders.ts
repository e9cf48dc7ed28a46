import { gatewayAddressOf } from '#mesh/model/gateway-address.ts'
import { compareText } from '#mesh/translate/encode.ts'

/** Somewhere to connect to. */
export type Address = { readonly address: string; readonly port: number }

/** What one source cluster says is its own. `since`: Unix ms by the centre's clock; absent = nobody knows. */
export type Claim = {
  readonly cluster: string
  /** True for the own cluster's word about its own pods. */
  readonly own: boolean
  readonly addresses: readonly (Address & { readonly since?: number })[]
}

/** One text for each address and port, however it is spelled; an IPv4 address in IPv6 clothes is that IPv4 address. */
export function addressKey({ address, port }: Address): string {
  if (!address.includes(':')) return `${address}:${port}`
  const plain = gatewayAddressOf(address)
  return `${/^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain)?.[1] ?? plain}:${port}`
}

/**
 * A function that says whether an address is a cluster's. Envoy knows an endpoint by its address alone and merges equal
 * ones, so of two clusters that name one address only one can be proved there, and calls of the other fail.
 *
 * Each address is one cluster's: the own one's where it is an own pod, else of who claimed it first by the centre's clock,
 * which no member sets; a claim of unknown age is the youngest, and between equals the name decides. So whoever comes
 * later and names the pods or gateways of another takes nothing from it.
 */
export function holdersOf(claims: readonly Claim[]): (cluster: string, address: Address) => boolean {
  if (claims.length < 2) return () => true
  const holders = new Map<string, { readonly cluster: string; readonly since: number }>()
  for (const { cluster, own, addresses } of claims.toSorted((a, b) => compareText(a.cluster, b.cluster)))
    for (const said of addresses) {
      const since = own ? Number.NEGATIVE_INFINITY : (said.since ?? Number.POSITIVE_INFINITY)
      const key = addressKey(said)
      const holder = holders.get(key)
      if (holder === undefined || since < holder.since) holders.set(key, { cluster, since })
    }
  return (cluster, address) => holders.get(addressKey(address))?.cluster === cluster
}
