import { eachField, partOf, type Text, textIn } from '#gateway/relay/fields.ts'

/** Of a resource that is served: what a client that comes back says of it. */
type Served = { readonly name: string; readonly version: string }

/** What a client says when it comes back: the names it holds, each with its version. */
export type Brought = {
  /** How many entries; a name that is said twice counts twice. */
  readonly size: number
  /** The last word on each name. Texts that hold on to the message: who keeps one keeps a copy (`ownCopy`). */
  versions(): ReadonlyMap<string, string>
  /**
   * True where these are resources of `served`, in just these versions, `count` different ones, and each in `names` where
   * that is given. False says nothing.
   */
  isJust(served: ReadonlyMap<string, Served>, count: number, names?: ReadonlySet<string>): boolean
}

/** Of texts that were read already. */
export const broughtOf = (versions: ReadonlyMap<string, string>): Brought => ({
  size: versions.size,
  versions: () => versions,
  isJust: (served, count, names) =>
    versions.size === count &&
    versions.entries().every(([name, version]) => served.get(name)?.version === version && names?.has(name) !== false),
})

export const broughtNothing = broughtOf(new Map())

/** Of a message whose entries lie between these places (from, to, from, to, …); they are read when they are asked for. */
export function broughtIn(bytes: Buffer, places: readonly number[]): Brought {
  let read: ReadonlyMap<string, string> | undefined
  const versions = () => (read ??= readEntries(bytes, places))
  return {
    size: places.length / 2,
    versions,
    isJust(served, count, names) {
      if (places.length / 2 !== count) return false
      round += 1
      const view = viewOf(bytes)
      for (let at = 0; at < places.length; at += 2) {
        const [from, to] = [places[at] as number, places[at + 1] as number]
        const entry = known(view, from, to) ?? learn(served, bytes, from, to)
        if (!entry || entry.seen === round) return false
        entry.seen = round
        if (served.get(entry.name)?.version !== entry.version || names?.has(entry.name) === false) return false
      }
      return true
    },
  }
}

const viewOf = ({ buffer, byteOffset, length }: Uint8Array): DataView => new DataView(buffer, byteOffset, length)

/** An entry as its bytes were, of a resource that was served in that version. */
type Entry = { readonly bytes: DataView; readonly name: string; readonly version: string; seen: number }

/**
 * A thousand proxies that come back at once bring the same few hundred entries, each in an order of its own: to find one
 * by its bytes costs a fourth of what it costs to read two texts and look them up. Bounded: one entry for each place.
 */
const entries: (Entry | undefined)[] = Array.from({ length: 8192 })
let round = 0

/** By the end of the version, which is a hash; whatever falls on a place is compared as a whole. */
function placeOf(view: DataView, from: number, to: number): number {
  if (to - from < 8) return 0
  const hash = Math.imul(view.getInt32(to - 4), 31) + view.getInt32(to - 8)
  return (hash ^ (hash >>> 7) ^ (hash >>> 17)) & (entries.length - 1)
}

function known(view: DataView, from: number, to: number): Entry | undefined {
  const entry = entries[placeOf(view, from, to)]
  return entry && isSame(entry.bytes, view, from, to) ? entry : undefined
}

/** Eight at a time: one by one is three times as slow. */
function isSame(own: DataView, view: DataView, from: number, to: number): boolean {
  const length = to - from
  if (own.byteLength !== length) return false
  let at = 0
  for (; at + 8 <= length; at += 8) {
    if (own.getInt32(at) !== view.getInt32(from + at)) return false
    if (own.getInt32(at + 4) !== view.getInt32(from + at + 4)) return false
  }
  for (; at < length; at += 1) if (own.getInt8(at) !== view.getInt8(from + at)) return false
  return true
}

function learn(served: ReadonlyMap<string, Served>, ...[bytes, from, to]: [Buffer, number, number]): Entry | undefined {
  const [name, version] = readEntry(bytes, from, to)
  const resource = served.get(name)
  if (resource?.version !== version) return undefined
  // The resource's own strings, and a copy: nothing holds on to the message.
  const own = viewOf(Buffer.from(bytes.subarray(from, to)))
  const entry = { bytes: own, name: resource.name, version: resource.version, seen: 0 }
  entries[placeOf(own, 0, own.byteLength)] = entry
  return entry
}

function readEntries(bytes: Buffer, places: readonly number[]): ReadonlyMap<string, string> {
  const text = partOf(bytes, 0, bytes.length)
  const versions = new Map<string, string>()
  for (let at = 0; at < places.length; at += 2) {
    const [name, version] = readEntry(bytes, places[at] as number, places[at + 1] as number, text)
    versions.set(name, version)
  }
  return versions
}

function readEntry(
  bytes: Buffer,
  from: number,
  to: number,
  text: Text = textIn(bytes),
): [name: string, version: string] {
  // As everybody writes it: the key, then the value, neither of more than 127 bytes.
  const keyEnd = from + 2 + (bytes[from + 1] ?? 0)
  const isPlain = bytes[from] === 0x0a && bytes[keyEnd] === 0x12 && keyEnd + 2 + (bytes[keyEnd + 1] ?? 0) === to
  if (isPlain && keyEnd - from < 130 && to - keyEnd < 130) return [text(from + 2, keyEnd), text(keyEnd + 2, to)]
  let [key, value] = ['', '']
  eachField(bytes, [from, to], (field, start, end) => {
    if (field === 1) key = text(start, end)
    else if (field === 2) value = text(start, end)
  })
  return [key, value]
}
