import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { fileJwks } from '#gateway/identity/jwks.ts'
import { tokenVerifier, type VerifyToken } from '#gateway/identity/token.ts'
import { Problem } from '#mesh/model/problem.ts'
import {
  honestClaims,
  type JwksInHand,
  jwksInHand,
  makeTokenIssuer,
  part,
  type TokenIssuer,
  tokenIssuer,
} from '#tests/support/workload-tokens.ts'

let now: Date
const clock = (): Date => now
const es = makeTokenIssuer('es', { now: clock })
const rs = makeTokenIssuer('rs', { rsa: true, now: clock })
const sealing = withJwk(makeTokenIssuer('sealing', { now: clock }), { use: 'enc' })
const twins = [makeTokenIssuer('twin', { now: clock }), makeTokenIssuer('twin', { now: clock })] as const
const short = shortRsa()
let jwks: JwksInHand
let verify: VerifyToken
let warned: string[]
beforeEach(() => {
  now = new Date('2026-05-01T00:00:00Z')
  warned = []
  jwks = jwksInHand(es, rs, short, sealing, ...twins)
  verify = tokenVerifier({ issuer: tokenIssuer, jwks, clock, warn: (_, message) => void warned.push(message) })
})

const seconds = (): number => now.getTime() / 1000
const later = (by: number): void => {
  now = new Date(now.getTime() + by * 1000)
}

/** The reason for the log; what the caller hears is checked to be the bland sentence. */
async function reasonFor(token: string): Promise<string> {
  const fault: unknown = await verify(token).then(
    () => 'accepted',
    (error: unknown) => error,
  )
  if (!(fault instanceof Problem)) return String(fault)
  expect(fault).toMatchObject({ kind: 'unauthenticated', message: 'request authenticate failure' })
  return fault.cause instanceof Error ? fault.cause.message : String(fault.cause)
}

