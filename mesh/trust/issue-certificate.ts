import { Problem } from '#mesh/model/problem.ts'
import { assembleCertificate, buildTbs, type CertificateRequest } from '#mesh/trust/build-certificate.ts'
import { type Certificate, parseCertificate } from '#mesh/trust/certificate.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/**
 * Builds, has `signer` sign, reads back and checks one certificate: nothing leaves that its profile does not describe.
 *
 * Throws what `buildTbs` and the signer throw, and `internal` with the violations when the result is not what was asked
 * (a signer of another key, say).
 */
export async function issueCertificate(
  request: Omit<CertificateRequest, 'signature'>,
  signer: Pick<Signer, 'algorithm' | 'sign'>,
): Promise<Certificate> {
  const tbs = buildTbs({ ...request, signature: signer.algorithm })
  const der = assembleCertificate(tbs, signer.algorithm, await signer.sign(tbs))
  const certificate = parseCertificate(der)
  const violations = checkCertificate(certificate, request.profile, {
    names: request.names,
    now: request.now,
    publicKey: request.publicKey,
    issuer: request.issuer,
  })
  if (violations.length > 0) {
    throw new Problem(
      'internal',
      `the ${request.profile} certificate just signed is not what was asked; it is not used`,
      {
        violations,
      },
    )
  }
  return certificate
}
