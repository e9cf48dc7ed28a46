import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto'

/** A public key of a key set, as far as it can verify tokens. */
export type TokenKey = { readonly kid: string; readonly alg: TokenAlgorithm; readonly key: KeyObject }
export type TokenAlgorithm = 'ES256' | 'RS256'

export type Jws = {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Readonly<Record<string, unknown>>
}

const isAlgorithm = (alg: unknown): alg is TokenAlgorithm => alg === 'ES256' || alg === 'RS256'
const rsaBitsMin = 2048

/**
 * What a compact JWS (RFC 7515) says that `keyFor` the header's algorithm and key id verifies: ES256 or RS256, whichever
 * is the key's own. Nothing in a token chooses its key but its id: no key, certificate or address that it brings along.
 *
 * Throws an Error with the reason, and whatever `keyFor` throws. Refused as well: any critical extension (RFC 7515
 * §4.1.11), text that is not base64url in its one form, and JSON that is no object.
 */
export function readJws(token: string, keyFor: (kid: string, alg: TokenAlgorithm) => KeyObject): Jws {
  const [head = '', body = '', signature, ...rest] = token.split('.', 4)
  if (signature === undefined || rest.length > 0) throw new Error('it is invalid: not three parts')
  const header = objectIn(bytesIn(head, 'header'), 'header')
  if (header['crit'] !== undefined) throw new Error('it has critical extensions (crit), which are not understood')
  const { alg, kid } = header
  if (!isAlgorithm(alg)) throw new Error('its algorithm (alg) is not allowed; ES256 and RS256 are')
  // Without an id the only key of a set would do, and a swap of keys would go unseen.
  if (typeof kid !== 'string') throw new Error('it names no key')
  const key = keyFor(kid, alg)
  const signed = token.slice(0, head.length + 1 + body.length)
  if (!isSigned(signed, bytesIn(signature, 'signature'), { key, alg })) throw new Error('signature verification failed')
  return { header, payload: objectIn(bytesIn(body, 'payload'), 'payload') }
}

/**
 * The keys of a key set (RFC 7517) that can verify: of a kind, use and length for it. Those that cannot are left out, as
 * an issuer may have them for others.
 */
export const verifyingKeys = (jwks: readonly Readonly<Record<string, unknown>>[]): readonly TokenKey[] =>
  jwks.flatMap((jwk) => {
    const { kid, kty, crv, use, alg: said, key_ops: operations } = jwk
    const alg = kty === 'EC' && crv === 'P-256' ? 'ES256' : kty === 'RSA' ? 'RS256' : undefined
    const isForIt = (said === undefined || said === alg) && (use === undefined || use === 'sig')
    const mayVerify = operations === undefined || (Array.isArray(operations) && operations.includes('verify'))
    if (typeof kid !== 'string' || alg === undefined || !isForIt || !mayVerify) return []
    const key = keyOf(jwk)
    const isLong = alg === 'ES256' || (key?.asymmetricKeyDetails?.modulusLength ?? 0) >= rsaBitsMin
    return key && isLong ? [{ kid, alg, key }] : []
  })

function keyOf(jwk: Readonly<Record<string, unknown>>): KeyObject | undefined {
  const { kty, crv, x, y, n, e } = jwk
  const key = (kty === 'EC' ? { kty, crv, x, y } : { kty, n, e }) as JsonWebKey
  try {
    return createPublicKey({ key, format: 'jwk' })
  } catch {
    return undefined
  }
}

function isSigned(
  text: string,
  signature: Buffer,
  { key, alg }: { readonly key: KeyObject; readonly alg: TokenAlgorithm },
): boolean {
  const data = Buffer.from(text, 'latin1')
  if (alg === 'RS256') return key.asymmetricKeyType === 'rsa' && verify('sha256', data, key, signature)
  return key.asymmetricKeyType === 'ec' && signature.length === 64 && verify('sha256', data, key, derOf(signature))
}

/** r and s as ECDSA-Sig-Value (RFC 3279 §2.2.3): node:crypto takes half as long again to turn it round itself. */
function derOf(signature: Buffer): Buffer {
  const [r, s] = [integer(signature.subarray(0, 32)), integer(signature.subarray(32))]
  return Buffer.concat([Uint8Array.of(0x30, r.length + s.length), r, s])
}

function integer(bytes: Uint8Array): Uint8Array {
  const from = Math.min(bytes.findIndex((byte) => byte !== 0) >>> 0, bytes.length - 1)
  const short = bytes.subarray(from)
  return (short[0] ?? 0) < 0x80
    ? Uint8Array.of(2, short.length, ...short)
    : Uint8Array.of(2, short.length + 1, 0, ...short)
}

function bytesIn(text: string, part: string): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.toString('base64url') !== text) throw new Error(`its ${part} is invalid: not base64url`)
  return bytes
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function objectIn(bytes: Uint8Array, part: string): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(bytes))
  } catch {
    throw new Error(`its ${part} is invalid: not JSON`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`its ${part} is invalid: no JSON object`)
  return value as Readonly<Record<string, unknown>>
}
