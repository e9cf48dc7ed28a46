import { Problem } from '#mesh/model/problem.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'

/**
 * Why a relay that shows this certificate (DER) is not ours; undefined where its only URI is the expected one. The chain
 * is verified by TLS before; the URI decides, because every relay of a mesh has its certificate from the same CA.
 */
export function relayFault(der: Uint8Array, expected: string): Problem | undefined {
  const names = uriNamesOf(der)
  if (names.length === 1 && names[0] === expected) return undefined
  return new Problem(
    'forbidden',
    `the relay shows a certificate for ${names.join(', ') || 'no URI'}, expected is ${expected}: either its address leads ` +
      'to another cluster (mend --relay), or this cluster has another trust domain (mend --relay-uri)',
  )
}

function uriNamesOf(der: Uint8Array): readonly string[] {
  try {
    return parseCertificate(der).names.flatMap((name) => (name.kind === 'uri' ? [name.text] : []))
  } catch {
    return []
  }
}
