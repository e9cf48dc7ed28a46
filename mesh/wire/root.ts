import { sha256Hex } from '#mesh/model/canonical.ts'

/**
 * The additive root of a stream: the sum of SHA-256(key NUL bodyHash) over all live items, modulo 2^256, as 64 hex
 * digits. Order does not matter, so producer, store and reader each keep it by adding and taking away single items.
 * It finds loss and bugs, not a hostile producer. Source: additive set hashes.
 */
export const emptyRoot = '0'.repeat(64)

const modulus = 1n << 256n

/** What one item adds to a root; `hash` is the SHA-256 of its canonical JSON (`hashOf`). */
export const leaf = (key: string, hash: string): bigint => BigInt(`0x${sha256Hex(`${key}\0${hash}`)}`)
const text = (sum: bigint): string => (((sum % modulus) + modulus) % modulus).toString(16).padStart(64, '0')

export const addItem = (root: string, key: string, hash: string): string => text(BigInt(`0x${root}`) + leaf(key, hash))
export const removeItem = (root: string, key: string, hash: string): string =>
  text(BigInt(`0x${root}`) - leaf(key, hash))

/** One key of a set and the hashes of what it held and holds; empty = nothing. */
export type Moved = { readonly key: string; readonly before: string; readonly after: string }

/** The root after all of these. */
export function rootAfter(root: string, moves: readonly Moved[]): string {
  let sum = BigInt(`0x${root}`)
  for (const { key, before, after } of moves) {
    if (before !== '') sum -= leaf(key, before)
    if (after !== '') sum += leaf(key, after)
  }
  return text(sum)
}

/** The root of a whole set, of what its items add. */
export const rootOfLeaves = (leaves: Iterable<bigint>): string => {
  let sum = 0n
  for (const one of leaves) sum += one
  return text(sum)
}

/** The root of a whole set of (key, hash). */
export function rootOf(items: Iterable<readonly [string, string]>): string {
  return rootOfLeaves([...items].map(([key, hash]) => leaf(key, hash)))
}
