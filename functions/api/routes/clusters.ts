import { createRoute, z } from '@hono/zod-openapi'
import { type Caller, requireRole } from '#control/caller.ts'
import { applyCluster, createCluster, removeCluster } from '#control/member-cluster.ts'
import { type ClusterRow, loadClusterByName, loadClusters } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadReportEpochs } from '#control/store/streams.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { type Hearing, hearingsOf } from '#functions/api/hearings.ts'
import { idempotencyKey } from '#functions/api/idempotency.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { etagOf, expectedRevision, hasRevision } from '#functions/api/revision.ts'
import {
  type ApiCondition,
  body,
  json,
  listOf,
  objectFields,
  operatorSecurity,
  problems,
  timeText,
} from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseEpoch, rivalMsMax } from '#mesh/wire/sync.ts'

const clusterSchema = z
  .object({
    ...objectFields,
    state: z.enum(['expected', 'joined', 'left', 'revoked']),
    generation: z.number().int(),
    trustDomain: z.string(),
    network: z.string(),
    region: z.string(),
    keyId: z.string().nullable(),
    relayVersion: z.string(),
    meshSync: z.string(),
    joinedAt: z.string().nullable(),
    lastSeenAt: z.string().nullable(),
  })
  .openapi('Cluster')

const place = {
  region: z.string().max(63).optional(),
  network: z.string().min(1).max(63).optional(),
}
const trustDomain = z
  .string()
  .min(1)
  .max(127)
  .optional()
  .openapi({ description: 'to share with other clusters, which only an admin may ask for; absent: as the mesh began' })
const newClusterSchema = z.object({ name: z.string().min(1).max(63), ...place, trustDomain }).openapi('NewCluster')
const named = z.object({ name: z.string() })

/** A relay reports at least every ten seconds, and the centre notes it once a minute. */
const silentAfterMs = 3 * 60_000

/** A cluster, with the epoch in which its relay reports where that was looked up. */
type ReportingCluster = ClusterRow & { readonly reportEpoch?: string | undefined }

/** Members, those expected and those that left. */
export function clusterRoutes(api: Api, door: Door): void {
  const { centre } = door
  const item = (row: ReportingCluster) => clusterFrom(row, centre.now(), hearingsOf(centre).get(row.id))
  const reporting = async (tx: Tx, rows: readonly ClusterRow[]) => {
    const names = rows.map((row) => row.name)
    const epochs = await loadReportEpochs(tx, centre.mesh, names)
    return rows.map((row) => ({ ...row, reportEpoch: epochs.get(row.name) }))
  }
  const load = async (name: string): Promise<ReportingCluster> => {
    const [row] = await centre.db.read(async (tx) => {
      const found = await loadClusterByName(tx, centre.mesh, name)
      return found ? reporting(tx, [found]) : []
    })
    if (!row) throw new Problem('not-found', `there is no cluster "${name.slice(0, 80)}"`)
    return row
  }
  const shared = { tags: ['clusters'], security: operatorSecurity }

  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/clusters',
      summary: 'All clusters by name',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(clusterSchema, 'Cluster'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'clusters')
      const rows = await centre.db.read(async (tx) =>
        reporting(tx, await loadClusters(tx, centre.mesh, page.after, page.limit + 1)),
      )
      return c.json(pageOf(rows, page, 'clusters', { key: (row) => row.name, item }), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/clusters',
      summary: 'Announce a cluster; then make it a join token',
      middleware: [forRole(door, 'operator')] as const,
      request: { headers: idempotencyKey, body: body(newClusterSchema) },
      responses: { 201: json(clusterSchema, 'Announced'), ...problems },
    }),
    async (c) => {
      const nonce = c.req.valid('header')['idempotency-key']
      const asked = c.req.valid('json')
      const row = await createCluster(centre, announcer(c.get('caller'), asked), { ...asked, nonce })
      return c.json(item(row), 201, { etag: etagOf(row.revision), location: `/v1/clusters/${row.name}` })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'put',
      path: '/v1/clusters/{name}',
      summary: 'Announce a cluster, or say anew where one is expected to be',
      middleware: [forRole(door, 'operator')] as const,
      request: { params: named, query: dryRun, body: body(z.object({ ...place, trustDomain }).openapi('ClusterSpec')) },
      responses: { 200: json(clusterSchema, 'It exists'), 201: json(clusterSchema, 'Announced'), ...problems },
    }),
    async (c) => {
      const asked = c.req.valid('json')
      const { row, created } = await applyCluster(centre, announcer(c.get('caller'), asked), {
        ...c.req.valid('param'),
        ...asked,
        dryRun: c.req.valid('query').dryRun === 'true',
        expected: expectedRevision(c.req.header('if-match')),
      })
      return c.json(item(row), created ? 201 : 200, { etag: etagOf(row.revision) })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/clusters/{name}',
      summary: 'One cluster',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params: named },
      responses: { 200: json(clusterSchema, 'The cluster'), 304: { description: 'Not changed' }, ...problems },
    }),
    async (c) => {
      const row = await load(c.req.valid('param').name)
      const etag = etagOf(row.revision)
      if (hasRevision(c.req.header('if-none-match'), etag)) return c.body(null, 304, { etag })
      return c.json(item(row), 200, { etag })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      path: '/v1/clusters/{name}',
      summary: 'Take a cluster out of the mesh: its credentials are void at once, its exports withdrawn',
      middleware: [forRole(door, 'operator')] as const,
      request: { params: named },
      responses: { 200: json(clusterSchema, 'It has left'), ...problems },
    }),
    async (c) => {
      const expected = expectedRevision(c.req.header('if-match'))
      const row = await removeCluster(centre, c.get('caller'), c.req.valid('param').name, expected)
      return c.json(item(row), 200, { etag: etagOf(row.revision) })
    },
  )
}

