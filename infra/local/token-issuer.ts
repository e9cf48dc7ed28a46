import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterPlan } from './plan.ts'
import { replaceFile } from './replace-file.ts'
import { issuerOf } from './seed.ts'

/** Whom a token speaks for. */
export type TokenSubject = {
  readonly namespace: string
  readonly serviceAccount: string
  readonly pod: string
  readonly uid: string
}

/** Signs projected service-account tokens as a cluster's API server does; its JWKS lies in the cluster's directory. */
export type TokenIssuer = { issue(subject: TokenSubject): string }

export const tokenLifeSeconds = 3600

/** Loads or makes the cluster's token key and writes `jwks.json`. */
export function tokenIssuer(cluster: ClusterPlan): TokenIssuer {
  const path = join(cluster.dir, 'token-key.pem')
  if (!existsSync(path)) {
    const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    replaceFile(path, made.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600)
  }
  const key = createPrivateKey(readFileSync(path))
  const { kty, crv, x, y } = createPublicKey(key).export({ format: 'jwk' })
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
  replaceFile(
    join(cluster.dir, 'jwks.json'),
    JSON.stringify({ keys: [{ kty, crv, x, y, kid, alg: 'ES256', use: 'sig' }] }),
    0o644,
  )

  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return {
    issue: ({ namespace, serviceAccount, pod, uid }) => {
      const now = Math.floor(Date.now() / 1000)
      const body = `${part({ alg: 'ES256', typ: 'JWT', kid })}.${part({
        iss: issuerOf(cluster),
        aud: ['istio-ca'],
        sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
        iat: now,
        nbf: now,
        exp: now + tokenLifeSeconds,
        jti: randomUUID(),
        'kubernetes.io': {
          namespace,
          pod: { name: pod, uid },
          serviceaccount: { name: serviceAccount, uid: uidOf(`${cluster.name}/${namespace}/${serviceAccount}`) },
        },
      })}`
      return `${body}.${sign('sha256', Buffer.from(body), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    },
  }
}

/** A uid that stays the same over restarts. */
export const uidOf = (text: string): string =>
  createHash('sha256')
    .update(text)
    .digest('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, '$1-$2-$3-$4-$5')
