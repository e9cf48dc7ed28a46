import { create } from '@bufbuild/protobuf'
import { SecretSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js'
import { SPIFFECertValidatorConfigSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config_pb.js'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import { any, encode } from '#mesh/translate/encode.ts'
import { matchersOf, type Name } from '#mesh/translate/tls.ts'

/** Whose certificates are accepted: by which roots (PEM), and with which names; no names = the asking side has them. */
export type Validation = {
  readonly roots: string
  readonly names: readonly Name[]
  /**
   * Where workloads of other meshes are accepted too: every trust domain with the anchors (PEM) that alone may speak for
   * it, the own ones among them.
   */
  readonly byDomain?: readonly { readonly trustDomain: string; readonly anchors: string }[]
}

/**
 * The secret that a TLS context names to learn whom to accept. A new content acts on the next handshake and leaves open
 * connections alone (measured with Envoy 1.40: 2-21 ms after it arrived).
 *
 * With anchors by trust domain, Envoy's SPIFFE validator takes the place of its ordinary one: the first URI of a leaf says
 * whose anchors it is checked against, and there is no other way in. The ordinary one knows one list of anchors, any of
 * which speaks for any name that its constraints let through; it stays wherever no other mesh is admitted, because it looks
 * at extended key usage and the SPIFFE validator does not.
 */
export function validationSecret(what: { name: string; owner?: string }, accepts: Validation): XdsResource {
  const message = create(SecretSchema, {
    name: what.name,
    type: {
      case: 'validationContext',
      value: {
        ...anchorsOf(accepts),
        matchTypedSubjectAltNames: matchersOf(accepts.names),
      },
    },
  })
  return encode({ type: typeUrls.secret, ...what }, SecretSchema, message)
}

const anchorsOf = ({ roots, byDomain }: Validation) =>
  byDomain === undefined
    ? { trustedCa: inline(roots) }
    : {
        customValidatorConfig: {
          name: 'envoy.tls.cert_validator.spiffe',
          typedConfig: any(SPIFFECertValidatorConfigSchema, {
            trustDomains: byDomain.map(({ trustDomain, anchors }) => ({
              name: trustDomain,
              trustBundle: inline(anchors),
            })),
          }),
        },
      }

const inline = (pem: string) => ({ specifier: { case: 'inlineString' as const, value: pem } })
