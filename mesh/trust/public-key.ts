import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto'
import { Problem } from '#mesh/model/problem.ts'
import { bitsOf, decode, itemsOf } from '#mesh/trust/der.ts'
import { type AnySignatureAlgorithm, type SignatureAlgorithm, signatureAlgorithms } from '#mesh/trust/oid.ts'
import { toPem } from '#mesh/trust/pem.ts'

export type KeyKind = 'P-256' | 'P-384' | 'RSA'

/** A public key we are willing to certify: its DER SubjectPublicKeyInfo in the one canonical form, kind and size. */
export type PublicKey = {
  readonly spki: Uint8Array
  readonly kind: KeyKind
  readonly bits: number
  readonly key: KeyObject
}

const curves = {
  prime256v1: { kind: 'P-256', bits: 256, spkiBytes: 91 },
  secp384r1: { kind: 'P-384', bits: 384, spkiBytes: 120 },
} as const

/** What the canonical form of each curve begins with, the mark of an uncompressed point included (RFC 5480). */
const begins = [
  { ...curves.prime256v1, bytes: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex') },
  { ...curves.secp384r1, bytes: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex') },
]

const rsaBitsMin = 2048
const rsaBitsMax = 4096

/**
 * Reads a SubjectPublicKeyInfo. Accepts EC P-256 and P-384 as a named curve with an uncompressed point, and RSA of
 * 2048 to 4096 bits with the exponent 65537: what Envoy, Go and OpenSSL all take. Throws `invalid` for anything else.
 */
export function parsePublicKey(spki: Uint8Array): PublicKey {
  const bytes = Buffer.from(spki).toString('latin1')
  const known = recent.get(bytes)
  if (known) return known
  const read = readPublicKey(spki)
  recent.set(bytes, read)
  if (recent.size > recentMax) for (const oldest of recent.keys()) if (recent.delete(oldest)) break
  return read
}

/**
 * A certificate is read back soon after its request was, the same key in it, and reading that is a tenth of issuing one: as
 * many as a relay may have in hand at once, and some.
 */
const recent = new Map<string, PublicKey>()
const recentMax = 1100

function readPublicKey(spki: Uint8Array): PublicKey {
  const key = readKey(spki)
  // Most keys by far. Writing one out again to compare it takes longer than all else that is done to read it.
  const found = begins.find(
    ({ bytes, spkiBytes }) => spki.length === spkiBytes && bytes.equals(spki.subarray(0, bytes.length)),
  )
  if (found) return { spki, kind: found.kind, bits: found.bits, key }
  if (!Buffer.from(key.export({ type: 'spki', format: 'der' })).equals(spki))
    throw refused('it is not in canonical form')
  if (key.asymmetricKeyType === 'ec') {
    const curve = curves[key.asymmetricKeyDetails?.namedCurve as keyof typeof curves]
    if (!curve) throw refused(`its curve is ${key.asymmetricKeyDetails?.namedCurve}; use P-256 or P-384`)
    if (spki.length !== curve.spkiBytes) throw refused('its point is not in the uncompressed form')
    return { spki, kind: curve.kind, bits: curve.bits, key }
  }
  if (key.asymmetricKeyType !== 'rsa')
    throw refused(`it is of type ${key.asymmetricKeyType}; use EC P-256 or P-384, or RSA`)
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < rsaBitsMin || bits > rsaBitsMax) {
    throw refused(`it is RSA of ${bits} bits; use ${rsaBitsMin} to ${rsaBitsMax}, or EC P-256`)
  }
  if (key.asymmetricKeyDetails?.publicExponent !== 65537n) throw refused('its RSA exponent is not 65537')
  return { spki, kind: 'RSA', bits, key }
}

/** As PEM: Node 24 takes twice as long over an object with DER in it, for it first tries whether that is a key. */
function readKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey(toPem(spki, 'PUBLIC KEY'))
  } catch (cause) {
    throw refused('it cannot be read', cause)
  }
}

const refused = (reason: string, cause?: unknown): Problem =>
  new Problem('invalid', `the public key is refused: ${reason}`, { violations: [{ path: 'publicKey', reason }], cause })

/** What a key of a kind signs certificates with. */
export const signatureFor = (kind: KeyKind): SignatureAlgorithm =>
  kind === 'RSA' ? 'rsa-sha256' : kind === 'P-384' ? 'ecdsa-sha384' : 'ecdsa-sha256'

/** Key identifier: the leftmost 160 bits of SHA-256 over the key's bit string (RFC 7093 §2, method 1). */
export function keyIdOf(spki: Uint8Array): Uint8Array {
  const bits = bitsOf(itemsOf(decode(spki, 'public key'), 'public key')[1], 'public key')
  return new Uint8Array(hash('sha256', bits, 'buffer').subarray(0, 20))
}

/** Whether `signature` over `data` was made by `key`. False, never a throw, for an algorithm of another key type. */
export function isSignedBy(
  key: KeyObject,
  algorithm: AnySignatureAlgorithm,
  signed: { readonly data: Uint8Array; readonly signature: Uint8Array },
): boolean {
  const { digest, key: type } = signatureAlgorithms[algorithm]
  if (key.asymmetricKeyType !== type) return false
  try {
    return verify(digest, signed.data, key, signed.signature)
  } catch {
    return false
  }
}
