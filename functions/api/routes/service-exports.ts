import { createRoute, z } from '@hono/zod-openapi'
import { applyExport, rehearseExport, removeExport } from '#control/apply-export.ts'
import type { Catalogue, Narrowings, ReportedMember } from '#control/catalogue.ts'
import { loadNarrowing, type NarrowingName, type ServiceExportRow } from '#control/store/exports.ts'
import { loadForeignDomains } from '#control/store/foreign-domains.ts'
import { forRole } from '#functions/api/authorise.ts'
import { derivedRoute } from '#functions/api/derived.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { rehearsal, rehearsalSchema } from '#functions/api/rehearsal.ts'
import { etagOf, expectedRevision, hasRevision } from '#functions/api/revision.ts'
import {
  type ApiCondition,
  body,
  json,
  objectFields,
  operatorSecurity,
  problems,
  timeText,
} from '#functions/api/schemas.ts'
import { consumersOf, everyMember, foreignConsumer } from '#mesh/compile/consumers.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import { parseClusterId, parseClusterName, parseNetworkName, partsOf, type TrustDomain } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { servicePortSchema } from '#mesh/wire/report.ts'

const exportSchema = z
  .object({
    ...objectFields,
    namespace: z.string(),
    cluster: z.string(),
    ports: z.array(servicePortSchema),
    serviceAccounts: z.array(z.string()),
    consumers: z.array(z.string()).openapi({
      description: 'who may use it after all lists; "*" = every member, "spiffe://…" = a trust domain of another mesh',
    }),
    declared: z.array(z.string()).openapi({ description: "the exporter's own list" }),
  })
  .openapi('ServiceExport')

const narrowingSchema = z
  .object({
    ...objectFields,
    namespace: z.string(),
    cluster: z.string().openapi({ description: 'empty = every exporter' }),
    consumers: z.array(z.string()).openapi({ description: 'the list of the operator; "*" = no list' }),
    exporters: z.array(z.string()),
  })
  .openapi('ServiceExportPolicy')

const changeSchema = z
  .object({ consumers: z.array(z.string().max(264)).max(1000), cluster: z.string().max(63).optional() })
  .openapi('ServiceExportSpec')

const params = z.object({ namespace: z.string(), name: z.string() })
const query = z.object({
  cluster: z.string().max(63).optional(),
  dryRun: z.enum(['true', 'false']).optional(),
})

