import type { TrustDomain } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { childrenOf, type Der, isTag, itemsOf, sequence, tagged } from '#mesh/trust/der.ts'
import { buildGeneralName, type GeneralName, readGeneralName } from '#mesh/trust/general-name.ts'
import { trustDomainFault } from '#mesh/trust/spiffe-id.ts'

export type NameConstraints = {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
}

/**
 * The one shape that Envoy, OpenSSL and Go were all measured to enforce for "this trust domain and nothing else":
 * permitted URI = the exact domain, permitted e-mail = a domain that cannot exist (OpenSSL ignores an excluded e-mail ""),
 * excluded DNS "" and all addresses. No directory name: Go refuses the whole chain for it. `hostsBelow`: a domain whose DNS
 * names are let through, and no others.
 */
export const shutInto = (trustDomain: TrustDomain, hostsBelow?: string): NameConstraints => ({
  permitted: [
    { kind: 'uri', text: trustDomain },
    { kind: 'email', text: 'none.invalid' },
    ...(hostsBelow === undefined ? [] : [{ kind: 'dns', text: hostsBelow } as const]),
  ],
  excluded: [
    ...(hostsBelow === undefined ? [{ kind: 'dns', text: '' } as const] : []),
    { kind: 'ip', bytes: new Uint8Array(8) },
    { kind: 'ip', bytes: new Uint8Array(32) },
  ],
})

export function buildNameConstraints({ permitted, excluded }: NameConstraints): Der {
  const subtrees = (names: readonly GeneralName[]): Der[] =>
    names.map((name) => {
      if (name.kind === 'other') throw new Problem('internal', 'a name constraint of this kind is never built')
      return sequence(buildGeneralName(name))
    })
  return sequence(
    ...(permitted.length > 0 ? [tagged(0, subtrees(permitted))] : []),
    ...(excluded.length > 0 ? [tagged(1, subtrees(excluded))] : []),
  )
}

/**
 * Throws `invalid` where the extension is not well formed, is empty, uses minimum and maximum, which RFC 5280 forbids, or
 * holds a base that is none of its kind (a mask with holes, say).
 */
export function readNameConstraints(node: Der): NameConstraints {
  const what = 'nameConstraints'
  const out: Record<'permitted' | 'excluded', GeneralName[]> = { permitted: [], excluded: [] }
  const parts = itemsOf(node, what)
  const isOrdered = parts.length === 1 || (parts.length === 2 && isTag(parts[0], 0))
  for (const part of parts) {
    const list = isTag(part, 0) ? out.permitted : isTag(part, 1) ? out.excluded : undefined
    if (!list || !isOrdered || list.length > 0) throw new Problem('invalid', `${what} holds an unknown part`)
    for (const subtree of childrenOf(part, what)) {
      const [base, ...rest] = itemsOf(subtree, what)
      if (!base || rest.length > 0) throw new Problem('invalid', `${what} holds a subtree with a range`)
      const name = readGeneralName(base, what)
      if (!isBase(name)) throw new Problem('invalid', `${what} holds what is no base of its kind`)
      list.push(name)
    }
    if (list.length === 0) throw new Problem('invalid', `${what} holds an empty part`)
  }
  if (parts.length === 0) throw new Problem('invalid', `${what} is empty`)
  return out
}

const isHost = (text: string): boolean => text.split('.').every((label) => /^[A-Za-z0-9_-]{1,63}$/.test(label))
const isBelow = (text: string): boolean => isHost(text.replace(/^\./, ''))

/** Whether a name may be the base of a constraint: a host, with a dot before it all below it; an address with its mask. */
function isBase(name: GeneralName): boolean {
  if (name.kind === 'ip') return (name.bytes.length === 8 || name.bytes.length === 32) && isMask(name.bytes)
  if (name.kind === 'uri') return isBelow(name.text) && !/^[0-9.]+$/.test(name.text)
  if (name.kind === 'dns') return name.text === '' || isBelow(name.text)
  if (name.kind === 'email') return name.text === '' || isBelow(name.text.replace(/^[!-?A-~]+@/, ''))
  return true
}

/** Ones and then zeros: the second half of an address constraint. */
function isMask(range: Uint8Array): boolean {
  const bits = [...range.subarray(range.length / 2)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return /^1*0*$/.test(bits)
}

/**
 * Why `name` may not stand below a CA with these constraints; undefined where it may (RFC 5280 §4.2.1.10).
 *
 * Stricter than the RFC where validators differ: a name of a kind that a constraint speaks of but that we cannot
 * evaluate is refused, and so is a URI whose host is not plainly a host name (user, port, address).
 */
export function constraintFault({ permitted, excluded }: NameConstraints, name: GeneralName): string | undefined {
  const sameKind = (base: GeneralName): boolean =>
    base.kind === name.kind && (base.kind !== 'other' || name.kind !== 'other' || base.tag === name.tag)
  const allowed = permitted.filter(sameKind)
  const shut = excluded.filter(sameKind)
  if (allowed.length === 0 && shut.length === 0) return undefined
  const fault = unreadable(name)
  if (fault) return fault
  if (shut.some((base) => isWithin(name, base))) return 'lies in an excluded subtree'
  if (allowed.length > 0 && !allowed.some((base) => isWithin(name, base))) return 'lies outside the permitted subtree'
  return undefined
}

/** All up to the first slash: OpenSSL reads `a.b?x` as a host, others `a.b`, and what two read differently nobody takes. */
const hostOf = (uri: string): string => /^[a-z][a-z0-9+.-]*:\/\/([^/]*)/i.exec(uri)?.[1] ?? ''

function unreadable(name: GeneralName): string | undefined {
  if (name.kind === 'other') return 'is of a kind that constraints cannot be checked for'
  if (name.kind === 'uri' && trustDomainFault(hostOf(name.text).toLowerCase())) return 'has no plain host name'
  return undefined
}

function isWithin(name: GeneralName, base: GeneralName): boolean {
  if (name.kind === 'ip' && base.kind === 'ip') return isInRange(name.bytes, base.bytes)
  if (name.kind === 'uri' && base.kind === 'uri') return isHostWithin(hostOf(name.text), base.text)
  if (name.kind === 'dns' && base.kind === 'dns') return isDomainWithin(name.text, base.text)
  if (name.kind === 'email' && base.kind === 'email') return isMailWithin(name.text, base.text)
  return false
}

const lower = (text: string): string => text.toLowerCase()

/** A URI constraint is one exact host; with a leading dot, everything below it. */
const isHostWithin = (host: string, base: string): boolean =>
  base.startsWith('.') ? lower(host).endsWith(lower(base)) : lower(host) === lower(base)

/** A DNS constraint is a domain and everything below it; the empty one is every name. */
function isDomainWithin(domain: string, base: string): boolean {
  if (base === '' || lower(domain) === lower(base)) return true
  return lower(domain).endsWith(base.startsWith('.') ? lower(base) : `.${lower(base)}`)
}

function isMailWithin(mail: string, base: string): boolean {
  const host = mail.slice(mail.lastIndexOf('@') + 1)
  if (base === '') return true
  return base.includes('@') ? mail === base : isHostWithin(host, base)
}

/** `range` is address then mask. An address of the other family is outside. */
const isInRange = (address: Uint8Array, range: Uint8Array): boolean =>
  range.length === 2 * address.length &&
  address.every((byte, i) => ((byte ^ (range[i] ?? 0)) & (range[address.length + i] ?? 0)) === 0)
