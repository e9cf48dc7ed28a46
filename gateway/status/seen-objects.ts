import { z } from 'zod'
import { parseAddressAnnotations } from '#mesh/mcs/address-text.ts'
import type { DerivedSlice, Seen, SeenCondition, SeenImport, SeenObjects } from '#mesh/mcs/objects.ts'
import { type ClusterName, serviceKey } from '#mesh/model/id.ts'

/** Marks what the relay made; Kubernetes' own controllers let slices of another manager be. */
export const ourLabels = { 'app.kubernetes.io/managed-by': 'isthmus', 'app.kubernetes.io/part-of': 'isthmus' } as const
export const sliceManager = 'relay.isthmus.dev'
export const sliceLabels = {
  manager: 'endpointslice.kubernetes.io/managed-by',
  service: 'multicluster.kubernetes.io/service-name',
  cluster: 'multicluster.kubernetes.io/source-cluster',
} as const

const metadata = z.object({
  name: z.string(),
  namespace: z.string().nullish(),
  uid: z.string(),
  resourceVersion: z.string(),
  generation: z.number().nullish(),
  deletionTimestamp: z.string().nullish(),
  labels: z.record(z.string(), z.string()).nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
})
type Metadata = z.infer<typeof metadata>

const conditionsSchema = z
  .array(
    z.object({
      type: z.string(),
      status: z.enum(['True', 'False', 'Unknown']),
      reason: z.string().catch(''),
      message: z.string().catch(''),
      lastTransitionTime: z.string().nullish(),
    }),
  )
  .nullish()
  .catch([])
const withConditions = z.object({ metadata, status: z.object({ conditions: conditionsSchema }).nullish() })

const importSchema = z.object({
  metadata,
  spec: z
    .object({
      type: z.enum(['ClusterSetIP', 'Headless']).catch('ClusterSetIP'),
      ips: z.array(z.string()).nullish(),
      sessionAffinity: z.enum(['None', 'ClientIP']).nullish().catch('None'),
      ports: z
        .array(z.object({ name: z.string().nullish(), port: z.number(), appProtocol: z.string().nullish() }))
        .nullish(),
    })
    .nullish(),
  status: z
    .object({ clusters: z.array(z.object({ cluster: z.string() })).nullish(), conditions: conditionsSchema })
    .nullish(),
})

const sliceSchema = z.object({
  metadata,
  addressType: z.enum(['IPv4', 'IPv6']),
  ports: z.array(z.object({ name: z.string().nullish(), port: z.number().nullish() })).nullish(),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()),
        conditions: z.object({ ready: z.boolean().nullish(), terminating: z.boolean().nullish() }).nullish(),
        zone: z.string().nullish(),
        hostname: z.string().nullish(),
      }),
    )
    .nullish(),
})

const metaOf = ({ uid, resourceVersion, generation }: Metadata) => ({
  ...{ uid, resourceVersion },
  ...(generation === undefined || generation === null ? {} : { generation }),
})

const conditionsOf = (said: z.infer<typeof conditionsSchema>): readonly SeenCondition[] =>
  (said ?? []).map(({ lastTransitionTime, ...one }) => ({
    ...one,
    ...(lastTransitionTime ? { since: lastTransitionTime } : {}),
  }))

function conditionedOf(raw: unknown): Seen<{ readonly conditions: readonly SeenCondition[] }> | undefined {
  const { data } = withConditions.safeParse(raw)
  return data && { ...metaOf(data.metadata), conditions: conditionsOf(data.status?.conditions) }
}

function importOf(raw: unknown): Seen<SeenImport> | undefined {
  const { data } = importSchema.safeParse(raw)
  if (!data) return undefined
  const { labels, annotations } = data.metadata
  return {
    ...metaOf(data.metadata),
    isOurs: labels?.['app.kubernetes.io/managed-by'] === 'isthmus',
    refuses: annotations?.['isthmus.dev/accept'] === 'false',
    spec: {
      type: data.spec?.type ?? 'ClusterSetIP',
      ports: (data.spec?.ports ?? []).map(({ name, port, appProtocol }) => ({
        ...{ name: name ?? '', port, appProtocol: appProtocol ?? '' },
      })),
      ips: data.spec?.ips ?? [],
      sessionAffinity: data.spec?.sessionAffinity ?? 'None',
      parts: parseAddressAnnotations(annotations),
    },
    status: {
      clusters: (data.status?.clusters ?? []).map(({ cluster }) => cluster as ClusterName).toSorted(),
      conditions: conditionsOf(data.status?.conditions),
    },
  }
}

/** Undefined for a slice that the relay did not make. */
function sliceOf(raw: unknown): Seen<DerivedSlice> | undefined {
  const { data } = sliceSchema.safeParse(raw)
  const { labels = {}, namespace } = data?.metadata ?? {}
  if (!data || !namespace || labels?.[sliceLabels.manager] !== sliceManager) return undefined
  try {
    return {
      ...metaOf(data.metadata),
      service: serviceKey(namespace, labels[sliceLabels.service] ?? ''),
      cluster: (labels[sliceLabels.cluster] ?? '') as ClusterName,
      addressType: data.addressType,
      ports: (data.ports ?? []).map(({ name, port }) => ({ name: name ?? '', port: port ?? 0 })),
      endpoints: (data.endpoints ?? []).map(({ addresses, conditions, zone, hostname }) => ({
        address: addresses[0] ?? '',
        ready: conditions?.ready ?? true,
        terminating: conditions?.terminating ?? false,
        zone: zone ?? '',
        hostname: hostname ?? '',
      })),
    }
  } catch {
    return undefined
  }
}

/** True of one that takes new objects. */
function namespaceOf(raw: unknown): true | undefined {
  const { data } = z.object({ metadata }).safeParse(raw)
  return data && !data.metadata.deletionTimestamp ? true : undefined
}

/** What is kept of each kind of object beside what the watch keeps: what has been written, and by whom. */
export const seenParsers: Readonly<Record<string, (object: unknown) => unknown>> = {
  Namespace: namespaceOf,
  ServiceExport: conditionedOf,
  ServiceImport: importOf,
  EndpointSlice: sliceOf,
  GlobalTrafficPolicy: conditionedOf,
  SamenessGroup: conditionedOf,
}

/** What a watch kept by `seenParsers`. */
export function seenObjects(also: (kind: string) => ReadonlyMap<string, unknown>): SeenObjects {
  return {
    namespaces: new Set(also('Namespace').keys()),
    exports: also('ServiceExport') as SeenObjects['exports'],
    imports: also('ServiceImport') as SeenObjects['imports'],
    slices: also('EndpointSlice') as SeenObjects['slices'],
    policies: also('GlobalTrafficPolicy') as SeenObjects['policies'],
    groups: also('SamenessGroup') as SeenObjects['groups'],
  }
}
