import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'
import { centreCaller } from '#control/caller.ts'
import type { Centre } from '#control/centre.ts'
import { logIssued } from '#control/trust/log-issued.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { centreServingNames } from '#mesh/trust/names.ts'

/** The centre's own TLS identity: chain with the CA last, so that a relay can find it by the digest in its join token. */
export type ServingCertificate = {
  readonly chain: string
  /** SHA-256 (hex) of the DER of the control-plane CA that signed it. */
  readonly authority: string
  /** PKCS#8 PEM; lives in this process only. */
  readonly key: string
  readonly notBefore: Date
  readonly notAfter: Date
}

/** A new key with a certificate of the control-plane CA for `hosts` (names or addresses), logged before it is used. */
export async function issueServing(centre: Centre, hosts: readonly string[]): Promise<ServingCertificate> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const controlPlane = await centre.keys.active('control-plane')
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
  const notAfter = certificate.notAfter.getTime()
  await centre.db.transact((tx) =>
    logIssued(centre, tx, {
      ...{ caller: centreCaller, kind: 'centre-serving', clusterId: '', cluster: '', trustDomain: '' },
      ...{ authorityId: controlPlane.id, certificate, detail: { hosts: unique, notAfter } },
    }),
  )
  return {
    chain: certificatePem(certificate) + certificatePem(controlPlane.certificate),
    authority: sha256Hex(controlPlane.certificate.der),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
  }
}

const spkiOf = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ type: 'spki', format: 'der' }))
