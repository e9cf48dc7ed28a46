import { createPublicKey, verify } from 'node:crypto'
import fc from 'fast-check'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { describe, test } from 'vitest'
import { tokenVerifier } from '#gateway/identity/token.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseCertificates } from '#mesh/trust/certificate.ts'
import { parsePem, toPem } from '#mesh/trust/pem.ts'
import { formatSpiffeId, parseSpiffeId } from '#mesh/trust/spiffe-id.ts'
import { type Change, changed, changes, each, fuzz, outcome, timeout } from '#tests/fuzz/fuzz.ts'
import { goForTests, goSays } from '#tests/support/second-opinion.ts'
import { honestClaims, jwksInHand, makeTokenIssuer, part, tokenIssuer } from '#tests/support/workload-tokens.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/** Blocks as `openssl` and Go's encoding/pem read them: of the same text, the same bytes in the same order. */
describe('PEM', { timeout }, () => {
  const block = toPem(Uint8Array.from({ length: 100 }, (_, i) => i))
  test('any text: refused, or blocks that give the same text again', async () => {
    await fuzz<readonly [number, readonly Change[]]>({
      kind: 'pem',
      specs: fc.tuple(fc.nat({ max: 3 }), changes()),
      build: ([more, list]) => text(changed(Buffer.from(`words\n${block.repeat(1 + more)}`), list)),
      judge: each((input) => {
        const whole = outcome(() => parseCertificates(input))
        if (typeof whole === 'object' && 'crash' in whole) return whole.crash
        const ours = outcome(() => parsePem(input, ['CERTIFICATE'], 'pem'))
        if (ours === 'refused') return undefined
        if ('crash' in ours) return ours.crash
        const again = parsePem(ours.value.map((der) => toPem(der)).join(''), ['CERTIFICATE'], 'pem')
        const plain = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g
        const count = input.match(plain)?.length ?? 0
        if (count !== ours.value.length) return `${ours.value.length} blocks are read of ${count}`
        return Buffer.concat(again).equals(Buffer.concat(ours.value)) ? undefined : 'it reads otherwise the second time'
      }),
    })
  })
})

describe('SPIFFE ids', { timeout }, () => {
  const go = goForTests()
  const honest = 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews'
  const odd = fc.stringMatching(/^spiffe:\/\/[a-zA-Z0-9._:@%/?#[\]\\ -]{0,60}$/)
  test('any text: refused, or read by URL parsers as the same host and path', async () => {
    await fuzz<string>({
      kind: 'spiffe-id',
      specs: fc.oneof(
        changes().map((list) => text(changed(Buffer.from(honest), list))),
        odd,
        fc.string(),
        fc.webUrl(),
      ),
      build: (one) => one,
      judge: async (inputs) => {
        const read = inputs.map((input) => outcome(() => parseSpiffeId(input)))
        const taken = read.flatMap((one, i) => (typeof one === 'object' && 'value' in one ? [i] : []))
        const said = go
          ? await goSays(
              go,
              taken.map((i) => ({ kind: 'id', text: inputs[i] })),
            )
          : []
        return read.map((one, i) => {
          if (one === 'refused') return undefined
          if ('crash' in one) return one.crash
          const { host, pathname, username, port } = new URL(inputs[i] ?? '')
          const theirs = said[taken.indexOf(i)]
          if (theirs !== undefined && theirs !== 'OK') return `taken, and Go reads ${theirs}`
          if (formatSpiffeId(one.value) !== inputs[i]) return 'it is written otherwise than it was read'
          const { trustDomain, namespace, serviceAccount } = one.value
          const same = host === trustDomain && pathname === `/ns/${namespace}/sa/${serviceAccount}`
          return same && username === '' && port === ''
            ? undefined
            : `taken, and a URL parser reads ${host} ${pathname}`
        })
      },
    })
  })
})

describe('tokens', { timeout }, () => {
  const now = new Date('2026-06-01T00:00:00Z')
  const clock = (): Date => now
  const es = makeTokenIssuer('es', { now: clock })
  const jwks = jwksInHand(es, makeTokenIssuer('rs', { rsa: true, now: clock }))
  const check = tokenVerifier({ issuer: tokenIssuer, jwks, clock })
  const honest = es.token()
  const [header = '', claims = '', signature = ''] = honest.split('.')
  const keySet = createLocalJWKSet(JSON.parse(String(jwks.answer)))

  /** Why jose refuses it; the time is that of the token's own beginning where we forgive a clock that is ahead. */
  const byJose = async (token: string): Promise<string | undefined> => {
    const { nbf = 0 } = decodeJwt(token)
    const currentDate = new Date(Math.max(now.getTime(), nbf * 1000))
    const required = { requiredClaims: ['sub', 'iat', 'exp'], algorithms: ['ES256', 'RS256'] }
    return await jwtVerify(token, keySet, {
      ...required,
      issuer: tokenIssuer,
      audience: 'istio-ca',
      currentDate,
      clockTolerance: 60,
    }).then(
      () => undefined,
      (fault: unknown) => String(fault),
    )
  }

  /** Whoever has no key makes no token: whatever is taken says, letter for letter, what was signed. */
  test('any change: refused as unknown, or the very claims that were signed', async () => {
    const aHeader = fc.record(
      {
        alg: fc.constantFrom<unknown>('ES256', 'none', 'None', 'HS256', 'RS256', 'ES384', '', 1, null, ['ES256']),
        kid: fc.constantFrom<unknown>('es', 'rs', 'other', '', 1, null, '../es', { a: 1 }),
        typ: fc.constantFrom<unknown>('JWT', 1),
        crit: fc.constantFrom<unknown>(['exp'], [], 'b64', ['b64']),
        b64: fc.boolean(),
        jwk: fc.constant(es.jwk),
        jku: fc.webUrl(),
        x5c: fc.constant(['AAAA']),
        zip: fc.constant('DEF'),
      },
      { requiredKeys: [] },
    )
    const someClaims = fc.dictionary(fc.constantFrom(...Object.keys(honestClaims(now)), 'x'), fc.jsonValue(), {
      maxKeys: 3,
    })
    await fuzz<string>({
      kind: 'token',
      size: 100,
      specs: fc.oneof(
        changes().map((list) => text(changed(Buffer.from(honest), list))),
        aHeader.map((one) => `${part(one)}.${claims}.${signature}`),
        someClaims.map((more) => `${header}.${part({ ...honestClaims(now), ...more })}.${signature}`),
        fc.tuple(aHeader, someClaims).map(([one, more]) => es.token(more, one)),
        fc.string({ maxLength: 200 }),
        fc.jsonValue().map((value) => `${part(value)}.${part(value)}.${part(value)}`),
      ),
      build: (one) => one,
      judge: each(async (input) => {
        const said = await check(input).catch((fault: unknown) => fault)
        if (said instanceof Problem) return said.kind === 'unauthenticated' ? undefined : `refused as ${said.kind}`
        if (said instanceof Error) return `crashed: ${said.stack}`
        const [head = '', body = '', signed = ''] = input.split('.')
        const [key, bytes] = [createPublicKey(es.key), Buffer.from(signed, 'base64url')]
        const isSigned = verify('sha256', Buffer.from(`${head}.${body}`), { key, dsaEncoding: 'ieee-p1363' }, bytes)
        if (!isSigned) return 'taken, though nobody signed it'
        const refusal = await byJose(input)
        return refusal && `taken, and jose refuses it: ${refusal}`
      }),
    })
  })
})
