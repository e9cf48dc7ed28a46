import type { Any } from '@bufbuild/protobuf/wkt'
import { type PrincipalSchema, RBAC_Action } from '#gen/envoy/config/rbac/v3/rbac_pb.js'
import { RBACPerRouteSchema } from '#gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.js'
import type { XdsResource } from '#mesh/model/resource.ts'
import { any, type Fields, ownerOf } from '#mesh/translate/encode.ts'
import type { InboundPort } from '#mesh/translate/inbound-ports.ts'
import { idsOf, orNobody } from '#mesh/translate/tls.ts'
import { validationSecret } from '#mesh/translate/validation.ts'

/**
 * Who may call one inbound port, said twice, because a handshake and a request are different moments: the secret judges
 * new connections, the rule in the routes judges every request, on old connections too. So a withdrawn domain gets 403
 * within milliseconds, and nobody else notices: neither touches a filter chain.
 *
 * What has no requests keeps the connection it has: a TCP stream, a WebSocket, a response on its way. Only a revocation
 * ends these: it has a number, which stands in the chain's name (`cutName`), and a chain of another name ends everybody's
 * connections on that port after the drain time.
 */
export const admissionSecret = (name: string, inbound: Admits, roots: string): XdsResource =>
  validationSecret(
    { name, ...(inbound.service === undefined ? {} : { owner: ownerOf(inbound.service) }) },
    { roots, names: orNobody(inbound.admitted.map(idsOf)) },
  )

export type Admits = Pick<InboundPort, 'admitted'> & { readonly service?: string }

/** The rule of a virtual host: the admitted trust domains, and without TLS whoever the port's mode lets in. */
export function admissionRule({ mode, admitted }: Pick<InboundPort, 'mode' | 'admitted'>): Record<string, Any> {
  if (mode === 'DISABLE') return {}
  const domains = orNobody(admitted.map(idsOf)).map(
    ({ kind, text }): Principal => ({
      identifier: { case: 'authenticated', value: { principalName: { matchPattern: { case: kind, value: text } } } },
    }),
  )
  const principals = mode === 'PERMISSIVE' ? [...domains, withoutTls] : domains
  const policies = {
    admitted: { permissions: [{ rule: { case: 'any' as const, value: true } }], principals },
  }
  return {
    'envoy.filters.http.rbac': any(RBACPerRouteSchema, { rbac: { rules: { action: RBAC_Action.ALLOW, policies } } }),
  }
}

type Principal = Fields<typeof PrincipalSchema>

const withoutTls: Principal = {
  identifier: { case: 'notId', value: { identifier: { case: 'authenticated', value: {} } } },
}
