import { isIP } from 'node:net'
import { z } from 'zod'
import { type GatewayService, parseGatewayService } from '#gateway/watch/gateway-service.ts'
import { parseAddressAnnotations } from '#mesh/mcs/address-text.ts'
import { type NetworkName, parseNetworkName, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import type { MutualTlsMode, PeerAuthentication, Pod } from '#mesh/model/pod.ts'
import { Problem } from '#mesh/model/problem.ts'
import { labelsMax, protocolOf, type ServicePort } from '#mesh/model/service.ts'
import type { OwnImport } from '#mesh/model/view.ts'
import { checkObjectName, parseGroupSpec, parsePolicySpec } from '#mesh/policy/parse-policy.ts'
import { trustDomainFault } from '#mesh/trust/spiffe-id.ts'

export type SliceEndpoint = {
  readonly address: string
  readonly ready: boolean
  readonly serving: boolean
  readonly terminating: boolean
  readonly zone: string
  /** `<namespace>/<pod>`; empty where the slice names none. */
  readonly pod: string
  readonly hostname?: string
}

/** Where a node says that it is; empty where it does not say. */
export type Place = { readonly region: string; readonly zone: string }

/** A Kubernetes object that a relay uses, cut down to what it uses of it. */
export type KubeObject =
  | { readonly kind: 'Namespace'; readonly name: string; readonly network?: NetworkName }
  | ({ readonly kind: 'Node'; readonly name: string } & Place)
  | { readonly kind: 'ServiceAccount'; readonly namespace: string; readonly name: string }
  | {
      readonly kind: 'Service'
      readonly key: ServiceKey
      readonly ports: readonly ServicePort[]
      readonly clusterIps: readonly string[]
      readonly headless: boolean
      readonly labels?: Readonly<Record<string, string>>
      readonly sticky?: true
      /** Set where it stands for east-west gateways. */
      readonly gateway?: GatewayService
    }
  | {
      readonly kind: 'EndpointSlice'
      readonly service: ServiceKey
      readonly endpoints: readonly SliceEndpoint[]
      /** Number on the pod by port name. */
      readonly ports: Readonly<Record<string, number>>
    }
  | { readonly kind: 'Pod'; readonly pod: Pod; readonly network?: NetworkName }
  | {
      readonly kind: 'ServiceExport'
      readonly key: ServiceKey
      readonly consumers?: readonly string[]
      readonly perCluster?: true
      readonly createdAt: number
    }
  | {
      readonly kind: 'ServiceImport'
      readonly key: ServiceKey
      readonly accept: boolean
      /** Absent where it names no address. */
      readonly addresses?: OwnImport
    }
  | { readonly kind: 'ExternalName'; readonly key: ServiceKey }
  | { readonly kind: 'PeerAuthentication'; readonly policy: PeerAuthentication }
  | {
      readonly kind: 'GlobalTrafficPolicy'
      readonly namespace: string
      readonly name: string
      readonly spec: Readonly<Record<string, unknown>>
    }
  | { readonly kind: 'SamenessGroup'; readonly name: string; readonly spec: Readonly<Record<string, unknown>> }

const text = z.string().max(4096)
const texts = z.record(z.string().max(512), text).nullish()
const port = z.number().int().min(1).max(65_535)
const portName = z.string().max(63).nullish()
const account = z.string().max(253).nullish()
const address = z.string().refine((a) => isIP(a) !== 0, { error: 'is not an IP address' })
const list = <T extends z.ZodType>(item: T, max: number) => z.array(item).max(max).nullish()

/**
 * Tools keep whole objects in annotations, of any length: those that are not ours are not looked at. Source: kubectl,
 * `kubectl.kubernetes.io/last-applied-configuration`; Kubernetes bounds all of them together only (256 KiB).
 */
const annotations = z.preprocess((said) => {
  if (typeof said !== 'object' || said === null || Array.isArray(said)) return said
  return Object.fromEntries(
    Object.entries(said).filter(([name]) => /^(isthmus\.dev|networking\.istio\.io)\//.test(name)),
  )
}, texts)

export const metadataSchema = z.object({
  name: z
    .string()
    .max(253)
    .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'is not a Kubernetes name'),
  namespace: z
    .string()
    .max(63)
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'is not a namespace')
    .nullish(),
  labels: texts,
  annotations,
  creationTimestamp: z.iso.datetime({ offset: true }).nullish(),
  uid: z.string().max(128).nullish(),
})
export type Metadata = z.infer<typeof metadataSchema> & { readonly namespace: string }

