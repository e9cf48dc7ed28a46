import { sha256Hex } from '#mesh/model/canonical.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'

/** SHA-256 of a certificate's DER, hex: how authorities are named between programs. */
export const fingerprintOf = (certificate: Pick<Certificate, 'der'>): string => sha256Hex(certificate.der)

/** One digest for a set of authorities, whatever their order and number of times. */
export const authorityDigest = (authorities: readonly Pick<Certificate, 'der'>[]): string =>
  sha256Hex([...new Set(authorities.map(fingerprintOf))].toSorted().join('\n'))
