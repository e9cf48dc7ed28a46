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

export const reportKeys = {
  cluster: 'cluster',
  gateways: 'gateways',
  export: (service: string) => `export/${service}`,
  summary: (service: string) => `summary/${service}`,
  refuse: (service: string) => `refuse/${service}`,
  /** Of `trustReportSchema`. */
  trust: 'trust',
} as const

export type ReportItem = {
  readonly key: string
  readonly kind: 'cluster' | 'gateways' | 'export' | 'summary' | 'refuse' | 'trust'
  readonly service?: ServiceKey
}

/**
 * What a reported key is about; undefined for a key of no known shape (a newer relay's: kept out, not an error). Both
 * names of a service are DNS labels, by the same rule as everywhere.
 */
export function parseReportKey(key: string): ReportItem | undefined {
  if (key === 'cluster' || key === 'gateways' || key === 'trust') return { key, kind: key }
  const [, kind, namespace, name] = /^(export|summary|refuse)\/([^/]+)\/([^/]+)$/.exec(key) ?? []
  if (namespace === undefined || name === undefined || labelFault(namespace) || labelFault(name)) return undefined
  return { key, kind: kind as 'export' | 'summary' | 'refuse', service: serviceKey(namespace, name) }
}
