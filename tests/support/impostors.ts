import { parseCertificate } from '#mesh/trust/certificate.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { type Holder, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { type AnyName, type Crooked, crooked } from '#tests/support/crooked.ts'

/** A certificate chain with its key, as a TLS library wants it. */
export type Pair = { readonly key: string; readonly cert: string }

/** Whom a certificate of cluster A's authority pretends to be, and what A may honestly be called. */
export type Part = {
  readonly own: string
  /** The victim's names, of every kind by which somebody may tell it. */
  readonly victim: { readonly uri: string; readonly dns: string; readonly ip: string; readonly email: string }
}

/** One way in which whoever holds cluster A's key may try to be somebody in cluster B. */
export type Impostor = {
  readonly what: string
  /** It says nothing that A may not say: who takes it takes it as A's own. */
  readonly isOwn?: true
  readonly make: (part: Part, a: Holder) => Promise<Pair>
}

const saying =
  (spec: (part: Part) => Crooked): Impostor['make'] =>
  async (part, a) => {
    const { der, key } = await crooked(spec(part), a)
    return { key: key.keyPem, cert: toPem(der) + a.pem }
  }
const naming = (names: (part: Part) => readonly AnyName[]): Impostor['make'] =>
  saying((part) => ({ names: names(part) }))

/** Below A's own authority, which may have none below it. */
const below: Impostor['make'] = async ({ own, victim }, a) => {
  const middle = await crooked({ ca: { pathLen: 0 }, subject: 'below', names: [{ uri: own }] }, a)
  const by = { key: middle.key, certificate: parseCertificate(middle.der) }
  const leaf = await crooked({ names: [{ uri: victim.uri }] }, by)
  return { key: leaf.key.keyPem, cert: toPem(leaf.der) + toPem(middle.der) + a.pem }
}

/** Under a root that looks like ours, with B's honest name. */
const stranger: Impostor['make'] = async ({ victim }) => {
  const issuing = await makeIssuing(await makeRoot(), 'b')
  const { der, key } = await crooked({ names: [{ uri: victim.uri }] }, issuing)
  return { key: key.keyPem, cert: toPem(der) + issuing.pem }
}

export const impostors: readonly Impostor[] = [
  { what: 'the URI of B', make: naming(({ victim }) => [{ uri: victim.uri }]) },
  { what: 'its own URI, then that of B', make: naming(({ own, victim }) => [{ uri: own }, { uri: victim.uri }]) },
  { what: 'the URI of B, then its own', make: naming(({ own, victim }) => [{ uri: victim.uri }, { uri: own }]) },
  {
    what: 'the URI of B in capitals',
    make: naming(({ victim }) => [{ uri: victim.uri.replace(/\/\/[^/]+/, (host) => host.toUpperCase()) }]),
  },
  {
    what: 'a URI with B behind a user part',
    make: naming(({ own, victim }) => [{ uri: own.replace(/\/\/([^/]+)/, `//$1:x@${domainIn(victim.uri)}`) }]),
  },
  {
    what: 'a URI of a domain below its own',
    make: naming(({ own }) => [{ uri: own.replace('//', `//b.`) }]),
  },
  { what: 'a DNS name that spells the URI of B', make: naming(({ victim }) => [{ dns: victim.uri }]) },
  { what: 'the DNS name of B', make: naming(({ victim }) => [{ dns: victim.dns }]) },
  { what: 'its own URI and the DNS name of B', make: naming(({ own, victim }) => [{ uri: own }, { dns: victim.dns }]) },
  { what: 'the address of B', make: naming(({ victim }) => [{ ip: victim.ip }]) },
  { what: 'its own URI and the address of B', make: naming(({ own, victim }) => [{ uri: own }, { ip: victim.ip }]) },
  { what: 'an e-mail address of B', make: naming(({ victim }) => [{ email: victim.email }]) },
  {
    what: 'its own URI and an e-mail address of B',
    make: naming(({ own, victim }) => [{ uri: own }, { email: victim.email }]),
  },
  {
    what: 'a subject that spells the URI of B, and no other name',
    make: saying(({ victim }) => ({ subject: victim.uri })),
  },
  { what: 'a name of another kind that spells the URI of B', make: naming(({ victim }) => [{ other: victim.uri }]) },
  { what: 'no name at all', make: saying(() => ({})) },
  { what: 'the URI of B, from an authority below that of A', make: below },
  { what: 'the URI of B, from an authority of that name under another root', make: stranger },
  {
    what: 'its own URI, and a subject that spells the URI of B',
    isOwn: true,
    make: saying(({ own, victim }) => ({ names: [{ uri: own }], subject: victim.uri, namesCritical: true })),
  },
  { what: 'its own URI alone', isOwn: true, make: naming(({ own }) => [{ uri: own }]) },
]

const domainIn = (uri: string): string => uri.replace(/^spiffe:\/\//, '').replace(/\/.*$/, '')
