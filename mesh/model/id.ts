import { Problem } from '#mesh/model/problem.ts'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** One DNS label, unique among all meshes of a centre. */
export type MeshName = Branded<'MeshName'>
/** One DNS label, unique in its mesh: CLUSTER_ID, `sub_zone` and part of stream names. */
export type ClusterName = Branded<'ClusterName'>
/** UUIDv7 of a member cluster. */
export type ClusterId = Branded<'ClusterId'>
/** Hosts that reach each other without a gateway carry the same network name. */
export type NetworkName = Branded<'NetworkName'>
/** `<cluster>.<mesh>` or, from the second generation on, `<cluster>-g<n>.<mesh>`. */
export type TrustDomain = Branded<'TrustDomain'>
/** `<namespace>/<name>` of a service. */
export type ServiceKey = Branded<'ServiceKey'>

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/

/** Why `text` is not a DNS label that Envoy, Go and Kubernetes all accept; undefined where it is one. */
export function labelFault(text: string): string | undefined {
  if (text.length > 63) return `has ${text.length} characters; at most 63`
  if (/[A-Z]/.test(text)) return 'has capitals; use lower case'
  if (!label.test(text)) return 'is not one DNS label: a-z, 0-9 and inner hyphens'
  return undefined
}

function parseLabel<T extends string>(what: string, text: string): T {
  const fault = labelFault(text)
  if (fault) throw new Problem('invalid', `${what} "${text}" ${fault}`, { violations: [{ path: what, reason: fault }] })
  return text as T
}

export const parseMeshName = (text: string): MeshName => {
  if (/^[0-9]+$/.test(text))
    throw new Problem('invalid', `mesh "${text}" is all digits: Envoy refuses every certificate of such a trust domain`)
  return parseLabel('mesh', text)
}
export const parseClusterName = (text: string): ClusterName => parseLabel('cluster', text)
export const parseNetworkName = (text: string): NetworkName => parseLabel('network', text)

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
export function parseClusterId(text: string): ClusterId {
  if (!uuid.test(text)) throw new Problem('invalid', `cluster id "${text}" is not a UUID`)
  return text as ClusterId
}

/** The trust domain of a cluster in its n-th generation (1-based). Throws `invalid` when a label would pass 63 characters. */
export function trustDomainOf(cluster: ClusterName, mesh: MeshName, generation: number): TrustDomain {
  const first = generation === 1 ? cluster : `${cluster}-g${generation}`
  return `${parseLabel<string>('trust domain', first)}.${mesh}` as TrustDomain
}

/**
 * Why clusters of a mesh may not share the trust domain; undefined where they may. Whoever issues for a domain is believed by
 * Go for all below it too, so none that is above or below the domains of single clusters.
 */
export function sharedDomainFault(domain: string, mesh: string): string | undefined {
  if (domain === mesh) return `is above those of single clusters, <cluster>.${mesh}`
  if (domain.endsWith(`.${mesh}`)) return `has the form of those of single clusters, <cluster>.${mesh}`
  return undefined
}

/** Room in a label for `-g9999`: a name that leaves none could never go on to another generation. */
const newNameMax = 57

/**
 * Why a cluster may not newly be called `name`, though it is one label; undefined where it may. `paris-g2` would be given
 * the trust domain that `paris` has in its second generation, and so speak for it.
 */
export function newClusterNameFault(name: ClusterName): string | undefined {
  const [, other, ending] = /^(.*)(-g[0-9]+)$/.exec(name) ?? []
  if (ending !== undefined)
    return `ends in "${ending}": so ends the trust domain of a later generation of a cluster "${other}"`
  if (name.length > newNameMax)
    return `has ${name.length} characters; at most ${newNameMax}, for the trust domains of later generations`
  return undefined
}

export function serviceKey(namespace: string, name: string): ServiceKey {
  return `${parseLabel<string>('namespace', namespace)}/${parseLabel<string>('service', name)}` as ServiceKey
}

/** The two parts of a service key. */
export function partsOf(key: ServiceKey): { readonly namespace: string; readonly name: string } {
  const at = key.indexOf('/')
  return { namespace: key.slice(0, at), name: key.slice(at + 1) }
}
