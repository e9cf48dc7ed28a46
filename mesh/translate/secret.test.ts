import { fromBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SubjectAltNameMatcher_SanType } from '#gen/envoy/extensions/transport_sockets/tls/v3/common_pb.js'
import { SecretSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js'
import { buildIdentitySecret, buildTrustSecret } from '#mesh/translate/secret.ts'

const pem = fc.string({ unit: 'grapheme', maxLength: 5_000 })
const text = (source: { specifier: { case?: string | undefined; value?: unknown } } | undefined): string =>
  source?.specifier.case === 'inlineBytes' ? Buffer.from(source.specifier.value as Uint8Array).toString('utf8') : ''

test('an identity reads back, by Envoy’s own types, as its chain and its key', () => {
  fc.assert(
    fc.property(fc.string(), pem, pem, (name, chain, key) => {
      const secret = fromBinary(SecretSchema, buildIdentitySecret(name, chain, key))
      expect(secret.name).toBe(name)
      expect(secret.type.case).toBe('tlsCertificate')
      const certificate = secret.type.case === 'tlsCertificate' ? secret.type.value : undefined
      expect(text(certificate?.certificateChain)).toBe(chain)
      expect(text(certificate?.privateKey)).toBe(key)
      expect(secret.$unknown ?? []).toEqual([])
    }),
  )
})

test('whom a client believes reads back, by Envoy’s own types, as roots and the exact URIs', () => {
  fc.assert(
    fc.property(pem, fc.array(fc.string(), { maxLength: 3 }), (roots, uris) => {
      const secret = fromBinary(SecretSchema, buildTrustSecret('CONTROLPLANE', roots, uris))
      const context = secret.type.case === 'validationContext' ? secret.type.value : undefined
      expect(text(context?.trustedCa)).toBe(roots)
      expect(
        context?.matchTypedSubjectAltNames.map(({ sanType, matcher }) => [sanType, matcher?.matchPattern]),
      ).toEqual(uris.map((value) => [SubjectAltNameMatcher_SanType.URI, { case: 'exact', value }]))
      expect([secret.$unknown ?? [], context?.$unknown ?? []]).toEqual([[], []])
    }),
  )
})

test('trusted roots read back, by Envoy’s own types', () => {
  fc.assert(
    fc.property(fc.string(), pem, (name, roots) => {
      const secret = fromBinary(SecretSchema, buildTrustSecret(name, roots))
      expect(secret.name).toBe(name)
      expect(text(secret.type.case === 'validationContext' ? secret.type.value.trustedCa : undefined)).toBe(roots)
    }),
  )
})