const networkLabel = 'topology.istio.io/network'
const networkOf = (metadata: Metadata): { readonly network?: NetworkName } => {
  const said = metadata.labels?.[networkLabel]
  return said === undefined ? {} : { network: parseNetworkName(said) }
}

const serviceSchema = z.object({
  spec: z.object({
    type: text.nullish(),
    clusterIP: text.nullish(),
    clusterIPs: list(text, 2),
    sessionAffinity: text.nullish(),
    ports: list(z.object({ name: portName, port, protocol: text.nullish(), appProtocol: text.nullish() }), 100),
  }),
})

/** UDP and SCTP ports are no business of a mesh. */
export function parseService(metadata: Metadata, raw: unknown): KubeObject {
  const { spec } = serviceSchema.parse(raw)
  if (spec.type === 'ExternalName') return { kind: 'ExternalName', key: serviceKey(metadata.namespace, metadata.name) }
  const ports = (spec.ports ?? []).filter((p) => isTcp(p.protocol))
  const gateway = parseGatewayService(metadata, raw)
  return {
    kind: 'Service',
    key: serviceKey(metadata.namespace, metadata.name),
    ports: ports.map((p) => {
      const said = { name: p.name ?? '', ...(p.appProtocol ? { appProtocol: p.appProtocol } : {}) }
      return { name: p.name ?? '', port: p.port, ...protocolOf(said) }
    }),
    clusterIps: [...new Set([...(spec.clusterIPs ?? []), spec.clusterIP ?? ''])].filter((ip) => isIP(ip) !== 0),
    headless: spec.clusterIP === 'None',
    ...labelsOf(metadata),
    ...(spec.sessionAffinity === 'ClientIP' ? { sticky: true as const } : {}),
    ...(gateway ? { gateway } : {}),
  }
}

/** The first by name of those that Kubernetes would take too: a file may hold others. */
function labelsOf({ labels }: Metadata): { readonly labels?: Readonly<Record<string, string>> } {
  const good = Object.entries(labels ?? {}).filter(([label, value]) => label.length <= 317 && value.length <= 63)
  if (good.length === 0) return {}
  return { labels: Object.fromEntries(good.toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, labelsMax)) }
}

const isTcp = (protocol: string | null | undefined): boolean => (protocol ?? 'TCP') === 'TCP'

const sliceSchema = z.object({
  addressType: z.enum(['IPv4', 'IPv6']),
  endpoints: list(
    z.object({
      addresses: z.array(address).min(1).max(100),
      conditions: z
        .object({ ready: z.boolean().nullish(), serving: z.boolean().nullish(), terminating: z.boolean().nullish() })
        .nullish(),
      zone: z.string().max(63).nullish(),
      hostname: z.string().max(63).nullish(),
      targetRef: z.object({ kind: text.nullish(), name: text.nullish(), namespace: text.nullish() }).nullish(),
    }),
    1000,
  ),
  ports: list(z.object({ name: portName, port: port.nullish(), protocol: text.nullish() }), 100),
})

/**
 * Undefined for a slice of no Service. An absent condition means ready and serving, and the first address stands for
 * all of an endpoint's. Source: Kubernetes, EndpointSlice v1.
 */
