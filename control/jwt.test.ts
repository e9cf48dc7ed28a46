import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isSignedBy, parseJwt, signJwt } from '#control/jwt.ts'
import type { Signer } from '#mesh/trust/signer.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const signer: Signer = {
  algorithm: 'ecdsa-sha256',
  publicKeySpki: async () => new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
  sign: async (bytes) => new Uint8Array(sign('sha256', bytes, privateKey)),
}
const key = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' }))

test('what a signer signs, its key verifies, whatever r and s look like', async () => {
  for (let i = 0; i < 300; i++) {
    const jwt = parseJwt(await signJwt({ typ: 'JWT' }, { i }, signer))
    expect(jwt && isSignedBy(jwt, key)).toBe(true)
  }
})

test('one changed character and it is not signed any more', async () => {
  const text = await signJwt({ typ: 'JWT' }, { sub: 'east', exp: 1 }, signer)
  const parts = fc.tuple(fc.integer({ min: 0, max: text.length - 3 }), fc.constantFrom(...'ABCxyz019_-.'))
  fc.assert(
    fc.property(parts, ([at, character]) => {
      fc.pre(text[at] !== character)
      const jwt = parseJwt(text.slice(0, at) + character + text.slice(at + 1))
      expect(jwt === undefined || !isSignedBy(jwt, key)).toBe(true)
    }),
  )
})

test('the algorithm is the key’s, not the header’s', async () => {
  const [, claims = ''] = (await signJwt({}, { sub: 'east' }, signer)).split('.')
  for (const alg of ['none', 'HS256', 'ES384', undefined]) {
    const head = Buffer.from(JSON.stringify({ alg })).toString('base64url')
    const signature = sign('sha256', Buffer.from(`${head}.${claims}`), { key: privateKey, dsaEncoding: 'ieee-p1363' })
    const jwt = parseJwt(`${head}.${claims}.${signature.toString('base64url')}`)
    expect([alg, jwt && isSignedBy(jwt, key)]).toEqual([alg, false])
  }
})

test.each(['', '.', '..', 'a.b', 'a.b.c.d', 'e30.e30.', `${'a'.repeat(9000)}.e30.e30`, 'W10.e30.AA', 'e30.bnVsbA.AA'])(
  '"%.20s" is no JWT',
  (text) => {
    expect(parseJwt(text)).toBeUndefined()
  },
)

test('any text at all is read without a fault', () => {
  fc.assert(fc.property(fc.string(), (text) => void parseJwt(text)))
})
