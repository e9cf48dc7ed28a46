import type { Certificate } from '#mesh/trust/certificate.ts'
import { certificatePem, same } from '#mesh/trust/certificate.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { nameText } from '#mesh/trust/general-name.ts'
import type { CertificateNames } from '#mesh/trust/names.ts'
import { type ProfileName, profileOf } from '#mesh/trust/profile.ts'

/** One rule and, where it does not hold, every reason. */
export type Verdict = { readonly rule: string; readonly faults: readonly string[] }

export type Verified = {
  readonly profile: ProfileName
  readonly verdicts: readonly Verdict[]
}

export type Expected = {
  readonly now: Date
  /** Roots to end in; undefined where nobody said any: then that rule is left out. */
  readonly roots?: readonly Certificate[]
  readonly as?: ProfileName
  /** The trust domain that it must be of. */
  readonly domain?: string
  /** Trust domains of other meshes, with the roots that speak for each of them alone. */
  readonly foreign?: readonly {
    readonly trustDomain: string
    readonly roots: readonly Certificate[]
    readonly admittedBy: readonly string[]
  }[]
  /** Trust domains of members, and those that were revoked; absent where the centre was not asked. */
  readonly members?: { readonly admitted: readonly string[]; readonly revoked: readonly string[] }
}

/** By the paths of `checkCertificate`, in the order that people read a certificate. */
const rules: readonly (readonly [path: string, rule: string])[] = [
  ['notBefore', 'it has begun'],
  ['notAfter', 'it has not ended, and lives no longer than its kind may'],
  ['publicKey', 'its key is of a kind and size that is taken'],
  ['signatureAlgorithm', 'it is signed by ECDSA with SHA-2'],
  ['serialNumber', 'its serial number is of 128 random bits'],
  ['subject', 'its subject is that of its kind'],
  ['subjectAltName', 'its alternative names are those of its kind and no more'],
  ['basicConstraints', 'it is an authority, or not, as its kind is'],
  ['keyUsage', 'its key usage is that of its kind'],
  ['extendedKeyUsage', 'its extended key usage is that of its kind'],
  ['nameConstraints', 'an issuing CA is shut into its own trust domain'],
  ['extensions', 'every extension that it needs is there and critical where it must be, and no other'],
  ['subjectKeyIdentifier', 'its key identifier is that of its key'],
  ['issuer', 'it names its issuer'],
  ['authorityKeyIdentifier', 'it names its issuer’s key'],
  ['signature', 'its issuer signed it'],
]

/** Every rule for the first certificate of `chain`, then those for the way to a root. The others of it are its issuers. */
export function verifyChain(chain: readonly [Certificate, ...Certificate[]], expected: Expected): Verified {
  const [own, parent] = chain
  const { now, roots, as, domain, members } = expected
  const theirs = expected.foreign?.find(({ trustDomain }) => trustDomain === trustDomainOf(own))
  if (theirs && as === undefined) return { profile: 'workload', verdicts: foreignVerdicts(chain, theirs, expected) }
  const profile = as ?? kindOf(own)
  const issuer = parent ?? roots?.find((root) => same(root.subject, own.issuer))
  const selfSigned = profileOf(profile).issuedBy === 'self'
  const known = selfSigned ? { issuer: 'self' as const } : issuer ? { issuer } : {}
  const found = checkCertificate(own, profile, { names: namesOf(own, profile), now, ...known })
  const faultsAt = (path: string) => found.filter((one) => one.path === path).map(({ reason }) => reason)
  const applies = ([path]: readonly [string, string]) =>
    ('issuer' in known || !['issuer', 'authorityKeyIdentifier', 'signature'].includes(path)) &&
    (profileOf(profile).confined || path !== 'nameConstraints' || faultsAt(path).length > 0)
  const verdicts = rules.filter(applies).map(([path, rule]) => ({ rule, faults: faultsAt(path) }))
  const others = found.filter(({ path }) => !rules.some(([one]) => one === path))
  return {
    profile,
    verdicts: [
      ...verdicts,
      ...others.map(({ path, reason }) => ({ rule: path, faults: [reason] })),
      ...(roots ? [pathVerdict(chain, roots, now)] : []),
      ...domainVerdicts(own, domain, members),
    ],
  }
}

