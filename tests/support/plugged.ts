import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toPem } from '#mesh/trust/pem.ts'
import { ecPair, type Pair, type SelfSigned, selfSigned } from '#tests/support/self-signed.ts'

/** A CA as another tool may have made it. */
export type Made = { readonly pem: string; readonly key: Pair; readonly subject: string }

export function madeRoot(spec: SelfSigned = {}): Made {
  const { subject = 'root of a company', key = ecPair() } = spec
  return { subject, key, pem: toPem(selfSigned({ keyId: true, ...spec, subject, key })) }
}

/** A CA below another. */
export function madeBelow(by: Made, spec: SelfSigned = {}): Made {
  const { subject = `below ${by.subject}`, key = ecPair() } = spec
  const issuerSpki = new Uint8Array(by.key.publicKey.export({ type: 'spki', format: 'der' }))
  const issued = { issuer: by.subject, signedBy: by.key.privateKey, issuerSpki }
  return { subject, key, pem: toPem(selfSigned({ keyId: true, ...issued, ...spec, subject, key })) }
}

export const keyPemOf = ({ privateKey }: Pair): string => privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/** The files of Istio's Secret `cacerts`, the key for its owner alone. */
export function writePlugged(dir: string, files: Readonly<Record<string, string>>): string {
  mkdirSync(dir, { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text, { mode: 0o600 })
  return dir
}
