import type { MeshName, TrustDomain } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { CertificateRequest } from '#mesh/trust/build-certificate.ts'
import { type Certificate, same } from '#mesh/trust/certificate.ts'
import { parseCsr } from '#mesh/trust/csr.ts'
import { ipBytes } from '#mesh/trust/general-name.ts'
import { issuingCaNames, istiodCaNames, istiodHost, relayHosts, relayServingNames } from '#mesh/trust/names.ts'
import { profiles } from '#mesh/trust/profile.ts'

/** All but what the signer adds: pass it to `issueCertificate`. */
export type IssuePlan = Omit<CertificateRequest, 'signature'>

type Asked = {
  /** PKCS#10 of the relay: it contributes its key and nothing else. */
  readonly csr: string | Uint8Array
  /** From the centre's own record of the cluster that authenticated, never from the request. */
  readonly trustDomain: TrustDomain
  /** The authority that signs. */
  readonly issuer: Certificate
  readonly now: Date
  /** 16 random bytes. */
  readonly serial: Uint8Array
}

/**
 * What to sign for a cluster that asks for its issuing CA: confined to its trust domain, 30 days, less where the root
 * ends sooner. Throws `invalid` for a CSR that `parseCsr` refuses or a key that is not P-256, `conflict` when the root is
 * no CA with room for one below, or has ended, or has not begun.
 */
export const planIssuingCa = (asked: Asked & { readonly mesh: MeshName }): IssuePlan => ({
  ...keyed(fitting(asked), 'issuing-ca'),
  names: issuingCaNames(asked.mesh, asked.trustDomain),
})

/**
 * The same for an istiod that stays in a cluster: `istiod-ca`, which nobody renews by itself, for `lifeSeconds`. Throws as
 * `planIssuingCa`.
 */
export const planIstiodCa = (asked: Asked & { readonly mesh: MeshName; readonly lifeSeconds: number }): IssuePlan => ({
  ...keyed(fitting(asked), 'istiod-ca'),
  names: istiodCaNames(asked.mesh, asked.trustDomain),
  lifeSeconds: asked.lifeSeconds,
})

function fitting<T extends Asked>(asked: T): T {
  const { issuer, now } = asked
  if (!issuer.ca || issuer.pathLen === 0) throw unfit('it has no room for an authority below it')
  if (now < issuer.notBefore || now >= issuer.notAfter) throw unfit('it is not valid now')
  return asked
}

/**
 * What to sign for a relay's serving certificate; `issuer` is the control-plane CA. `dns` and `ips` are where the proxies
 * of its own cluster dial it.
 *
 * Throws as `planIssuingCa`, and `forbidden` for a name that is not a relay's, or an address in `reserved` (the centre's
 * own): a member could otherwise stand in for the centre, whose certificate comes from the same authority.
 */
export function planRelayServing({ dns, ips, reserved, ...asked }: RelayAsked): IssuePlan {
  const { issuer, now } = asked
  if (!issuer.ca) throw unfit('it is no authority')
  if (now < issuer.notBefore || now >= issuer.notAfter) throw unfit('it is not valid now')
  const stranger =
    dns.find((name) => !relayHosts.includes(name)) ??
    ips.find((ip) => reserved.some((other) => same(ipBytes(ip), ipBytes(other))))
  if (stranger !== undefined) {
    throw new Problem(
      'forbidden',
      `a relay may not be certified for "${stranger}": its names are ${relayHosts.join(', ')}, its addresses its own`,
    )
  }
  const names = relayServingNames(asked.trustDomain, { asIstiod: dns.includes(istiodHost), ips })
  return { ...keyed(asked, 'relay-serving'), names }
}

type RelayAsked = Asked & {
  readonly dns: readonly string[]
  readonly ips: readonly string[]
  readonly reserved: readonly string[]
}

function keyed(asked: Asked, profile: 'issuing-ca' | 'istiod-ca' | 'relay-serving'): Omit<IssuePlan, 'names'> {
  const { spki, kind } = parseCsr(asked.csr)
  const keys: readonly string[] = profiles[profile].keys
  if (!keys.includes(kind)) {
    const reason = `the key is ${kind}; this certificate takes ${keys.join(' or ')}`
    throw new Problem('invalid', `the certificate request is refused: ${reason}`, {
      violations: [{ path: 'csr', reason }],
    })
  }
  return { profile, publicKey: spki, issuer: asked.issuer, now: asked.now, serial: asked.serial }
}

const unfit = (reason: string): Problem =>
  new Problem('conflict', `the authority cannot sign this certificate: ${reason}; rotate it first`)
