import { z } from 'zod'
import { labelFault, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import { podNamesMax } from '#mesh/model/pod-name.ts'
import { labelsMax } from '#mesh/model/service.ts'

/** Bounds of what one cluster may say; past them the item is refused by key, the rest goes on. */
export const reportLimits = { keyBytes: 300, valueBytes: 64 * 1024, items: 500, bodyBytes: 512 * 1024 } as const

const port = z.number().int().min(1).max(65535)
const name = z.string().min(1).max(63)
/** A cluster's name, `group/<name>`, `*`, or `spiffe://<trust domain>`. */
const consumer = z.string().min(1).max(264)
const protocol = z.enum(['http', 'http2', 'grpc', 'tcp', 'tls'])
export const servicePortSchema = z.object({ name: z.string().max(63), port, protocol, declared: z.boolean() })

/** `cluster`: facts of the cluster as a whole. Its name, trust domain and mesh come from its token, never from here. */
export const clusterFactsSchema = z.object({
  network: name,
  region: z.string().max(63),
  relayVersion: z.string().max(64),
  meshSync: z.string().max(32),
})

/** `export/<ns>/<svc>` */
export const exportSchema = z.object({
  ports: z.array(servicePortSchema).max(100),
  serviceAccounts: z.array(z.string().min(1).max(253)).max(100),
  consumers: z.array(consumer).max(1000).optional(),
  /** Unix ms; the last that a Date can hold. */
  createdAt: z.number().int().nonnegative().max(8.64e15),
  headless: z.boolean(),
  perCluster: z.literal(true).exactOptional(),
  labels: z
    .record(z.string().max(317), z.string().max(63))
    .refine((labels) => Object.keys(labels).length <= labelsMax, { error: `more than ${labelsMax} labels` })
    .exactOptional(),
  sticky: z.literal(true).exactOptional(),
})

const hostname = z.string().refine((text) => labelFault(text) === undefined, { error: 'is not one DNS label' })
const count = z.number().int().min(0).max(1_000_000)
/** `summary/<ns>/<svc>`; also the item body in `ep` streams under `<ns>/<svc>`. */
export const serviceSummarySchema = z.object({
  counts: z
    .array(z.object({ port, region: z.string().max(63), zone: z.string().max(63), ready: count, total: count }))
    .max(2000),
  flat: z
    .array(
      z.object({
        address: z.string().max(45),
        port,
        servicePort: port,
        region: z.string().max(63),
        zone: z.string().max(63),
        draining: z.boolean(),
        hostname: hostname.exactOptional(),
      }),
    )
    .max(1000)
    .exactOptional(),
  podNames: z
    .array(z.object({ hostname, ready: z.boolean() }))
    .max(podNamesMax)
    .exactOptional(),
})

/** `gateways`; also the item body in `ep` streams under `gateways`. */
export const gatewaySummarySchema = z.object({
  gateways: z
    .array(z.object({ address: z.string().min(1).max(253), port, state: z.enum(['ready', 'down', 'unknown']) }))
    .max(64),
})

/** `refuse/<ns>/<svc>`: this cluster does not import that service. */
export const refusalSchema = z.object({})

/** Bounds of the policies and groups of one cluster that the centre looks at: past them they are not in force. */
export const objectLimits = { count: 100, bytes: 256 * 1024 } as const

/** Those of a cluster's policies and groups that count: the first by key, as many as the bounds allow. */
export function countedObjects<T extends { readonly key: string; readonly bytes: number }>(
  all: readonly T[],
): readonly T[] {
  let bytes = 0
  const inOrder = all.toSorted((a, b) => (a.key < b.key ? -1 : 1)).slice(0, objectLimits.count)
  const past = inOrder.findIndex((one) => {
    bytes += one.bytes
    return bytes > objectLimits.bytes
  })
  return past < 0 ? inOrder : inOrder.slice(0, past)
}

/** JSON's `__proto__` is a field like any other: what is made of the spec is told, not silently left out. */
const specSaid = z.custom<Readonly<Record<string, unknown>>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  { error: 'is not an object' },
)
/**
 * `policy/<ns>/<name>` and `group/<name>`: the spec of an object as the cluster holds it, or why it cannot be read: then it
 * is there, and what was in force of it stays.
 */
export const objectSaidSchema = z.union([z.object({ spec: specSaid }), z.object({ fault: z.string().max(1000) })])
export type ObjectSaid = z.infer<typeof objectSaidSchema>

/** `unread`: files that were never read clearly since the relay started, so an object that is missing may be in one. */
export const unreadSchema = z.object({ files: z.number().int().min(1).max(1_000_000) })

export const reportKeys = {
  cluster: 'cluster',
  gateways: 'gateways',
  export: (service: string) => `export/${service}`,
  summary: (service: string) => `summary/${service}`,
  refuse: (service: string) => `refuse/${service}`,
  /** Of `trustReportSchema`. */
  trust: 'trust',
  policy: ({ namespace, name }: { readonly namespace: string; readonly name: string }) => `policy/${namespace}/${name}`,
  group: (name: string) => `group/${name}`,
  unread: 'unread',
} as const

export type ReportItem = {
  readonly key: string
  readonly kind: 'cluster' | 'gateways' | 'export' | 'summary' | 'refuse' | 'trust' | 'policy' | 'group' | 'unread'
  readonly service?: ServiceKey
}

/**
 * What a reported key is about; undefined for a key of no known shape (a newer relay's: kept out, not an error). Both
 * names of a service are DNS labels, by the same rule as everywhere.
 */
export function parseReportKey(key: string): ReportItem | undefined {
  if (key === 'cluster' || key === 'gateways' || key === 'trust' || key === 'unread') return { key, kind: key }
  const object = /^(?:(policy)\/([^/]+)\/|(group)\/)([^/]+)$/.exec(key)
  if (object) {
    const [, policy, of, , called] = object
    const isNamed = [...(of === undefined ? [] : [of]), called ?? ''].every((text) => labelFault(text) === undefined)
    return isNamed ? { key, kind: policy ? 'policy' : 'group' } : undefined
  }
  const [, kind, namespace, name] = /^(export|summary|refuse)\/([^/]+)\/([^/]+)$/.exec(key) ?? []
  if (namespace === undefined || name === undefined || labelFault(namespace) || labelFault(name)) return undefined
  return { key, kind: kind as 'export' | 'summary' | 'refuse', service: serviceKey(namespace, name) }
}
