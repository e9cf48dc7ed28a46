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
import { any, type Fields, fromAgent } from '#mesh/translate/encode.ts'

/** Whom to accept: PEM of the roots (absent = what the program beside Envoy serves as `ROOTCA`) and the names. */
export type Trust = { readonly roots: string | undefined; readonly names: readonly Name[] }

/** A whole SPIFFE id, or with `prefix` every id that begins so. */
export type Name = { readonly kind: 'exact' | 'prefix'; readonly text: string }

/** Every id of a trust domain; the slash keeps `a.mesh1` from admitting `a.mesh10`. */
export const idsOf = (trustDomain: string): Name => ({ kind: 'prefix', text: `spiffe://${trustDomain}/` })
export const idExactly = (id: string): Name => ({ kind: 'exact', text: id })

/** Nobody's id: a socket that must never carry a byte demands it. */
export const nobody: Name = idExactly('spiffe://nobody.invalid/')

/** ALPN values that say "a mesh proxy calls": a gateway and a permissive port tell mutual TLS by them. Source: Istio. */
export const meshAlpn = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2'] as const

/**
 * The caller's side of mutual TLS: certificate `default`, exact identities, TLS 1.3 (an Envoy client stops at 1.2 unless
 * told), no resumption. ALPN is `istio` alone: it passes every gateway, and the server's codec looks at the bytes.
 */
export const clientTls = (to: { readonly sni: string; readonly trust: Trust }) => ({
  name: 'envoy.transport_sockets.tls',
  configType: {
    case: 'typedConfig' as const,
    value: any(UpstreamTlsContextSchema, {
      sni: to.sni,
      maxSessionKeys: 0,
      commonTlsContext: commonTls(to.trust, ['istio']),
    }),
  },
})

/**
 * The server's side: a client certificate is demanded, TLS 1.3, and both kinds of session resumption are off, since a
 * resumed session is accepted without looking at the certificate again (an expired leaf would go on).
 */
export const serverTls = (admits: Trust, alpn: readonly string[]) => ({
  name: 'envoy.transport_sockets.tls',
  configType: {
    case: 'typedConfig' as const,
    value: any(DownstreamTlsContextSchema, {
      requireClientCertificate: true,
      sessionTicketKeysType: { case: 'disableStatelessSessionResumption', value: true },
      disableStatefulSessionResumption: true,
      commonTlsContext: commonTls(admits, alpn),
    }),
  },
})

export const plainSocket = {
  name: 'envoy.transport_sockets.raw_buffer',
  configType: { case: 'typedConfig' as const, value: any(RawBufferSchema, {}) as Any },
}

function commonTls(trust: Trust, alpn: readonly string[]): Fields<typeof CommonTlsContextSchema> {
  const version = TlsParameters_TlsProtocol.TLSv1_3
  return {
    alpnProtocols: [...alpn],
    tlsParams: { tlsMinimumProtocolVersion: version, tlsMaximumProtocolVersion: version },
    tlsCertificateSdsSecretConfigs: [{ name: 'default', sdsConfig: fromAgent }],
    validationContextType: validation(trust),
  }
}

function validation(trust: Trust) {
  const matchTypedSubjectAltNames = trust.names.map((name) =>
    create(SubjectAltNameMatcherSchema, {
      sanType: SubjectAltNameMatcher_SanType.URI,
      matcher: { matchPattern: { case: name.kind, value: name.text } },
    }),
  )
  if (trust.roots === undefined)
    return {
      case: 'combinedValidationContext' as const,
      value: {
        defaultValidationContext: { matchTypedSubjectAltNames },
        validationContextSdsSecretConfig: { name: 'ROOTCA', sdsConfig: fromAgent },
      },
    }
  return {
    case: 'validationContext' as const,
    value: {
      trustedCa: { specifier: { case: 'inlineString' as const, value: trust.roots } },
      matchTypedSubjectAltNames,
    },
  }
}
