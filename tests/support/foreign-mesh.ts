import { parseCertificate } from '#mesh/trust/certificate.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { type Holder, keyInHand, makeControlPlaneCa } from '#tests/support/authorities.ts'
import { type AnyName, type Crooked, crooked } from '#tests/support/crooked.ts'
import type { Pair } from '#tests/support/impostors.ts'

/** A root as somebody else makes it: signed by itself, with the constraints they want or none. */
export async function foreignRoot(subject: string, ca: Crooked['ca'] = {}, more: Crooked = {}): Promise<Holder> {
  const key = keyInHand()
  // The name of an issuer is taken from a certificate of it.
  const first = await crooked({ ...more, ca, subject, key }, await makeControlPlaneCa())
  const { der } = await crooked({ ...more, ca, subject, key }, { key, certificate: parseCertificate(first.der) })
  return { key, certificate: parseCertificate(der), pem: toPem(der) }
}

/** An issuing CA of theirs, confined by nothing. */
export async function foreignIssuing(by: Holder, subject: string): Promise<Holder> {
  const { der, key } = await crooked({ ca: { pathLen: 0 }, subject }, by)
  return { key, certificate: parseCertificate(der), pem: toPem(der) }
}

/** A certificate of whoever holds `by`, with whatever names they like. */
export async function foreignLeaf(
  by: Holder,
  names: readonly AnyName[],
  { chain = by.pem, ...more }: Crooked & { readonly chain?: string } = {},
): Promise<Pair> {
  const { der, key } = await crooked({ names, ...more }, by)
  return { key: key.keyPem, cert: toPem(der) + chain }
}

/** What they hand to others: a SPIFFE bundle. */
export const spiffeText = (sequence: number, ...roots: readonly Holder[]): string =>
  JSON.stringify({
    keys: roots.map(({ certificate }) => {
      const { kty, crv, x, y } = certificate.publicKey.key.export({ format: 'jwk' })
      return { use: 'x509-svid', kty, crv, x, y, x5c: [Buffer.from(certificate.der).toString('base64')] }
    }),
    spiffe_sequence: sequence,
    spiffe_refresh_hint: 300,
  })
