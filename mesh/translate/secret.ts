import { BinaryWriter } from '@bufbuild/protobuf/wire'

/**
 * The bytes of an Envoy Secret with a certificate chain (leaf first, PEM) and its key. Both travel in one secret: Envoy
 * never sees a new chain with an old key.
 *
 * Written field by field, not by the generated types: these pull in a hundred descriptors, 15 MB in a program that runs
 * beside every pod. The tests hold the bytes against the generated types. Never throws.
 * Source: envoy.extensions.transport_sockets.tls.v3.Secret, fields 1 `name`, 2 `tls_certificate`, 4 `validation_context`.
 */
export function buildIdentitySecret(name: string, chainPem: string, keyPem: string): Uint8Array {
  const certificate = new BinaryWriter()
  inlineText(certificate, 1, chainPem)
  inlineText(certificate, 2, keyPem)
  return secret(name, 2, certificate)
}

/**
 * The bytes of an Envoy Secret with trusted roots (PEM); with `uris` the certificate must carry one of these as well. See
 * `buildIdentitySecret`. Source: CertificateValidationContext, fields 1 `trusted_ca`, 15 `match_typed_subject_alt_names`.
 */
export function buildTrustSecret(name: string, rootsPem: string, uris: readonly string[] = []): Uint8Array {
  const validation = new BinaryWriter()
  inlineText(validation, 1, rootsPem)
  for (const uri of uris) {
    const matcher = validation.tag(15, lengthDelimited).fork().tag(1, varint).int32(uriName)
    matcher.tag(2, lengthDelimited).fork().tag(1, lengthDelimited).string(uri).join().join()
  }
  return secret(name, 4, validation)
}

const varint = 0
const lengthDelimited = 2
/** SubjectAltNameMatcher.SanType.URI. */
const uriName = 3

/** A field of type DataSource with `inline_bytes` (2). */
function inlineText(to: BinaryWriter, field: number, text: string): void {
  to.tag(field, lengthDelimited).fork().tag(2, lengthDelimited).bytes(Buffer.from(text)).join()
}

const secret = (name: string, field: number, body: BinaryWriter): Uint8Array =>
  new BinaryWriter().tag(1, lengthDelimited).string(name).tag(field, lengthDelimited).bytes(body.finish()).finish()
