import { Problem } from '#mesh/model/problem.ts'
import { algorithmOf } from '#mesh/trust/build-certificate.ts'
import { readAlgorithm, readExtensions, readName } from '#mesh/trust/certificate.ts'
import {
  bitString,
  bitsOf,
  childrenOf,
  type Der,
  decode,
  encode,
  isTag,
  itemsOf,
  membersOf,
  oidOf,
  partsOf,
  sequence,
  smallNumberOf,
  tagged,
  unsigned,
} from '#mesh/trust/der.ts'
import type { SignatureAlgorithm } from '#mesh/trust/oid.ts'
import { parsePem, toPem } from '#mesh/trust/pem.ts'
import { isSignedBy, type PublicKey, parsePublicKey } from '#mesh/trust/public-key.ts'

const csrBytesMax = 16 * 1024

/**
 * The public key of a PKCS#10 request (RFC 2986), PEM or DER, whose signature proves that the sender holds its private
 * half. Nothing else of a request counts: of subject and extensions it is only seen that they are well formed.
 *
 * Throws `invalid`: more than 16 KiB, not one well-formed request, a weak or unknown key, a signature by another key or
 * with a weak digest.
 */
export function parseCsr(input: string | Uint8Array): PublicKey {
  if (input.length > csrBytesMax) throw invalid(`it has ${input.length} bytes; at most ${csrBytesMax}`)
  const [request, algorithm, signature, ...rest] = itemsOf(decode(derOf(input), what), what)
  if (!request || !signature || rest.length > 0) throw invalid('it is not a PKCS#10 request')
  const [version, subject, publicKey, attributes, ...more] = itemsOf(request, what)
  if (smallNumberOf(version, what) !== 0 || !subject || !publicKey || more.length > 0) {
    throw invalid('it is not a PKCS#10 request of version 1')
  }
  readName(subject, what)
  if (attributes !== undefined) readAttributes(attributes)
  const key = parsePublicKey(encode(publicKey))
  const signed = { data: encode(request), signature: bitsOf(signature, what) }
  if (!isSignedBy(key.key, readAlgorithm(algorithm, what), signed)) {
    throw invalid('its signature was not made by its key: the sender does not prove that it holds the private key')
  }
  return key
}

const extensionRequest = '1.2.840.113549.1.9.14'

/** That no reader of requests would stumble over them: what they ask for is not looked at. */
function readAttributes(node: Der): void {
  if (!isTag(node, 0)) throw invalid('its attributes are broken')
  let asked = 0
  for (const attribute of childrenOf(node, what)) {
    const [id, values] = partsOf(attribute, 2, what)
    const [value, ...rest] = membersOf(values, what)
    if (oidOf(id, what) !== extensionRequest) continue
    asked += 1
    if (!value || rest.length > 0 || asked > 1) throw invalid('its extension request is broken')
    if (itemsOf(value, what).length > 0) readExtensions(value, what)
  }
}

function derOf(input: string | Uint8Array): Uint8Array {
  if (typeof input !== 'string') return input
  const [only, ...more] = parsePem(input, ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'], what)
  if (!only || more.length > 0) throw invalid('it holds more than one request')
  return only
}

/**
 * The bytes that the holder of `publicKey` signs to ask for a certificate. Subject and attributes are empty: whoever
 * certifies decides the names.
 */
export const buildCsrTbs = (publicKey: Uint8Array): Uint8Array =>
  encode(sequence(unsigned(Uint8Array.of(0)), sequence(), decode(publicKey, 'public key'), tagged(0, [])))

/** Signed request, PEM. */
export const assembleCsr = (tbs: Uint8Array, algorithm: SignatureAlgorithm, signature: Uint8Array): string =>
  toPem(encode(sequence(decode(tbs, what), algorithmOf(algorithm), bitString(signature))), 'CERTIFICATE REQUEST')

const what = 'certificate request'
const invalid = (reason: string): Problem =>
  new Problem('invalid', `the certificate request is refused: ${reason}`, { violations: [{ path: 'csr', reason }] })