/** What another mesh's certificate must be for us: how it is made is theirs to say, whom it names is not. */
function foreignVerdicts(
  chain: readonly [Certificate, ...Certificate[]],
  { trustDomain, roots, admittedBy }: NonNullable<Expected['foreign']>[number],
  { now, domain }: Expected,
): Verdict[] {
  const [own] = chain
  const uris = own.names.filter(({ kind }) => kind === 'uri')
  const faults = checkChain(chain, { roots, now }).map(({ path, reason }) => `${path} ${reason}`.trim())
  const nobody = `no export names spiffe://${trustDomain} as a consumer: it is admitted nowhere`
  return [
    { rule: `every link from it to a root of ${trustDomain} holds (RFC 5280)`, faults },
    { rule: 'it names one id and no other', faults: uris.length === 1 ? [] : [`it names ${uris.length} URIs`] },
    { rule: 'it is no authority', faults: own.ca ? ['it is one, and no server takes that'] : [] },
    ...domainVerdicts(own, domain, undefined),
    { rule: 'some export admits its trust domain', faults: admittedBy.length > 0 ? [] : [nobody] },
  ]
}

function pathVerdict(chain: readonly Certificate[], roots: readonly Certificate[], now: Date): Verdict {
  const faults = checkChain(chain, { roots, now }).map(({ path, reason }) => `${path} ${reason}`.trim())
  return { rule: 'every link from it to a root of the mesh holds (RFC 5280)', faults }
}

function domainVerdicts(own: Certificate, domain: string | undefined, members: Expected['members']): Verdict[] {
  const found = trustDomainOf(own)
  if (found === undefined) return []
  const { admitted = [], revoked = [] } = members ?? {}
  const stranger = `${found} is of no member: ${admitted.join(', ') || 'there are none'}`
  const isRevoked = revoked.includes(found)
  return [
    ...(domain === undefined
      ? []
      : [{ rule: `it is of ${domain}`, faults: found === domain ? [] : [`it is of ${found}`] }]),
    ...(members === undefined
      ? []
      : [
          { rule: 'its trust domain is a member’s', faults: isRevoked || admitted.includes(found) ? [] : [stranger] },
          { rule: 'its trust domain is not revoked', faults: isRevoked ? [`${found} is revoked`] : [] },
        ]),
  ]
}

/** What a certificate seems to be for, by what it says of itself. */
function kindOf(own: Certificate): ProfileName {
  const hosts = own.names.some(({ kind }) => kind === 'dns' || kind === 'ip')
  const hasUri = own.names.some(({ kind }) => kind === 'uri')
  if (own.ca && !same(own.issuer, own.subject)) return 'issuing-ca'
  if (own.ca) return commonNameOf(own).startsWith('control plane') ? 'control-plane-ca' : 'root'
  return hosts ? (hasUri ? 'relay-serving' : 'centre-serving') : 'workload'
}

const commonNameOf = ({ attributes }: Certificate): string => attributes.at(-1)?.text ?? ''

/** The names that it has, in the form that its profile asks for: whether they are the right ones is said by other rules. */
function namesOf(own: Certificate, profile: ProfileName): CertificateNames {
  const [organization = '', commonName = ''] = own.attributes.map(({ text }) => text)
  const [uri] = own.names.flatMap((name) => (name.kind === 'uri' ? [name.text] : []))
  const dns = own.names.flatMap((name) => (name.kind === 'dns' ? [name.text] : []))
  const ips = own.names.flatMap((name) => (name.kind === 'ip' ? [nameText(name)] : []))
  const { subject, uri: wanted, hosts } = profileOf(profile)
  return {
    ...(subject === 'named' ? { subject: { organization, commonName } } : {}),
    ...(wanted !== 'none' && uri !== undefined ? { uri } : {}),
    ...(hosts ? { dns, ips } : {}),
  }
}

export function trustDomainOf(own: Certificate): string | undefined {
  const uri = own.names.find((name) => name.kind === 'uri')
  return uri?.kind === 'uri' ? /^spiffe:\/\/([^/]+)/.exec(uri.text)?.[1] : undefined
}

/** The same certificate twice in one text is one. */
export const distinct = (chain: readonly Certificate[]): readonly Certificate[] => [
  ...new Map(chain.map((one) => [certificatePem(one), one])).values(),
]
