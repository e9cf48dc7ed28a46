import { isIP } from 'node:net'
import type { Json } from '#mesh/model/canonical.ts'
import type { Locality } from '#mesh/model/endpoint.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Proxy as MeshProxy, PlainAddresses } from '#mesh/model/proxy.ts'

type JsonObject = { readonly [key: string]: Json | undefined }

/** What an Envoy says about itself in its first request, decoded from the envelope. */
export type NodeFacts = {
  readonly id: string
  readonly cluster: string
  readonly metadata: JsonObject
  readonly locality?: Locality
  /** Names from `node.extensions`. */
  readonly extensions: readonly string[]
}

/** Who the proxy is by its certificate or token. */
export type ProxyIdentity = { readonly namespace: string; readonly serviceAccount: string }

/**
 * A proxy from its node: `<type>~<ip>~<pod>.<namespace>~<domain>` and metadata as Istio's agent and ours send them.
 * Tolerant where istiod is: numbers and booleans may be quoted or not, labels come as an object, and what is missing is
 * taken from the id. Its namespace and service account are those of the identity, never its own word.
 *
 * Throws `invalid` for a node id of another form or type, or bad addresses in `ISTHMUS`; `forbidden` where the node
 * claims another namespace or service account than its identity has. Source: istiod, ParseServiceNodeWithMetadata.
 */
export function parseProxy(node: NodeFacts, identity: ProxyIdentity): MeshProxy {
  const [type, ip = '', workload = '', domain, ...more] = node.id.split('~')
  if (domain === undefined || more.length > 0)
    throw invalid('node.id', `node id "${clip(node.id)}" is not <type>~<ip>~<pod>.<namespace>~<domain>`)
  if (type !== 'sidecar' && type !== 'router')
    throw invalid(
      'node.id',
      `node id "${clip(node.id)}" has type "${clip(type ?? '')}"; a relay serves sidecar and router`,
    )
  const { metadata } = node
  claimed('NAMESPACE', textOf(metadata['NAMESPACE']), identity.namespace)
  claimed('SERVICE_ACCOUNT', textOf(metadata['SERVICE_ACCOUNT']), identity.serviceAccount)
  const interception = interceptionOf(textOf(metadata['INTERCEPTION_MODE']))
  const isthmus = objectOf(metadata['ISTHMUS'])
  const plain = interception === 'NONE' && type === 'sidecar' ? plainOf(isthmus) : undefined
  const gateway = type === 'router' ? gatewayOf(objectOf(isthmus['gateway'])) : undefined
  return {
    kind: type,
    id: node.id,
    namespace: identity.namespace,
    pod: textOf(metadata['NAME']) || podOf(workload, identity.namespace),
    serviceAccount: identity.serviceAccount,
    ips: ipsOf(textOf(metadata['INSTANCE_IPS']), ip),
    labels: textsOf(objectOf(metadata['LABELS'])),
    locality: { region: node.locality?.region ?? '', zone: node.locality?.zone ?? '' },
    interception,
    ...(plain === undefined ? {} : { plain }),
    ...(gateway === undefined ? {} : { gateway }),
  }
}

function claimed(key: string, said: string, is: string): void {
  if (said !== '' && said !== is)
    throw new Problem(
      'forbidden',
      `the node says ${key} "${clip(said)}", its identity says "${is}": start the proxy with the values of its own pod`,
    )
}

/** `reviews-v1-a` of `reviews-v1-a.bookinfo`: a pod's name may hold dots, so the known namespace is cut off. */
const podOf = (workload: string, namespace: string): string =>
  workload.endsWith(`.${namespace}`) ? workload.slice(0, -namespace.length - 1) : (workload.split('.')[0] ?? '')

function interceptionOf(text: string): MeshProxy['interception'] {
  return text === 'NONE' || text === 'TPROXY' ? text : 'REDIRECT'
}

function ipsOf(list: string, ip: string): readonly string[] {
  const ips = list.split(',').map((one) => one.trim())
  const valid = ips.filter((one) => isIP(one) !== 0)
  return valid.length > 0 ? valid : [ip].filter((one) => isIP(one) !== 0)
}

/** Where nothing is intercepted the proxy must say where it listens: nothing can be guessed. */
function plainOf(isthmus: JsonObject): PlainAddresses {
  const application = textOf(isthmus['application'])
  const outbound = textOf(isthmus['outbound'])
  const tcp = textsOf(objectOf(isthmus['tcp']))
  const wrong = [
    ['application', application] as const,
    ['outbound', outbound] as const,
    ...Object.entries(tcp).map(([service, address]) => [`tcp["${clip(service)}"]`, address] as const),
  ].filter(([, address]) => isIP(address) === 0)
  if (wrong.length > 0) {
    const violations = wrong.map(([path, value]) => ({
      path: `node.metadata.ISTHMUS.${path}`,
      reason: value === '' ? 'is missing' : `"${clip(value)}" is not an IP address`,
    }))
    const detail = violations.map((v) => `${v.path} ${v.reason}`).join('; ')
    throw new Problem('invalid', `a proxy with INTERCEPTION_MODE NONE must say where it listens: ${detail}`, {
      violations,
    })
  }
  return { application, outbound, tcp }
}

function gatewayOf(said: JsonObject): MeshProxy['gateway'] {
  if (Object.keys(said).length === 0) return undefined
  const address = textOf(said['address'])
  const port = Number(textOf(said['port']))
  if (isIP(address) === 0 || !Number.isInteger(port) || port < 1 || port > 65_535)
    throw invalid('node.metadata.ISTHMUS.gateway', `ISTHMUS.gateway is not {address: <IP>, port: <1-65535>}`)
  return { address, port }
}

/** Texts, numbers and booleans as text; anything else as nothing. */
const textOf = (value: Json | undefined): string =>
  typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''

const objectOf = (value: Json | undefined): JsonObject =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as JsonObject) : {}

const textsOf = (object: JsonObject): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.keys(object)
      .sort()
      .map((key) => [key, textOf(object[key])]),
  )

const clip = (text: string): string => (text.length > 120 ? `${text.slice(0, 120)}…` : text)
const invalid = (path: string, detail: string): Problem =>
  new Problem('invalid', detail, { violations: [{ path, reason: detail }] })
