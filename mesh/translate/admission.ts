import type { Any } from '@bufbuild/protobuf/wkt'
import { type PrincipalSchema, RBAC_Action } from '#gen/envoy/config/rbac/v3/rbac_pb.js'
import { RBACPerRouteSchema } from '#gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.js'
import { RBACSchema } from '#gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.js'
import type { XdsResource } from '#mesh/model/resource.ts'
import { any, extension, type Fields, ownerOf } from '#mesh/translate/encode.ts'
import type { NetworkFilter } from '#mesh/translate/http.ts'
import type { InboundPort } from '#mesh/translate/inbound-ports.ts'
import { idExactly, idsOf, type Name, orNobody } from '#mesh/translate/tls.ts'
import type { ForeignAnchors } from '#mesh/translate/trust.ts'
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
export function admissionSecret(name: string, { service, admitted }: Admits, by: Anchors): XdsResource {
  const { roots, foreign } = by
  const anchorsOf = (domain: string): string | undefined =>
    Object.hasOwn(foreign, domain) ? foreign[domain] : undefined
  const isMixed = admitted.some((domain) => anchorsOf(domain) !== undefined)
  const byDomain = admitted.map((domain) => ({ trustDomain: domain, anchors: anchorsOf(domain) ?? roots }))
  return validationSecret(
    { name, ...(service === undefined ? {} : { owner: ownerOf(service) }) },
    { roots, names: orNobody(admitted.map(idsOf)), ...(isMixed ? { byDomain } : {}) },
  )
}

/** PEM: the roots of the mesh, and by foreign trust domain those that speak for it alone. */
export type Anchors = { readonly roots: string; readonly foreign: ForeignAnchors }

export type Admits = Pick<InboundPort, 'admitted'> & { readonly service?: string }

/** The rule of a virtual host: the admitted trust domains without who is denied, and without TLS whoever the mode lets in. */
export function admissionRule({
  mode,
  admitted,
  denied,
}: Pick<InboundPort, 'mode' | 'admitted' | 'denied'>): Record<string, Any> {
  if (mode === 'DISABLE') return {}
  const domains = orNobody(admitted.map(idsOf)).map((domain) => {
    const out = denied.filter((id) => id.startsWith(domain.text)).map(idExactly)
    return out.length === 0 ? named(domain) : butNot(named(domain), out.map(named))
  })
  const principals = mode === 'PERMISSIVE' ? [...domains, withoutTls] : domains
  const policies = { admitted: { permissions, principals } }
  return {
    'envoy.filters.http.rbac': any(RBACPerRouteSchema, { rbac: { rules: { action: RBAC_Action.ALLOW, policies } } }),
  }
}

/**
 * Ends a stream of somebody who is denied at its first byte: what has no requests has no route that could refuse them, and
 * a handshake knows prefixes only. It stands in the chain, so a denial replaces the chain, and what is open ends as well.
 */
export function denialOf(denied: readonly string[]): NetworkFilter[] {
  if (denied.length === 0) return []
  const policies = { denied: { permissions, principals: denied.map(idExactly).map(named) } }
  return [
    extension('envoy.filters.network.rbac', RBACSchema, {
      statPrefix: 'denied.',
      rules: { action: RBAC_Action.DENY, policies },
    }),
  ]
}

type Principal = Fields<typeof PrincipalSchema>

const permissions = [{ rule: { case: 'any' as const, value: true } }]

const named = ({ kind, text }: Name): Principal => ({
  identifier: { case: 'authenticated', value: { principalName: { matchPattern: { case: kind, value: text } } } },
})

const butNot = (all: Principal, out: readonly Principal[]): Principal => ({
  identifier: {
    case: 'andIds',
    value: {
      ids: [all, { identifier: { case: 'notId', value: { identifier: { case: 'orIds', value: { ids: [...out] } } } } }],
    },
  },
})

const withoutTls: Principal = {
  identifier: { case: 'notId', value: { identifier: { case: 'authenticated', value: {} } } },
}
