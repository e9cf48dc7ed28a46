import { create } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { RawBufferSchema } from '#gen/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.js'
import {
  SubjectAltNameMatcher_SanType,
  SubjectAltNameMatcherSchema,
  TlsParameters_TlsProtocol,
} from '#gen/envoy/extensions/transport_sockets/tls/v3/common_pb.js'
import {
  type CommonTlsContextSchema,
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.js'
import { any, type Fields, fromAds, fromAgent } from '#mesh/translate/encode.ts'

/** The secret with the roots that every caller of the mesh trusts. */
export const rootsName = 'mesh-roots'

/** A whole SPIFFE id, or with `prefix` every id that begins so. */
export type Name = { readonly kind: 'exact' | 'prefix'; readonly text: string }

/** Every id of a trust domain; the slash keeps `a.mesh1` from admitting `a.mesh10`. */
export const idsOf = (trustDomain: string): Name => ({ kind: 'prefix', text: `spiffe://${trustDomain}/` })
export const idExactly = (id: string): Name => ({ kind: 'exact', text: id })

/** Nobody's id: a socket that must never carry a byte demands it. */
export const nobody: Name = idExactly('spiffe://nobody.invalid/')

/** No matcher at all would accept everybody under the roots. */
export const orNobody = (names: readonly Name[]): readonly Name[] => (names.length === 0 ? [nobody] : names)

/** ALPN values that say "a mesh proxy calls": a gateway and a permissive port tell mutual TLS by them. Source: Istio. */
export const meshAlpn = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2'] as const

/**
 * The caller's side of mutual TLS: certificate `default`, exact identities, TLS 1.3 (an Envoy client stops at 1.2 unless
 * told), no resumption. ALPN is `istio` alone: it passes every gateway, and the server's codec looks at the bytes.
 *
 * The roots come by name, as a secret: a cluster that held them would be replaced with every change of the roots.
 */
export const clientTls = (to: { readonly sni: string; readonly names: readonly Name[] }) => ({
  name: 'envoy.transport_sockets.tls',
  configType: {
    case: 'typedConfig' as const,
    value: any(UpstreamTlsContextSchema, {
      sni: to.sni,
      maxSessionKeys: 0,
      commonTlsContext: commonTls(['istio'], {
        case: 'combinedValidationContext',
        value: {
          defaultValidationContext: { matchTypedSubjectAltNames: matchersOf(to.names) },
          validationContextSdsSecretConfig: { name: rootsName, sdsConfig: fromAds },
        },
      }),
    }),
  },
})

/**
 * The server's side: a client certificate is demanded, TLS 1.3, and both kinds of session resumption are off, since a
 * resumed session is accepted without looking at the certificate again (an expired leaf would go on).
 *
 * Whom it admits is the content of the secret `admits`, whose name never changes: what the listener says would replace
 * its filter chains with every change of members or roots, and cut the connections that are open on them.
 */
export const serverTls = (admits: string, alpn: readonly string[]) => ({
  name: 'envoy.transport_sockets.tls',
  configType: {
    case: 'typedConfig' as const,
    value: any(DownstreamTlsContextSchema, {
      requireClientCertificate: true,
      sessionTicketKeysType: { case: 'disableStatelessSessionResumption', value: true },
      disableStatefulSessionResumption: true,
      commonTlsContext: commonTls(alpn, {
        case: 'validationContextSdsSecretConfig',
        value: { name: admits, sdsConfig: fromAds },
      }),
    }),
  },
})

export const plainSocket = {
  name: 'envoy.transport_sockets.raw_buffer',
  configType: { case: 'typedConfig' as const, value: any(RawBufferSchema, {}) as Any },
}

/** One of the URIs of a certificate must be among these. */
export const matchersOf = (names: readonly Name[]) =>
  names.map((name) =>
    create(SubjectAltNameMatcherSchema, {
      sanType: SubjectAltNameMatcher_SanType.URI,
      matcher: { matchPattern: { case: name.kind, value: name.text } },
    }),
  )

type TlsContext = Fields<typeof CommonTlsContextSchema>

function commonTls(
  alpn: readonly string[],
  validationContextType: NonNullable<TlsContext['validationContextType']>,
): TlsContext {
  const version = TlsParameters_TlsProtocol.TLSv1_3
  return {
    alpnProtocols: [...alpn],
    tlsParams: { tlsMinimumProtocolVersion: version, tlsMaximumProtocolVersion: version },
    tlsCertificateSdsSecretConfigs: [{ name: 'default', sdsConfig: fromAgent }],
    validationContextType,
  }
}
