import { Problem } from '#mesh/model/problem.ts'
import { contentOf, type Der, isTag, tagged } from '#mesh/trust/der.ts'

/**
 * A GeneralName (RFC 5280 §4.2.1.6). An address is its bytes: 4 or 16 in a name, twice that (address, mask) in a
 * constraint. Kinds we never issue are `other`, with their tag: present is what matters about them.
 */
export type GeneralName =
  | { readonly kind: 'uri' | 'dns' | 'email'; readonly text: string }
  | { readonly kind: 'ip'; readonly bytes: Uint8Array }
  | { readonly kind: 'other'; readonly tag: number }

const tags = { email: 1, dns: 2, uri: 6 } as const
const ipTag = 7

export function buildGeneralName(name: Exclude<GeneralName, { kind: 'other' }>): Der {
  return name.kind === 'ip'
    ? tagged(ipTag, name.bytes)
    : tagged(tags[name.kind], new Uint8Array(Buffer.from(name.text)))
}

/** Throws `invalid` for a name that is no GeneralName, or text outside printable ASCII (IA5String without control codes). */
export function readGeneralName(node: Der, what: string): GeneralName {
  const tag = [0, 1, 2, 3, 4, 5, 6, 7, 8].find((candidate) => isTag(node, candidate))
  if (tag === undefined) throw new Problem('invalid', `${what} holds something that is not a name`)
  if (tag === ipTag) return { kind: 'ip', bytes: contentOf(node, what) }
  const kind = (['email', 'dns', 'uri'] as const).find((candidate) => tags[candidate] === tag)
  if (!kind) return { kind: 'other', tag }
  const text = Buffer.from(contentOf(node, what)).toString('latin1')
  if (!/^[\x20-\x7e]*$/.test(text)) throw new Problem('invalid', `${what} holds a name that is not printable ASCII`)
  return { kind, text }
}

/** The bytes of a literal address, 4 or 16 of them; throws `invalid` for anything else. */
export function ipBytes(text: string): Uint8Array {
  const bytes = text.includes(':') ? v6Bytes(text) : v4Bytes(text)
  if (!bytes) throw new Problem('invalid', `"${text}" is not an IP address`)
  return bytes
}

/** As people write it: an address in figures, `name of kind 3` for what we never issue. */
export function nameText(name: GeneralName): string {
  if (name.kind === 'other') return `name of kind ${name.tag}`
  if (name.kind !== 'ip') return name.text
  if (name.bytes.length === 4) return name.bytes.join('.')
  const groups = Array.from({ length: name.bytes.length / 2 }, (_, n) => Buffer.from(name.bytes).readUInt16BE(2 * n))
  return groups.map((group) => group.toString(16)).join(':')
}

function v4Bytes(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  const numbers = parts.map((part) => (/^(0|[1-9][0-9]{0,2})$/.test(part) ? Number(part) : 256))
  return parts.length === 4 && numbers.every((n) => n <= 255) ? Uint8Array.from(numbers) : undefined
}

function v6Bytes(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')))
  const [head = [], tail = []] = groups
  const missing = 8 - head.length - tail.length
  if (halves.length > 2 || (halves.length === 2 ? missing < 1 : missing !== 0)) return undefined
  const all = [...head, ...Array<string>(halves.length === 2 ? missing : 0).fill('0'), ...tail]
  if (!all.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined
  return Uint8Array.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]))
}