export function parseEndpointSlice(metadata: Metadata, raw: unknown): KubeObject | undefined {
  const service = metadata.labels?.['kubernetes.io/service-name']
  if (service === undefined) return undefined
  const slice = sliceSchema.parse(raw)
  const ports = (slice.ports ?? []).filter((p) => isTcp(p.protocol))
  return {
    kind: 'EndpointSlice',
    service: serviceKey(metadata.namespace, service),
    ports: Object.fromEntries(ports.flatMap((p) => (p.port ? [[p.name ?? '', p.port]] : []))),
    endpoints: (slice.endpoints ?? []).map(({ addresses, conditions, zone, hostname, targetRef }) => ({
      address: addresses[0] ?? '',
      ready: conditions?.ready ?? true,
      serving: conditions?.serving ?? conditions?.ready ?? true,
      terminating: conditions?.terminating ?? false,
      zone: zone ?? '',
      pod:
        targetRef?.kind === 'Pod' && targetRef.name
          ? `${targetRef.namespace ?? metadata.namespace}/${targetRef.name}`
          : '',
      ...(hostname ? { hostname } : {}),
    })),
  }
}

const podSchema = z.object({
  spec: z.object({ serviceAccountName: account, serviceAccount: account, nodeName: text.nullish() }).nullish(),
  status: z.object({ podIP: text.nullish(), podIPs: list(z.object({ ip: text.nullish() }), 8) }).nullish(),
})

export function parsePod(metadata: Metadata, raw: unknown): KubeObject {
  const { spec, status } = podSchema.parse(raw)
  const ips = [status?.podIP, ...(status?.podIPs ?? []).map((p) => p.ip)]
  const labels = metadata.labels ?? {}
  const pod: Pod = {
    namespace: metadata.namespace,
    name: metadata.name,
    ips: [...new Set(ips)].filter((ip) => ip !== undefined && ip !== null && isIP(ip) !== 0).map(String),
    serviceAccount: spec?.serviceAccountName || spec?.serviceAccount || 'default',
    labels,
    node: spec?.nodeName ?? '',
    meshed: labels['security.istio.io/tlsMode'] === 'istio',
    ...(metadata.uid ? { uid: metadata.uid } : {}),
  }
  return { kind: 'Pod', pod, ...networkOf(metadata) }
}

export const parseNamespace = (metadata: Metadata): KubeObject => ({
  kind: 'Namespace',
  name: metadata.name,
  ...networkOf(metadata),
})

const placeLabel = (metadata: Metadata, name: string): string => (metadata.labels?.[name] ?? '').slice(0, 63)

/** Source: Kubernetes, well-known labels `topology.kubernetes.io/region` and `zone`. */
export const parseNode = (metadata: Metadata): KubeObject => ({
  kind: 'Node',
  name: metadata.name,
  region: placeLabel(metadata, 'topology.kubernetes.io/region'),
  zone: placeLabel(metadata, 'topology.kubernetes.io/zone'),
})

export const parseServiceAccount = ({ namespace, name }: Metadata): KubeObject => ({
  kind: 'ServiceAccount',
  namespace,
  name,
})

