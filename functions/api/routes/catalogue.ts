import { z } from '@hono/zod-openapi'
import type { Catalogue, CompiledMember, ReportedMember } from '#control/catalogue.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { type Derived, derivedRoute } from '#functions/api/derived.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { type ApiCondition, objectFields, timeText } from '#functions/api/schemas.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import { partsOf, type ServiceKey } from '#mesh/model/id.ts'
import { loadFreshMs } from '#mesh/model/load.ts'
import { servicePortSchema } from '#mesh/wire/report.ts'

const serviceFields = { ...objectFields, namespace: z.string() }
const ports = z.array(servicePortSchema)

const networkSchema = z.object({ ...objectFields, clusters: z.array(z.string()) }).openapi('Network')
const gatewaySchema = z
  .object({
    ...objectFields,
    cluster: z.string(),
    address: z.string(),
    port: z.number().int(),
    state: z.enum(['ready', 'down', 'unknown']),
    reachedFrom: z
      .array(z.string())
      .openapi({ description: 'clusters whose relays a gateway of this cluster answered just now' }),
  })
  .openapi('Gateway')
const serviceSchema = z.object({ ...serviceFields, ports, clusters: z.array(z.string()) }).openapi('Service')
const importSchema = z
  .object({
    ...serviceFields,
    cluster: z.string(),
    host: z.string(),
    ports,
    sources: z.array(z.string()),
    tiers: z.array(z.array(z.object({ cluster: z.string(), weight: z.number() }))),
  })
  .openapi('ServiceImport')
const endpointSchema = z
  .object({
    ...serviceFields,
    cluster: z.string(),
    port: z.number().int(),
    region: z.string(),
    zone: z.string(),
    ready: z.number().int(),
    total: z.number().int(),
  })
  .openapi('Endpoints')

/** Networks, gateways, the service catalogue, imports and ready counts: what clusters report and the centre compiled. */
export function catalogueRoutes(api: Api, door: Door, catalogue: Catalogue): void {
  derivedRoute(api, door, {
    ...{ path: '/v1/networks', name: 'Network', tag: 'catalogue', schema: networkSchema },
    summary: 'Networks: hosts that reach each other without a gateway. They exist by being named',
    load: async () => networksOf(await catalogue.reports()),
  })
  derivedRoute(api, door, {
    ...{ path: '/v1/gateways', name: 'Gateway', tag: 'catalogue', schema: gatewaySchema },
    summary: 'East-west gateways, as their clusters report them',
    load: async () => {
      const [reports, loads] = await Promise.all([
        catalogue.reports(),
        door.centre.db.read((tx) => knownLoads(door.centre, tx)),
      ])
      return reports.flatMap((report) => gatewaysOf(report, reachedFrom(loads, report.row.name, door.centre.now())))
    },
  })
  derivedRoute(api, door, {
    ...{ path: '/v1/services', name: 'Service', tag: 'catalogue', schema: serviceSchema },
    summary: 'Every service that some cluster exports',
    load: async () => servicesOf(await catalogue.reports()),
  })
  derivedRoute(api, door, {
    ...{ path: '/v1/service-imports', name: 'ServiceImport', tag: 'catalogue', schema: importSchema },
    summary: 'What each cluster may call, from its compiled config',
    load: async () => (await catalogue.compiled()).flatMap(importsOf),
  })
  derivedRoute(api, door, {
    ...{ path: '/v1/endpoints', name: 'Endpoints', tag: 'catalogue', schema: endpointSchema },
    summary: 'Ready and total endpoints by service, cluster, port and locality',
    load: async () => (await catalogue.reports()).flatMap(endpointsOf),
  })
}

type Loads = Awaited<ReturnType<typeof knownLoads>>

const objectOf = (id: string, createdAt: number, conditions: ApiCondition[] = []) => ({
  id,
  name: id,
  revision: 0,
  createdAt: timeText(createdAt),
  conditions,
})
const serviceOf = (id: string, key: ServiceKey, createdAt: number, conditions: ApiCondition[] = []) => ({
  ...objectOf(id, createdAt, conditions),
  ...partsOf(key),
})

function networksOf(reports: readonly ReportedMember[]): z.infer<typeof networkSchema>[] {
  return [...Map.groupBy(reports, ({ row }) => row.network)].map(([network, members]) => ({
    ...objectOf(network, Math.min(...members.map(({ row }) => row.joinedAt ?? row.createdAt))),
    clusters: members.map(({ row }) => row.name).toSorted(),
  }))
}

/** Relays that said so of late. */
const reachedFrom = (loads: Loads, cluster: string, now: number): string[] =>
  [...loads]
    .flatMap(([caller, { load, takenAt }]) =>
      now - takenAt <= loadFreshMs && load.reached?.some((name) => name === cluster) ? [caller] : [],
    )
    .toSorted()

const gatewaysOf = ({ row, gateways }: ReportedMember, reached: string[]): z.infer<typeof gatewaySchema>[] =>
  gateways.map(({ address, port, state }) => ({
    ...objectOf(`${row.name}/${address}:${port}`, row.joinedAt ?? row.createdAt),
    ...{ cluster: row.name, address, port, state, reachedFrom: reached },
  }))

type Offer = { readonly cluster: string; readonly offered: ServiceExport }

function servicesOf(reports: readonly ReportedMember[]): z.infer<typeof serviceSchema>[] {
  const offers = reports.flatMap(({ row, exports }) =>
    [...exports.values()].map((offered): Offer => ({ cluster: row.name, offered })),
  )
  return [...Map.groupBy(offers, ({ offered }) => offered.key)].map(([key, of]) => {
    const oldest = of.toSorted((a, b) => a.offered.createdAt - b.offered.createdAt)[0]
    return {
      ...serviceOf(key, key, oldest?.offered.createdAt ?? 0),
      ports: [...(oldest?.offered.ports ?? [])],
      clusters: of.map(({ cluster }) => cluster).toSorted(),
    }
  })
}

const importsOf = ({ row, imports, at, revision }: CompiledMember): z.infer<typeof importSchema>[] =>
  [...imports.values()].map((service) => ({
    ...serviceOf(`${row.name}/${service.key}`, service.key, at),
    revision,
    cluster: row.name,
    host: service.host,
    ports: [...service.ports],
    sources: service.sources.map((source) => source.cluster),
    tiers: service.tiers.map(({ members }) => members.map(({ cluster, weight }) => ({ cluster, weight }))),
  }))

const endpointsOf = ({ row, summaries }: ReportedMember): (z.infer<typeof endpointSchema> & Derived)[] =>
  [...summaries].flatMap(([key, { counts }]) =>
    counts.map((count) => ({
      ...serviceOf(`${key}/${row.name}/${count.port}/${count.region}/${count.zone}`, key, row.createdAt),
      cluster: row.name,
      ...count,
    })),
  )
