import { gzipSync } from 'node:zlib'
import { reads, type StreamChange } from '#control/stream-change.ts'
import { type Hint, inlineDeltaBytesMax } from '#mesh/wire/hint.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import type { Head } from '#mesh/wire/sync.ts'

/** JSON beyond this is not even tried: it would not shrink to a frame. */
const plainBytesMax = 20 * inlineDeltaBytesMax

/** One encoding serves every reader of the same changes. */
const encoded = new WeakMap<readonly StreamChange[], Map<string, string | undefined>>()

/**
 * The hint that tells one cluster of `changes`, in their order; undefined where none is for it. Deltas ride along where
 * all of them are known and fit one frame. They do not where a service moves from one audience to another: a reader of
 * both would take its end from one stream before its return in the other, so it pulls both at once.
 */
export function hintFor(
  cluster: string,
  changes: readonly StreamChange[],
  frame: { readonly n: number; readonly urgent?: boolean },
): Hint | undefined {
  const mine = changes.filter((change) => reads(cluster, change))
  if (mine.length === 0) return undefined
  const latest = new Map(mine.map(({ stream, epoch, rev }): [string, Head] => [stream, [stream, epoch, rev]]))
  const delta = encodedOf(changes, mine)
  return {
    n: frame.n,
    heads: [...latest.values()],
    ...(delta === undefined ? {} : { delta }),
    ...(frame.urgent ? { urgent: true } : {}),
  }
}

function encodedOf(changes: readonly StreamChange[], mine: readonly StreamChange[]): string | undefined {
  const memo = encoded.get(changes) ?? new Map<string, string | undefined>()
  encoded.set(changes, memo)
  const name = mine.map(({ stream, rev }) => `${stream}@${rev}`).join(' ')
  if (!memo.has(name)) memo.set(name, encode(mine.map((change) => change.delta)))
  return memo.get(name)
}

function encode(deltas: readonly (StreamDelta | undefined)[]): string | undefined {
  const known = deltas.filter((delta) => delta !== undefined)
  if (known.length < deltas.length || somethingMoves(known)) return undefined
  const plain = JSON.stringify(known)
  if (plain.length > plainBytesMax) return undefined
  const text = gzipSync(plain).toString('base64')
  return text.length <= inlineDeltaBytesMax ? text : undefined
}

/** A key that ends in one stream and lives in another stream of the same source. */
function somethingMoves(deltas: readonly StreamDelta[]): boolean {
  const nameOf = (delta: StreamDelta, key: string) => `${delta.stream.split('/')[1] ?? ''} ${key}`
  const endedIn = new Map<string, Set<string>>()
  for (const delta of deltas)
    for (const { k, v } of delta.items)
      if (v === null) endedIn.set(nameOf(delta, k), (endedIn.get(nameOf(delta, k)) ?? new Set()).add(delta.stream))
  const elsewhere = (delta: StreamDelta, key: string) =>
    [...(endedIn.get(nameOf(delta, key)) ?? [])].some((stream) => stream !== delta.stream)
  return deltas.some((delta) => delta.items.some(({ k, v }) => v !== null && elsewhere(delta, k)))
}