const clusterOrGroup = z
  .string()
  .max(63)
  .regex(/^((group\/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?|\*)$/)

/** Why it can be no consumer: neither a cluster's name, `*`, nor `spiffe://<trust domain>`. */
function consumerFault(name: string): string | undefined {
  if (!name.startsWith('spiffe://'))
    return clusterOrGroup.safeParse(name).success ? undefined : `is not a cluster's name`
  const fault = trustDomainFault(name.slice('spiffe://'.length))
  return fault === undefined ? undefined : `names a trust domain that ${fault}`
}

/**
 * An annotation without names lets nobody in; a name that cannot be one sets the whole export aside, because leaving it
 * out could be leaving out a restriction. When it was made is told and decides nothing: a file may have no such time, and
 * how old an export is the centre sees for itself.
 */
export function parseServiceExport(metadata: Metadata): KubeObject {
  const key = serviceKey(metadata.namespace, metadata.name)
  const said = metadata.annotations?.['isthmus.dev/consumers']
  const createdAt = metadata.creationTimestamp ? Math.max(0, Date.parse(metadata.creationTimestamp)) : 0
  const named = isSet(metadata, 'isthmus.dev/per-cluster-name', 'false') ? ({ perCluster: true } as const) : {}
  if (said === undefined) return { kind: 'ServiceExport', key, createdAt, ...named }
  const names = said
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  const bad = names.find((name) => consumerFault(name) !== undefined)
  if (bad !== undefined)
    throw new Error(`annotation isthmus.dev/consumers: "${bad.slice(0, 80)}" ${consumerFault(bad)}`)
  if (names.length > 1000) throw new Error('annotation isthmus.dev/consumers names more than 1000 clusters')
  return { kind: 'ServiceExport', key, createdAt, consumers: [...new Set(names)].toSorted(), ...named }
}

const importSchema = z.object({ spec: z.object({ ips: list(z.string().max(45), 2) }).nullish() })

export function parseServiceImport(metadata: Metadata, raw: unknown): KubeObject {
  const key = serviceKey(metadata.namespace, metadata.name)
  const { spec } = importSchema.parse(raw)
  const [ip] = spec?.ips ?? []
  const parts = parseAddressAnnotations(metadata.annotations)
  const createdAt = metadata.creationTimestamp ? Math.max(0, Date.parse(metadata.creationTimestamp)) : 0
  const addresses = { key, createdAt, parts, ...(ip === undefined ? {} : { ip }) }
  const hasSome = ip !== undefined || Object.keys(parts).length > 0
  return {
    ...{ kind: 'ServiceImport', key, accept: isSet(metadata, 'isthmus.dev/accept', 'true') },
    ...(hasSome ? { addresses } : {}),
  }
}

function isSet(metadata: Metadata, annotation: string, unsaid: 'true' | 'false'): boolean {
  const said = metadata.annotations?.[annotation] ?? unsaid
  if (said !== 'true' && said !== 'false')
    throw new Error(`annotation ${annotation} is "${said.slice(0, 80)}": use "true" or "false"`)
  return said === 'true'
}

const mode = z.object({ mode: z.enum(['UNSET', 'STRICT', 'PERMISSIVE', 'DISABLE']).nullish() })
const peerAuthenticationSchema = z.object({
  spec: z
    .object({
      selector: z.object({ matchLabels: texts }).nullish(),
      mtls: mode.nullish(),
      portLevelMtls: z.record(z.string().regex(/^[1-9][0-9]{0,4}$/, 'is not a port'), mode).nullish(),
    })
    .nullish(),
})

export function parsePeerAuthentication(metadata: Metadata, raw: unknown): KubeObject {
  const { spec } = peerAuthenticationSchema.parse(raw)
  const ports = Object.entries(spec?.portLevelMtls ?? {}).flatMap(([number, said]) => {
    const set = modeOf(said)
    return set ? [[number, set] as const] : []
  })
  const own = modeOf(spec?.mtls)
  return {
    kind: 'PeerAuthentication',
    policy: {
      namespace: metadata.namespace,
      name: metadata.name,
      selector: spec?.selector?.matchLabels ?? {},
      ...(own ? { mode: own } : {}),
      ports: Object.fromEntries(ports),
    },
  }
}

function modeOf(said: z.infer<typeof mode> | null | undefined): MutualTlsMode | undefined {
  const value = said?.mode
  return value === undefined || value === null || value === 'UNSET' ? undefined : value
}

/** By the same rules as the centre's API: a field that is not known is refused. Throws `invalid`. */
export function parseTrafficPolicy({ namespace, name }: Metadata, raw: unknown): KubeObject {
  checkObjectName({ namespace, name })
  return { kind: 'GlobalTrafficPolicy', namespace, name, spec: { ...parsePolicySpec(specOf(raw)) } }
}

/** As `parseTrafficPolicy`. */
export function parseSamenessGroup({ name }: Metadata, raw: unknown): KubeObject {
  checkObjectName({ name })
  return { kind: 'SamenessGroup', name, spec: { ...parseGroupSpec(specOf(raw)) } }
}

/** What Kubernetes itself puts beside the spec is no business of ours; what is misplaced there is. */
function specOf(raw: unknown): unknown {
  const { spec, apiVersion: _1, kind: _2, metadata: _3, status: _4, ...others } = raw as Record<string, unknown>
  const violations = Object.keys(others).map((path) => ({ path, reason: 'there is no such field: is it one of spec?' }))
  const [first] = violations
  if (first) throw new Problem('invalid', `${first.path}: ${first.reason}`, { violations })
  return spec
}
