import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { parseMeshName, type TrustDomain } from '#mesh/model/id.ts'
import { type Certificate, certificatePem } from '#mesh/trust/certificate.ts'
import { assembleCsr, buildCsrTbs } from '#mesh/trust/csr.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { type CertificateNames, controlPlaneCaNames, issuingCaNames, rootNames } from '#mesh/trust/names.ts'
import type { ProfileName } from '#mesh/trust/profile.ts'
import type { Signer } from '#mesh/trust/signer.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

/** A key in memory that passes for any signer. */
export type KeyInHand = Signer & { readonly spki: Uint8Array; readonly keyPem: string; readonly key: KeyObject }

export function keyInHand(curve: 'P-256' | 'P-384' = 'P-256'): KeyInHand {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: curve })
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))
  const digest = curve === 'P-256' ? 'sha256' : 'sha384'
  return {
    algorithm: `ecdsa-${digest}`,
    spki,
    key: privateKey,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKeySpki: async () => spki,
    sign: async (tbs) => new Uint8Array(sign(digest, tbs, privateKey)),
  }
}

/** A key and its certificate. */
export type Holder = { readonly key: KeyInHand; readonly certificate: Certificate; readonly pem: string }

export type Make = {
  readonly profile: ProfileName
  readonly names: CertificateNames
  readonly by?: Holder
  readonly key?: KeyInHand
  readonly now?: Date
  readonly lifeSeconds?: number
}

/** One certificate, honestly made: by `by`, or by itself. */
export async function make({
  profile,
  names,
  by,
  key = keyInHand(),
  now = new Date(),
  lifeSeconds,
}: Make): Promise<Holder> {
  const certificate = await issueCertificate(
    {
      profile,
      names,
      publicKey: key.spki,
      issuer: by?.certificate ?? 'self',
      now,
      serial: new Uint8Array(randomBytes(16)),
      ...(lifeSeconds === undefined ? {} : { lifeSeconds }),
    },
    by?.key ?? key,
  )
  return { key, certificate, pem: certificatePem(certificate) }
}

export const mesh = parseMeshName('mesh1')
export const domain = (cluster: string): TrustDomain => parseTrustDomain(`${cluster}.mesh1`)
export const makeRoot = (more: Partial<Make> = {}): Promise<Holder> =>
  make({ profile: 'root', names: rootNames(mesh, 1), ...more })
export const makeControlPlaneCa = (more: Partial<Make> = {}): Promise<Holder> =>
  make({ profile: 'control-plane-ca', names: controlPlaneCaNames(mesh, 1), ...more })
export const makeIssuing = (root: Holder, cluster: string, more: Partial<Make> = {}): Promise<Holder> =>
  make({ profile: 'issuing-ca', names: issuingCaNames(mesh, domain(cluster)), by: root, ...more })

/** A certificate request for `key`, as our own programs make it. */
export async function csrOf(key: Signer): Promise<string> {
  const tbs = buildCsrTbs(await key.publicKeySpki())
  return assembleCsr(tbs, key.algorithm, await key.sign(tbs))
}