/** A trust domain that is shared weakens others than the cluster which gets it. Throws `forbidden`. */
const announcer = (caller: Caller, asked: { readonly trustDomain?: string | undefined }): Caller =>
  asked.trustDomain === undefined ? caller : requireRole(caller, 'admin')

export const dryRun = z.object({ dryRun: z.enum(['true', 'false']).optional() })

/** As stored, with when it was last heard from this process too: the store is told of that once a minute only. */
const clusterFrom = (stored: ReportingCluster, now: number, hearing?: Hearing): z.infer<typeof clusterSchema> => {
  const row = { ...stored, lastSeenAt: laterOf(stored.lastSeenAt, hearing?.takenAt) }
  return {
    id: row.id,
    name: row.name,
    revision: row.revision,
    createdAt: timeText(row.createdAt),
    conditions: conditionsOf(row, now, hearing),
    state: row.state,
    generation: row.generation,
    trustDomain: row.trustDomain,
    network: row.network,
    region: row.region,
    keyId: row.keyThumbprint,
    relayVersion: row.relayVersion,
    meshSync: row.meshSync,
    joinedAt: row.joinedAt === null ? null : timeText(row.joinedAt),
    lastSeenAt: row.lastSeenAt === null ? null : timeText(row.lastSeenAt),
  }
}

const laterOf = (stored: number | null, heard: number | undefined): number | null =>
  heard === undefined ? stored : Math.max(stored ?? 0, heard)

function conditionsOf(row: ReportingCluster, now: number, hearing: Hearing = {}): ApiCondition[] {
  if (row.state === 'left')
    return [{ type: 'Joined', status: 'False', reason: 'Left', message: 'it was taken out of the mesh' }]
  if (row.state === 'revoked')
    return [{ type: 'Joined', status: 'False', reason: 'Revoked', message: 'its trust was revoked' }]
  if (row.state === 'expected')
    return [
      {
        type: 'Joined',
        status: 'False',
        reason: 'Expected',
        message: `its relay has not joined: isthmus token create ${row.name}`,
      },
    ]
  const heard = Math.max(row.lastSeenAt ?? 0, row.joinedAt ?? 0)
  const silent = now - heard > silentAfterMs
  return [
    { type: 'Joined', status: 'True', reason: 'Joined', message: `generation ${row.generation}` },
    {
      type: 'Heard',
      status: silent ? 'Unknown' : 'True',
      reason: silent ? 'Silent' : 'Reporting',
      message: silent ? `no report since ${timeText(heard)}: what it last said stays in force` : 'its relay reports',
    },
    ...unconfined(row),
    ...rivals(row, now),
    ...refusals(hearing),
  ]
}

const unconfined = ({ sharedDomain, trustDomain }: ClusterRow): ApiCondition[] =>
  sharedDomain !== true
    ? []
    : [
        {
          type: 'Confined',
          status: 'False',
          reason: 'SharedTrustDomain',
          message:
            `it shares the trust domain ${trustDomain}: nothing keeps its issuing CA from speaking for every identity of that ` +
            'domain; isthmus trust show says how many',
        },
      ]

const refusals = ({ refusedFor }: Hearing): ApiCondition[] =>
  refusedFor === undefined
    ? []
    : [{ type: 'ReportTaken', status: 'False', reason: 'ReportRefused', message: refusedFor }]

/** Two relays with one membership: each says in its epochs which other one replaced it. */
function rivals({ name, reportEpoch = '' }: ReportingCluster, now: number): ApiCondition[] {
  const epoch = parseEpoch(reportEpoch)
  if (epoch?.rival === undefined || now - epoch.startedAt > rivalMsMax) return []
  const message =
    `two relays report as ${name} (instances ${epoch.instance} and ${epoch.rival}), and each replaces what the other ` +
    `tells: end one of them. A copy of a relay's state directory is never started beside the original: another cluster ` +
    'has a name and a token of its own (isthmus cluster create)'
  return [{ type: 'OneRelay', status: 'False', reason: 'TwoRelays', message }]
}
