import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { jsonFault } from '#mesh/model/canonical.ts'
import type { Signer } from '#mesh/trust/signer.ts'
import type { PublicJwk } from '#mesh/wire/join.ts'

/** A JWT's two readable parts, not yet believed, and what its signature stands over. */
export type Jwt = {
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  readonly signed: Buffer
  readonly signature: Buffer
}

/** Takes a compact JWT apart; undefined where it is none, or says what is not taken from outside (`jsonFault`). */
export function parseJwt(text: string): Jwt | undefined {
  const parts = text.split('.')
  const [header, claims, signature] = parts
  if (parts.length !== 3 || !header || !claims || !signature || text.length > 8192) return undefined
  const [h, c] = [objectIn(header), objectIn(claims)]
  if (h === undefined || c === undefined) return undefined
  return {
    header: h,
    claims: c,
    signed: Buffer.from(`${header}.${claims}`),
    signature: Buffer.from(signature, 'base64url'),
  }
}

function objectIn(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value) && !jsonFault(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}

/** ES256 only, whatever the header says: an algorithm is a property of the key, never of the message (RFC 8725 §3.1). */
export const isSignedBy = (jwt: Jwt, key: KeyObject): boolean =>
  jwt.header['alg'] === 'ES256' &&
  jwt.signature.length === 64 &&
  verify('sha256', jwt.signed, { key, dsaEncoding: 'ieee-p1363' }, jwt.signature)

/** Throws where x and y are not a point of P-256. */
export const keyFromJwk = (jwk: PublicJwk): KeyObject =>
  createPublicKey({ format: 'jwk', key: { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y } })

/** A compact ES256 JWT; the signer's DER signature becomes the 64 raw bytes of RFC 7518 §3.4. */
export async function signJwt(
  header: Readonly<Record<string, unknown>>,
  claims: Readonly<Record<string, unknown>>,
  signer: Signer,
): Promise<string> {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const body = `${part({ ...header, alg: 'ES256' })}.${part(claims)}`
  const der = await signer.sign(Buffer.from(body))
  return `${body}.${rawFromDer(der).toString('base64url')}`
}

/** SEQUENCE { INTEGER r, INTEGER s } → r ‖ s, each 32 bytes. */
function rawFromDer(der: Uint8Array): Buffer {
  const raw = Buffer.alloc(64)
  let at = 2
  for (const end of [32, 64]) {
    const length = der[at + 1] ?? 0
    const integer = der.subarray(at + 2, at + 2 + length)
    const bytes = integer.length > 32 ? integer.subarray(integer.length - 32) : integer
    raw.set(bytes, end - bytes.length)
    at += 2 + length
  }
  return raw
}
