import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { JwksSource } from '#gateway/identity/jwks.ts'

export const tokenIssuer = 'https://issuer.cluster-a.test'

/** A token issuer as Kubernetes is one, with its key set in memory. */
export type TokenIssuer = {
  readonly kid: string
  readonly key: KeyObject
  readonly jwk: object
  /** `claims` and `header` replace the honest ones; undefined leaves one out. */
  readonly token: (claims?: object, header?: object) => string
}

export const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export function makeTokenIssuer(kid: string, { rsa = false, now = () => new Date() } = {}): TokenIssuer {
  const { privateKey, publicKey } = rsa
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const alg = rsa ? 'RS256' : 'ES256'
  return {
    kid,
    key: privateKey,
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg },
    token: (claims = {}, header = {}) => {
      const signed = `${part({ alg, kid, ...header })}.${part({ ...honestClaims(now()), ...claims })}`
      const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return `${signed}.${signature.toString('base64url')}`
    },
  }
}

/** The claims of a projected token of pod `reviews-1`, for one hour. */
export function honestClaims(now: Date) {
  const seconds = Math.floor(now.getTime() / 1000)
  return {
    iss: tokenIssuer,
    aud: ['istio-ca'],
    sub: 'system:serviceaccount:shop:reviews',
    iat: seconds,
    nbf: seconds,
    exp: seconds + 3600,
    'kubernetes.io': {
      namespace: 'shop',
      serviceaccount: { name: 'reviews', uid: 'sa-1' },
      pod: { name: 'reviews-1', uid: 'pod-1' },
    },
  }
}

/** A source whose answer the test may change, and that counts how often it was asked. */
export type JwksInHand = JwksSource & { answer: string | Error; reads: number }

export function jwksInHand(...issuers: readonly TokenIssuer[]): JwksInHand {
  const source: JwksInHand = {
    place: 'memory',
    answer: JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) }),
    reads: 0,
    read: async () => {
      source.reads += 1
      if (source.answer instanceof Error) throw source.answer
      return source.answer
    },
  }
  return source
}
