import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'
import { centreCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { insertCertificate } from '#control/store/certificates.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { centreServingNames } from '#mesh/trust/names.ts'

/** The centre's own TLS identity: chain with the CA last, so that a relay can find it by the digest in its join token. */
export type ServingCertificate = {
  readonly chain: string
  /** PKCS#8 PEM; lives in this process only. */
  readonly key: string
  readonly notBefore: Date
  readonly notAfter: Date
}

/** A new key with a certificate of the control-plane CA for `hosts` (names or addresses), logged before it is used. */
export async function issueServing(centre: Centre, hosts: readonly string[]): Promise<ServingCertificate> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { controlPlane } = centre.keys
  const unique = [...new Set(hosts)]
  const certificate = await issueCertificate(
    {
      profile: 'centre-serving',
      names: centreServingNames(
        unique.filter((host) => isIP(host) === 0),
        unique.filter((host) => isIP(host) !== 0),
      ),
      publicKey: spkiOf(publicKey),
      issuer: controlPlane.certificate,
      now: new Date(centre.now()),
      serial: centre.random(16),
    },
    controlPlane.signer,
  )
  const serial = Buffer.from(certificate.serial).toString('hex')
  await centre.db.transact(async (tx) => {
    await insertCertificate(tx, {
      mesh: centre.mesh,
      serial,
      clusterId: '',
      kind: 'centre-serving',
      spkiSha256: sha256Hex(certificate.publicKey.spki),
      authorityId: controlPlane.id,
      issuedAt: centre.now(),
      notAfter: certificate.notAfter.getTime(),
    })
    const detail = { hosts: unique, serial, notAfter: certificate.notAfter.getTime() }
    await audited(centre, tx, centreCaller, { action: 'certificate.issue', object: 'centre', detail })
  })
  return {
    chain: certificatePem(certificate) + certificatePem(controlPlane.certificate),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
  }
}

const spkiOf = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ type: 'spki', format: 'der' }))
