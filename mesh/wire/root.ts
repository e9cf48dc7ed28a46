import { sha256Hex } from '#mesh/model/canonical.ts'

/**
 * The additive root of a stream: the sum of SHA-256(key NUL bodyHash) over all live items, modulo 2^256, as 64 hex
 * digits. Order does not matter, so producer, store and reader each keep it by adding and taking away single items.
 * It finds loss and bugs, not a hostile producer. Source: additive set hashes.
 */
export const emptyRoot = '0'.repeat(64)

const modulus = 1n << 256n

/** `hash` is the SHA-256 of the item's canonical JSON (`hashOf`). */
const leaf = (key: string, hash: string): bigint => BigInt(`0x${sha256Hex(`${key}\0${hash}`)}`)
const text = (sum: bigint): string => (((sum % modulus) + modulus) % modulus).toString(16).padStart(64, '0')

export const addItem = (root: string, key: string, hash: string): string => text(BigInt(`0x${root}`) + leaf(key, hash))
export const removeItem = (root: string, key: string, hash: string): string =>
  text(BigInt(`0x${root}`) - leaf(key, hash))

/** The root of a whole set of (key, hash). */
export const rootOf = (items: Iterable<readonly [string, string]>): string => {
  let sum = 0n
  for (const [key, hash] of items) sum += leaf(key, hash)
  return text(sum)
}