/** What clusters offer, and the operator's lists that narrow it. */
export function serviceExportRoutes(api: Api, door: Door, catalogue: Catalogue): void {
  const { centre } = door
  const shared = {
    tags: ['service-exports'],
    security: operatorSecurity,
    path: '/v1/service-exports/{namespace}/{name}',
  }

  derivedRoute(api, door, {
    ...{
      path: '/v1/service-exports',
      name: 'ServiceExport',
      tag: 'service-exports',
      schema: exportSchema,
      single: false,
    },
    summary: 'Every export of every cluster, with who may use it',
    load: async () => {
      const [reports, narrowings, foreign] = await Promise.all([
        catalogue.reports(),
        catalogue.narrowings(),
        federated(),
      ])
      return reports.flatMap((report) => exportsOf(report, reports, { ...narrowings, foreign }))
    },
  })

  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      summary: "The operator's list of one export",
      middleware: [forRole(door, 'viewer')] as const,
      request: { params, query },
      responses: { 200: json(narrowingSchema, 'The list'), 304: { description: 'Not changed' }, ...problems },
    }),
    async (c) => {
      const name = nameOf(c.req.valid('param'), c.req.valid('query').cluster)
      const row = await centre.db.read((tx) => loadNarrowing(tx, centre.mesh, name))
      const shown = await show(name, row)
      if (!row && shown.exporters.length === 0)
        throw new Problem('not-found', `no cluster exports ${name.namespace}/${name.name}, and no list names it`)
      const etag = etagOf(shown.revision)
      if (hasRevision(c.req.header('if-none-match'), etag)) return c.body(null, 304, { etag })
      return c.json(shown, 200, { etag })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'put',
      summary: 'Narrow who may use an export; it never widens what the exporter offers',
      middleware: [forRole(door, 'operator')] as const,
      request: { params, query, body: body(changeSchema) },
      responses: {
        200: json(z.union([narrowingSchema, rehearsalSchema]), 'The list, or with dryRun what it would change'),
        201: json(z.union([narrowingSchema, rehearsalSchema]), 'The list is new, or with dryRun would be'),
        ...problems,
      },
    }),
    async (c) => {
      const { consumers, cluster } = c.req.valid('json')
      const { cluster: asked, dryRun } = c.req.valid('query')
      const name = nameOf(c.req.valid('param'), asked ?? cluster)
      const change = { ...name, consumers, expected: expectedRevision(c.req.header('if-match')) }
      if (dryRun === 'true') {
        const known = await centre.db.read((tx) => loadNarrowing(tx, centre.mesh, name))
        return c.json(await rehearsed(change), known ? 200 : 201)
      }
      const { row, created } = await applyExport(centre, c.get('caller'), change)
      return c.json(await show(name, row), created ? 201 : 200, { etag: etagOf(row.revision) })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      summary: "Take the operator's list away: the exporter's own decides again",
      middleware: [forRole(door, 'operator')] as const,
      request: { params, query },
      responses: {
        200: json(rehearsalSchema, 'With dryRun: what it would change'),
        204: { description: 'There is no list (any more)' },
        ...problems,
      },
    }),
    async (c) => {
      const { cluster, dryRun } = c.req.valid('query')
      const name = nameOf(c.req.valid('param'), cluster)
      if (dryRun === 'true') return c.json(await rehearsed(name), 200)
      await removeExport(centre, c.get('caller'), { ...name, expected: expectedRevision(c.req.header('if-match')) })
      return c.body(null, 204)
    },
  )

  const rehearsed = async (change: Parameters<typeof rehearseExport>[1]) =>
    rehearsal(await rehearseExport(centre, change))

  async function federated(): Promise<readonly TrustDomain[]> {
    const rows = await centre.db.read((tx) => loadForeignDomains(tx, centre.mesh))
    return rows.map((row) => parseTrustDomain(row.trustDomain))
  }

  async function show(
    name: NarrowingName,
    row: ServiceExportRow | undefined,
  ): Promise<z.infer<typeof narrowingSchema>> {
    const reports = await catalogue.reports()
    const own = reports.filter(({ row: member }) => name.cluster === '' || member.name === name.cluster)
    const offers = own.flatMap(({ row: member, exports }) =>
      [...exports.values()].filter((e) => e.key === `${name.namespace}/${name.name}`).map(() => member.name),
    )
    const consumers: string[] = row ? JSON.parse(row.consumers) : [everyMember]
    const foreign = (await federated()).map(foreignConsumer)
    const known = new Set<string>([everyMember, ...reports.map(({ row: member }) => member.name), ...foreign])
    return {
      id: row?.id ?? `${name.namespace}/${name.name}`,
      ...name,
      revision: row?.revision ?? 0,
      createdAt: timeText(row?.createdAt ?? 0),
      consumers,
      exporters: offers.toSorted(),
      conditions: consumers.filter((one) => !known.has(one)).map(unknownConsumer),
    }
  }
}

const nameOf = ({ namespace, name }: z.infer<typeof params>, cluster: string | undefined): NarrowingName => ({
  namespace,
  name,
  cluster: cluster ?? '',
})

const unknownConsumer = (name: string): ApiCondition => ({
  type: 'Resolved',
  status: 'False',
  reason: 'UnknownConsumer',
  message: `"${name}" is no cluster of this mesh and no trust domain that it federates with (yet): correct the name, or bring it in`,
})

function exportsOf(
  { row, exports, refused }: ReportedMember,
  reports: readonly ReportedMember[],
  operator: Narrowings & { readonly foreign: readonly TrustDomain[] },
): z.infer<typeof exportSchema>[] {
  const names = new Set(reports.map((report) => parseClusterName(report.row.name)))
  const member = {
    id: parseClusterId(row.id),
    name: parseClusterName(row.name),
    network: parseNetworkName(row.network),
    region: row.region,
    trustDomain: parseTrustDomain(row.trustDomain),
    exports,
    refused,
  }
  return [...exports.values()].map((offered: ServiceExport) => {
    const narrowings = operator.narrowings.filter((narrowing) => narrowing.key === offered.key)
    const facts = { members: names, narrowings, groups: operator.groups, foreign: operator.foreign }
    const { consumers, foreign, conditions } = consumersOf(member, offered, facts)
    const { namespace, name } = partsOf(offered.key)
    const revisions = operator.rows.filter(
      (one) => one.namespace === namespace && one.name === name && (one.cluster === '' || one.cluster === row.name),
    )
    return {
      id: `${row.name}/${offered.key}`,
      name,
      namespace,
      cluster: row.name,
      revision: Math.max(0, ...revisions.map((one) => one.revision)),
      createdAt: timeText(offered.createdAt),
      ports: [...offered.ports],
      serviceAccounts: [...offered.serviceAccounts],
      consumers: [
        ...(consumers === 'everybody' ? [everyMember] : [...consumers].toSorted()),
        ...foreign.map(foreignConsumer),
      ],
      declared: offered.consumers === undefined ? [everyMember] : [...offered.consumers],
      conditions: conditions.map(({ type, reason, message, object }) => ({
        type,
        status: 'True' as const,
        reason,
        message,
        object,
      })),
    }
  })
}
