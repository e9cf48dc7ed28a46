import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { parseMeshName } from '#mesh/model/id.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { centreServingNames, controlPlaneCaNames } from '#mesh/trust/names.ts'

/** A key and a certificate of an application's own CA, PEM: nobody of the mesh knows it, and nobody needs to. */
export async function ownTls(host: string): Promise<{ readonly cert: string; readonly key: string }> {
  const [ca, own] = [newKey(), newKey()]
  const common = () => ({ now: new Date(), serial: new Uint8Array(randomBytes(16)) })
  const names = controlPlaneCaNames(parseMeshName('application'), 1)
  const issuer = await issueCertificate(
    { ...common(), profile: 'control-plane-ca', names, publicKey: ca.spki, issuer: 'self' },
    ca,
  )
  const certificate = await issueCertificate(
    { ...common(), profile: 'centre-serving', names: centreServingNames([host], []), publicKey: own.spki, issuer },
    ca,
  )
  return { cert: certificatePem(certificate), key: own.pem }
}

function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    algorithm: 'ecdsa-sha256',
    spki: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
    pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    sign: async (tbs: Uint8Array) => new Uint8Array(sign('sha256', tbs, privateKey)),
  } as const
}
