import { type Address, addressKey } from '#mesh/model/address.ts'
import { compareText } from '#mesh/translate/encode.ts'

/** What one source cluster says is its own. `since`: Unix ms by the centre's clock; absent = nobody knows. */
export type Claim = {
  readonly cluster: string
  /** True for the own cluster's word about its own pods. */
  readonly own: boolean
  readonly addresses: readonly (Address & { readonly since?: number })[]
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
