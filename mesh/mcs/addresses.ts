import { sha256Hex } from '#mesh/model/canonical.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { ClusterSetAddresses, OwnImport } from '#mesh/model/view.ts'

/** IPv4 addresses for imported services: numbers from `first` on. */
export type AddressRange = { readonly cidr: string; readonly first: number; readonly size: number }

/** Of one service: what it needs addresses for. */
export type AddressWish = { readonly key: ServiceKey; readonly whole: boolean; readonly parts: readonly string[] }

/** The range without its first and last address. Throws `invalid`. */
export function parseRange(cidr: string): AddressRange {
  const [, address = '', bits = ''] = /^([0-9.]{7,15})\/([0-9]{1,2})$/.exec(cidr) ?? []
  const base = numberOf(address)
  const length = Number(bits)
  const size = 2 ** (32 - length)
  const fault =
    base === undefined || bits === ''
      ? 'is not an IPv4 range such as 241.0.0.0/16'
      : length < 8 || length > 28
        ? 'is none of /8 to /28'
        : base % size !== 0
          ? `does not begin at a multiple of its size: write ${textOf(base - (base % size))}/${length}`
          : undefined
  if (fault !== undefined || base === undefined)
    throw new Problem('invalid', `the range of cluster-set addresses "${cidr}" ${fault}`, {
      violations: [{ path: 'clusterSetCidr', reason: fault ?? '' }],
    })
  return { cidr, first: base + 1, size: size - 2 }
}

/**
 * Whose each address is, of all that ServiceImports name: outside of the range it counts nothing, and of two services with
 * one address the older object keeps it. So nobody takes another service's address, or a Service's, by writing it down.
 */
export function settledAddresses(
  claims: ReadonlyMap<ServiceKey, OwnImport>,
  range: AddressRange,
): ReadonlyMap<ServiceKey, ClusterSetAddresses> {
  const taken = new Set<string>()
  const settled = new Map<ServiceKey, ClusterSetAddresses>()
  const mine = (address: string): boolean => {
    if (taken.has(address) || !isWithin(address, range)) return false
    taken.add(address)
    return true
  }
  const oldestFirst = [...claims.values()].toSorted((a, b) => a.createdAt - b.createdAt || (a.key < b.key ? -1 : 1))
  for (const { key, ip, parts } of oldestFirst) {
    const whole = ip !== undefined && mine(ip) ? { ip } : {}
    settled.set(key, { ...whole, parts: Object.fromEntries(Object.entries(parts).filter(([, one]) => mine(one))) })
  }
  return settled
}

/**
 * Addresses for all wishes: those that are settled stay, the others get free ones. Where one looks first is said by its
 * name, so two relays that choose at the same time seldom choose one address for two. `without` are the services that
 * could not get all of theirs.
 */
export function planAddresses(
  wishes: readonly AddressWish[],
  settled: ReadonlyMap<ServiceKey, ClusterSetAddresses>,
  range: AddressRange,
): { readonly addresses: ReadonlyMap<ServiceKey, ClusterSetAddresses>; readonly without: ReadonlySet<ServiceKey> } {
  const taken = new Set(
    [...settled.values()].flatMap(({ ip, parts }) => [...(ip ? [ip] : []), ...Object.values(parts)]),
  )
  const without = new Set<ServiceKey>()
  const choose = (key: ServiceKey, part: string): string | undefined => {
    const free = freeAddress(`${key} ${part}`, taken, range)
    if (free === undefined) without.add(key)
    else taken.add(free)
    return free
  }
  const addresses = wishes.map(({ key, whole, parts }): [ServiceKey, ClusterSetAddresses] => {
    const has = settled.get(key)
    const ip = whole ? (has?.ip ?? choose(key, '')) : undefined
    const of = parts.flatMap((part): [string, string][] => {
      const found = has?.parts[part] ?? choose(key, part)
      return found === undefined ? [] : [[part, found]]
    })
    return [key, { ...(ip === undefined ? {} : { ip }), parts: Object.fromEntries(of) }]
  })
  return { addresses: new Map(addresses), without }
}

function freeAddress(name: string, taken: ReadonlySet<string>, { first, size }: AddressRange): string | undefined {
  if (taken.size >= size) return undefined
  const start = Number.parseInt(sha256Hex(name).slice(0, 8), 16) % size
  for (let step = 0; step < size; step += 1) {
    const address = textOf(first + ((start + step) % size))
    if (!taken.has(address)) return address
  }
  return undefined
}

const isWithin = (address: string, { first, size }: AddressRange): boolean => {
  const number = numberOf(address)
  return number !== undefined && number >= first && number < first + size
}

function numberOf(address: string): number | undefined {
  const parts = address.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256))
    return undefined
  return parts.reduce((number, part) => number * 256 + Number(part), 0)
}

const textOf = (number: number): string => [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.')
