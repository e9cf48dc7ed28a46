import type { Node } from '#gen/envoy/config/core/v3/base_pb.js'
import type { Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Who a client proved to be, by certificate or token: the parts of its SPIFFE ID. */
export type Identity = {
  readonly trustDomain: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** What one connected proxy says about itself, as plain JSON, and who it proved to be. */
export type ConnectedProxy = {
  /** The whole node id, `<kind>~<ip>~<pod>.<namespace>~<domain>`. */
  readonly id: string
  readonly kind: string
  readonly ip: string
  /** The third part of the id: `<pod>.<namespace>`. */
  readonly name: string
  readonly domain: string
  readonly cluster: string
  readonly metadata: { readonly [key: string]: Json | undefined }
  readonly locality: { readonly region: string; readonly zone: string; readonly subZone: string }
  /** Names of the extensions compiled into the client; empty when it does not say. */
  readonly extensions: readonly string[]
  readonly userAgent: { readonly name: string; readonly version: string }
  readonly identity: Identity
}

export const identityText = ({ trustDomain, namespace, serviceAccount }: Identity): string =>
  `${trustDomain}/ns/${namespace}/sa/${serviceAccount}`

/** One proxy: who it proved to be and the id that it gives itself, so that nobody can pass for another identity's proxy. */
export const keyOf = (proxy: Pick<ConnectedProxy, 'identity' | 'id'>): string =>
  `${identityText(proxy.identity)} ${proxy.id}`

const kinds = ['sidecar', 'router', 'waypoint', 'ztunnel', 'agentgateway']

/**
 * The proxy of a stream's first message. Throws `invalid` when the node is missing or malformed or its metadata is past
 * `metadataBytes`, and `forbidden`, with one bland sentence, when it names another namespace or service account than
 * the client proved. A node without SERVICE_ACCOUNT is accepted: what counts is the proof.
 * Source: istiod, `ParseServiceNodeWithMetadata` and `checkConnectionIdentity`.
 */
export function proxyFrom(node: Node | undefined, identity: Identity, metadataBytes: number): ConnectedProxy {
  if (!node?.id)
    throw new Problem('invalid', 'missing node information: the first request must carry a node with an id')
  const [kind, ip, name, domain, more] = node.id.split('~')
  if (!kind || ip === undefined || !name || !domain || more !== undefined)
    throw new Problem('invalid', `node id "${node.id.slice(0, 256)}" is not <kind>~<ip>~<pod>.<namespace>~<domain>`)
  if (!kinds.includes(kind))
    throw new Problem('invalid', `node id "${node.id.slice(0, 256)}" starts with none of ${kinds.join(', ')}`)
  const metadata = parseMetadata(node.metadata, metadataBytes)
  const said = { namespace: metadata['NAMESPACE'] ?? domain.split('.')[0], account: metadata['SERVICE_ACCOUNT'] }
  const ownAccount = said.account === undefined || said.account === '' || said.account === identity.serviceAccount
  if (said.namespace !== identity.namespace || !ownAccount)
    throw new Problem('forbidden', 'authorization failed: the node does not match the identity of the connection')
  const { region = '', zone = '', subZone = '' } = node.locality ?? {}
  return {
    id: node.id,
    kind,
    ip,
    name,
    domain,
    cluster: node.cluster,
    metadata,
    locality: { region, zone, subZone },
    extensions: node.extensions.map((extension) => extension.name),
    userAgent: { name: node.userAgentName, version: versionOf(node) },
    identity,
  }
}

function versionOf(node: Node): string {
  const stated = node.userAgentVersionType
  if (stated.case === 'userAgentVersion') return stated.value
  const number = stated.case === 'userAgentBuildVersion' ? stated.value.version : undefined
  return number ? `${number.majorNumber}.${number.minorNumber}.${number.patch}` : ''
}

function parseMetadata(metadata: Node['metadata'], bytesMax: number): ConnectedProxy['metadata'] {
  const text = JSON.stringify(metadata ?? {})
  if (text.length > bytesMax)
    throw new Problem('invalid', `the node's metadata has ${text.length} characters; at most ${bytesMax}`)
  return JSON.parse(text) as ConnectedProxy['metadata']
}
