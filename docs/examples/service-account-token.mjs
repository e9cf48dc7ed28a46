// Signs a service-account token as a cluster's API server would, with a key made here: for trying the pieces by hand.
// usage: node service-account-token.mjs <directory> <issuer> <namespace> <service account> <pod>
// Writes <directory>/jwks.json, for the relay, and <directory>/token, for `isthmus proxy`; good for one hour.
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { writeFileSync } from 'node:fs'

const [dir, issuer, namespace, serviceAccount, pod] = process.argv.slice(2)
const { privateKey: key, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const { kty, crv, x, y } = publicKey.export({ format: 'jwk' })
const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
writeFileSync(`${dir}/jwks.json`, JSON.stringify({ keys: [{ kty, crv, x, y, kid, alg: 'ES256', use: 'sig' }] }))

const now = Math.floor(Date.now() / 1000)
const claims = {
  iss: issuer,
  aud: ['istio-ca'],
  sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
  iat: now,
  nbf: now,
  exp: now + 3600,
  jti: randomUUID(),
  'kubernetes.io': {
    namespace,
    pod: { name: pod, uid: randomUUID() },
    serviceaccount: { name: serviceAccount, uid: randomUUID() },
  },
}
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const text = `${part({ alg: 'ES256', typ: 'JWT', kid })}.${part(claims)}`
const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
writeFileSync(`${dir}/token`, `${text}.${signature.toString('base64url')}`, { mode: 0o600 })
