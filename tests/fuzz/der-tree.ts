import fc from 'fast-check'

/** A DER value: its tag byte, and its parts or plain bytes. An OCTET STRING that holds a value counts as having parts. */
type Node = { readonly tag: number; readonly parts?: readonly Node[]; readonly bytes: Uint8Array }

/** One change in a tree: at the n-th value of it. */
export type TreeChange = readonly [
  at: number,
  how: 'drop' | 'twice' | 'swap' | 'tag' | 'byte' | 'empty' | 'longer' | 'nothing',
  byte: number,
]
export const treeChanges = (): fc.Arbitrary<readonly TreeChange[]> =>
  fc.array(
    fc.tuple(
      fc.nat({ max: 400 }),
      fc.constantFrom('drop', 'twice', 'swap', 'tag', 'byte', 'byte', 'byte', 'empty', 'longer', 'nothing'),
      fc.nat({ max: 255 }),
    ),
    { minLength: 1, maxLength: 3 },
  )

/** The value changed as told, with all lengths around the changes put right: what a forger with a key can have signed. */
export function changedTree(der: Uint8Array, list: readonly TreeChange[]): Uint8Array {
  let tree = read(der, 0).node
  for (const change of list) tree = apply(tree, change)
  return write(tree)
}

function read(bytes: Uint8Array, from: number): { readonly node: Node; readonly end: number } {
  const tag = bytes[from] ?? 0
  const first = bytes[from + 1] ?? 0
  const wide = first < 0x80 ? 0 : first & 0x7f
  const length =
    wide === 0 ? first : [...bytes.subarray(from + 2, from + 2 + wide)].reduce((sum, b) => sum * 256 + b, 0)
  const start = from + 2 + wide
  const end = start + length
  if (end > bytes.length || wide > 3) throw new Error('not DER')
  const content = bytes.subarray(start, end)
  const parts = (tag & 0x20) !== 0 || tag === 4 ? readAll(content, tag === 4) : undefined
  return { node: { tag, bytes: content, ...(parts ? { parts } : {}) }, end }
}

function readAll(bytes: Uint8Array, maybe: boolean): readonly Node[] | undefined {
  const parts: Node[] = []
  try {
    for (let at = 0; at < bytes.length; ) {
      const { node, end } = read(bytes, at)
      parts.push(node)
      at = end
    }
  } catch (fault) {
    if (maybe) return undefined
    throw fault
  }
  return maybe && parts.length !== 1 ? undefined : parts
}

function write({ tag, parts, bytes }: Node): Uint8Array {
  const content = parts ? Buffer.concat(parts.map(write)) : bytes
  const n = content.length
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff]
  return Uint8Array.from([tag, ...length, ...content])
}

const sizeOf = (node: Node): number => 1 + (node.parts ?? []).reduce((sum, part) => sum + sizeOf(part), 0)

function apply(tree: Node, [at, how, byte]: TreeChange): Node {
  const place = 1 + (at % Math.max(sizeOf(tree) - 1, 1))
  return within(tree, place, (node, siblings, i) => {
    const { tag, bytes, parts } = node
    const plain = (next: Uint8Array): readonly Node[] => [{ tag, bytes: next }]
    if (how === 'drop') return siblings.toSpliced(i, 1)
    if (how === 'twice') return siblings.toSpliced(i, 0, node)
    if (how === 'swap') {
      const j = (i + 1) % siblings.length
      return siblings.map((one, k) => (k === i ? (siblings[j] ?? one) : k === j ? node : one))
    }
    if (how === 'tag') return siblings.with(i, { ...node, tag: byte & 0x1f ? byte : tag })
    if (how === 'empty') return siblings.toSpliced(i, 1, ...plain(new Uint8Array()))
    if (how === 'nothing') return siblings.with(i, { tag: 5, bytes: new Uint8Array() })
    const flat = parts ? Buffer.concat(parts.map(write)) : bytes
    if (how === 'longer') return siblings.toSpliced(i, 1, ...plain(Uint8Array.from([...flat, byte])))
    if (parts) return siblings
    const next = Uint8Array.from(flat)
    if (next.length > 0) next[byte % next.length] = (at * 31 + byte) & 0xff
    return siblings.toSpliced(i, 1, ...plain(next))
  })
}

/** The tree with the siblings of its `place`-th value (in depth first order, the root being 0) replaced. */
function within(
  tree: Node,
  place: number,
  change: (node: Node, siblings: readonly Node[], i: number) => readonly Node[],
): Node {
  let left = place
  const parts = tree.parts ?? []
  for (const [i, part] of parts.entries()) {
    left -= 1
    if (left === 0) return { ...tree, parts: change(part, parts, i) }
    const size = sizeOf(part) - 1
    if (left <= size) return { ...tree, parts: parts.with(i, within(part, left, change)) }
    left -= size
  }
  return tree
}
