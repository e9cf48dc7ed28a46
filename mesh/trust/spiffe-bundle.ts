import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import { parseCertificates } from '#mesh/trust/certificate.ts'

/** One authority of a trust domain, as a JSON Web Key. */
export type SpiffeKey = {
  readonly use: 'x509-svid'
  readonly kty: string
  /** One certificate, base64 DER. */
  readonly x5c: readonly [string]
  readonly crv?: string
  readonly x?: string
  readonly y?: string
  readonly n?: string
  readonly e?: string
}

export type SpiffeBundle = {
  readonly keys: readonly SpiffeKey[]
  readonly spiffe_sequence: number
  /** Seconds. */
  readonly spiffe_refresh_hint: number
}

/** How soon others should look again: the rotation of a root waits for days where it waits for them at all. */
const refreshSeconds = 300

/**
 * The roots of a mesh in the form in which others take them: every trust domain of its clusters has these. In the bundle's
 * order, those on their way in and out too, so that whoever follows it misses no rotation.
 * Source: SPIFFE Trust Domain and Bundle §4.
 */
export const spiffeBundle = ({ seq, roots }: TrustBundle): SpiffeBundle => ({
  keys: roots
    .flatMap(({ pem }) => parseCertificates(pem, 'root'))
    .map(({ der, publicKey }): SpiffeKey => {
      const { kty = '', crv, x, y, n, e } = publicKey.key.export({ format: 'jwk' })
      const x5c = [Buffer.from(der).toString('base64')] as const
      const own = Object.entries({ crv, x, y, n, e }).filter(([, value]) => value !== undefined)
      return { use: 'x509-svid', kty, ...Object.fromEntries(own), x5c }
    }),
  spiffe_sequence: seq,
  spiffe_refresh_hint: refreshSeconds,
})
