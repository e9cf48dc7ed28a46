import { BlockList, isIPv4, isIPv6 } from 'node:net'

/** A range of addresses, as CIDRs are written: `10.0.0.0/16`, `fd00:10::/64`. */
type Range = { readonly address: string; readonly bits: number; readonly family: 'ipv4' | 'ipv6' }

/** Why a text is no CIDR; undefined where it is one. Bits behind the prefix may be set, as clouds show them. */
export const cidrFault = (text: string): string | undefined =>
  rangeOf(text) ? undefined : 'is no CIDR such as 10.0.0.0/16 or fd00:10::/64'

/**
 * Whether two CIDRs have an address in common; of two families, or where one is none, they have not. Of two CIDRs one
 * holds the other or they are apart, so the first address of one of them tells.
 */
export function cidrsOverlap(one: string, other: string): boolean {
  const [a, b] = [rangeOf(one), rangeOf(other)]
  if (!a || !b || a.family !== b.family) return false
  const [wide, narrow] = a.bits <= b.bits ? [a, b] : [b, a]
  const list = new BlockList()
  list.addSubnet(wide.address, wide.bits, wide.family)
  return list.check(narrow.address, narrow.family)
}

function rangeOf(text: string): Range | undefined {
  const [, address = '', bits = ''] = /^([0-9a-fA-F.:]{2,45})\/(0|[1-9]\d{0,2})$/.exec(text) ?? []
  const count = Number(bits || Number.NaN)
  if (isIPv4(address) && count <= 32) return { address, bits: count, family: 'ipv4' }
  if (isIPv6(address) && count <= 128) return { address, bits: count, family: 'ipv6' }
  return undefined
}