describe('a pod that is not there any more', () => {
  const among = (pods: Readonly<Record<string, { uid?: string; serviceAccount: string }>> | 'unknown') => {
    const podOf = (namespace: string, name: string) => (pods === 'unknown' ? pods : pods[`${namespace}/${name}`])
    verify = tokenVerifier({ issuer: tokenIssuer, jwks, clock, podOf })
  }

  test('proves nothing; nor does one of another account', async () => {
    const verified = await verify(es.token())
    const name = `${verified.namespace}/${verified.pod.name}`
    const there = { uid: verified.pod.uid, serviceAccount: verified.serviceAccount }
    among({ [name]: there })
    expect(await reasonFor(es.token())).toBe('accepted')
    among({ [name]: { serviceAccount: there.serviceAccount } })
    expect(await reasonFor(es.token())).toBe('accepted')
    among('unknown')
    expect(await reasonFor(es.token())).toBe('accepted')
    among({})
    expect(await reasonFor(es.token())).toMatch(/there is no pod shop\//)
    among({ [name]: { ...there, uid: 'of another' } })
    expect(await reasonFor(es.token())).toMatch(/another one has its name/)
    among({ [name]: { ...there, serviceAccount: 'other' } })
    expect(await reasonFor(es.token())).toMatch(/runs as another account/)
  })
})

describe('an honest token', () => {
  test.each([
    ['ES256', es],
    ['RS256', rs],
  ])('%s: namespace, account and pod', async (_, issuer) => {
    expect(await verify(issuer.token())).toEqual({
      namespace: 'shop',
      serviceAccount: 'reviews',
      pod: { name: 'reviews-1', uid: 'pod-1' },
      expiresAt: new Date('2026-05-01T01:00:00Z'),
    })
  })

  test('clocks may differ by a minute, either way', async () => {
    const token = es.token()
    later(-59)
    await verify(token)
    later(59 + 3600 + 59)
    await verify(token)
  })
})

test('a cluster whose clocks are ten minutes ahead: its tokens are good at once', async () => {
  const ahead = seconds() + 600
  await verify(es.token({ iat: ahead, nbf: ahead, exp: ahead + 3600 }))
})

describe('what is refused', () => {
  test.each<[string, () => string, RegExp]>([
    ['ended more than a minute ago', () => es.token({ exp: seconds() - 61 }), /"exp" claim/],
    ['issued more than a quarter of an hour ahead', () => es.token({ iat: seconds() + 901 }), /future/],
    ['valid only after that', () => es.token({ nbf: seconds() + 961 }), /"nbf" claim.*set the clocks/],
    ['over before it begins', () => es.token({ nbf: seconds() + 600, exp: seconds() + 500 }), /"exp" claim/],
    ['without an end', () => es.token({ exp: undefined }), /"exp"/],
    ['without a beginning', () => es.token({ iat: undefined }), /"iat"/],
    ['an end that is text', () => es.token({ exp: '9999999999' }), /"exp" claim/],
    ['another issuer', () => es.token({ iss: 'https://evil.test' }), /"iss" claim/],
    ['another audience', () => es.token({ aud: ['vault'] }), /"aud" claim/],
    ['no audience', () => es.token({ aud: undefined }), /"aud"/],
    ['the API server’s audience', () => es.token({ aud: [tokenIssuer] }), /"aud" claim/],
    ['also the API server’s audience', () => es.token({ aud: ['istio-ca', tokenIssuer] }), /also the API server/],
    [
      'also its usual name',
      () => es.token({ aud: ['istio-ca', 'https://kubernetes.default.svc'] }),
      /also the API server/,
    ],
    [
      'not of a pod',
      () => es.token({ 'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'reviews' } } }),
      /pod/,
    ],
    ['no Kubernetes claims', () => es.token({ 'kubernetes.io': undefined }), /kubernetes\.io/],
    ['a subject of another account', () => es.token({ sub: 'system:serviceaccount:shop:admin' }), /another account/],
    ['no key id', () => es.token({}, { kid: undefined }), /names no key/],
    ['an unknown key', () => es.token({}, { kid: 'other' }), /no applicable key/],
    [
      'the key of another issuer',
      () => makeTokenIssuer('es').token(honestClaims(now)),
      /signature verification failed/,
    ],
    ['unsigned', () => `${part({ alg: 'none', kid: 'es' })}.${part(honestClaims(now))}.`, /alg/i],
    ['unsigned, in capitals', () => `${part({ alg: 'NONE', kid: 'es' })}.${part(honestClaims(now))}.`, /alg/i],
    ['signed by HMAC under the public key', () => hmacToken(), /alg/i],
    ['RS256 said of an EC key', () => es.token({}, { alg: 'RS256' }), /no applicable key/],
    ['ES384 said of a P-256 key', () => es.token({}, { alg: 'ES384' }), /alg/i],
    ['a key brought along', () => broughtAlong(), /signature verification failed/],
    ['a critical header nobody knows', () => es.token({}, { crit: ['x'], x: 1 }), /x/],
    ['17 KB', () => es.token({ pad: 'x'.repeat(17_000) }), /characters/],
    ['empty', () => '', /invalid/i],
    ['two parts', () => 'a.b', /invalid/i],
    ['four parts', () => `${es.token()}.a`, /invalid/i],
    ['a signature in a longer form', () => `${es.token()}=`, /not base64url/],
    ['a signature as DER', () => ownSigned(part(honestClaims(now)), 'der'), /signature verification failed/],
    [
      'claims that are no UTF-8',
      () => ownSigned(Buffer.from('{"x":"\xff"}', 'latin1').toString('base64url')),
      /not JSON/,
    ],
    ['a list of claims', () => ownSigned(part([])), /no JSON object/],
    ['RSA of 1024 bits', () => short.token(), /no applicable key/],
    ['a key for another use', () => sealing.token(), /no applicable key/],
    ['a key id that two keys have', () => twins[0].token(), /several keys/],
  ])('%s', async (_, token, reason) => {
    expect(await reasonFor(token())).toMatch(reason)
  })

  test('any change of a token’s text: refused', async () => {
    const honest = es.token()
    const change = fc.tuple(fc.nat({ max: honest.length - 1 }), fc.constantFrom(...'ABCabc012-_.='))
    await fc.assert(
      fc.asyncProperty(change, async ([at, char]) => {
        fc.pre(honest[at] !== char)
        expect(await reasonFor(honest.slice(0, at) + char + honest.slice(at + 1))).not.toBe('accepted')
      }),
      { numRuns: 300 },
    )
  })

  test('the API server’s audience cannot be set as ours', () => {
    for (const audience of [tokenIssuer, 'https://kubernetes.default.svc', 'own-api']) {
      const settings = { issuer: tokenIssuer, audience, apiServerAudiences: ['own-api'], jwks, clock }
      expect(() => tokenVerifier(settings)).toThrow(/the API server's own/)
    }
  })
})

describe('the key set', () => {
  test('a new key is found at its first token', async () => {
    await verify(es.token())
    const fresh = makeTokenIssuer('fresh', { now: clock })
    jwks.answer = JSON.stringify({ keys: [es.jwk, fresh.jwk] })
    later(11)
    await verify(fresh.token())
    expect(jwks.reads).toBe(2)
  })

  test('a flood of unknown key ids costs one read in ten seconds', async () => {
    await verify(es.token())
    later(11)
    const flood = Array.from({ length: 200 }, (_, i) => reasonFor(es.token({}, { kid: `made-up-${i}` })))
    await Promise.all(flood)
    expect(jwks.reads).toBe(2)
    later(9)
    await reasonFor(es.token({}, { kid: 'one more' }))
    expect(jwks.reads).toBe(2)
  })

  test('a key taken out is refused within a minute', async () => {
    await verify(rs.token())
    jwks.answer = JSON.stringify({ keys: [es.jwk] })
    later(61)
    expect(await reasonFor(rs.token())).toMatch(/no applicable key/)
  })

  test('gone or broken later: the last good one stays, and it is said', async () => {
    await verify(es.token())
    for (const answer of [new Error('ENOENT'), '', '{"keys":[]}', '{"keys":"x"}', '[']) {
      jwks.answer = answer
      later(61)
      await verify(es.token())
    }
    expect(warned).toHaveLength(5)
    expect(warned[0]).toMatch(/in memory cannot be read; the last ones stay/)
  })

  test('never read: unavailable, and tried again', async () => {
    const good = jwks.answer
    jwks.answer = new Error('ENOENT')
    await expect(verify(es.token())).rejects.toMatchObject({ kind: 'unavailable' })
    jwks.answer = good
    await expect(verify(es.token())).rejects.toMatchObject({ kind: 'unavailable' })
    later(11)
    await verify(es.token())
  })

  test.each([
    ['a private key', () => ({ ...es.jwk, d: 'AAAA' }), /private key/],
    ['a secret key', () => ({ kty: 'oct', kid: 'es', k: 'AAAA' }), /secret key/],
    ['a key without id', () => ({ ...es.jwk, kid: undefined }), /kid/],
  ])('with %s: refused whole', async (_, key, reason) => {
    jwks.answer = JSON.stringify({ keys: [es.jwk, key()] })
    const faults: unknown[] = []
    const strict = tokenVerifier({ issuer: tokenIssuer, jwks, clock, warn: (fault) => void faults.push(fault) })
    await expect(strict(es.token())).rejects.toMatchObject({ kind: 'unavailable' })
    expect(String(faults[0])).toMatch(reason)
  })

  test('with a key of a kind that signs no token we take: left out, the others stand', async () => {
    jwks.answer = JSON.stringify({ keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'AAAA', kid: 'okp' }, es.jwk] })
    const one = tokenVerifier({ issuer: tokenIssuer, jwks, clock, warn: () => undefined })
    await one(es.token())
  })

  test('from a file that is replaced', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'jwks-'))
    try {
      const path = join(directory, 'jwks.json')
      writeFileSync(path, JSON.stringify({ keys: [es.jwk] }))
      const fromFile = tokenVerifier({ issuer: tokenIssuer, jwks: fileJwks(path), clock })
      await fromFile(es.token())
      writeFileSync(`${path}.new`, JSON.stringify({ keys: [rs.jwk] }))
      renameSync(`${path}.new`, path)
      later(11)
      await fromFile(rs.token())
      await expect(fromFile(es.token())).rejects.toMatchObject({ kind: 'unauthenticated' })
      rmSync(path)
      later(61)
      await fromFile(rs.token())
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})

/** The classic swap: the verifier's public key used as the secret of an HMAC. */
function hmacToken(): string {
  const signed = `${part({ alg: 'HS256', kid: 'es' })}.${part(honestClaims(now))}`
  return `${signed}.${createHmac('sha256', JSON.stringify(es.jwk)).update(signed).digest('base64url')}`
}

/** A token that carries the key to check it by. */
function broughtAlong(): string {
  const stranger = makeTokenIssuer('es', { now: clock })
  const signed = `${part({ alg: 'ES256', kid: 'es', jwk: stranger.jwk })}.${part(honestClaims(now))}`
  const signature = sign('sha256', Buffer.from(signed), { key: stranger.key, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

/** Signed by the honest key, whatever it says. */
function ownSigned(body: string, dsaEncoding: 'der' | 'ieee-p1363' = 'ieee-p1363'): string {
  const signed = `${part({ alg: 'ES256', kid: 'es' })}.${body}`
  return `${signed}.${sign('sha256', Buffer.from(signed), { key: es.key, dsaEncoding }).toString('base64url')}`
}

function withJwk(issuer: TokenIssuer, more: object): TokenIssuer {
  return { ...issuer, jwk: { ...issuer.jwk, ...more } }
}

function shortRsa(): TokenIssuer {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const kid = 'short'
  return {
    ...{ kid, key: privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' } },
    token: () => {
      const signed = `${part({ alg: 'RS256', kid })}.${part(honestClaims(now))}`
      return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
    },
  }
}
