import { createRoute, z } from '@hono/zod-openapi'
import { loadTrustedRoots } from '#control/store/authorities.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { RevocationRow } from '#control/store/revocations.ts'
import { loadOpenRotations } from '#control/store/rotations.ts'
import { loadStream } from '#control/store/streams.ts'
import { type ShownAuthority, showAuthorities, showTrust } from '#control/trust/overview.ts'
import { showRotation } from '#control/trust/show-rotation.ts'
import { forRole } from '#functions/api/authorise.ts'
import { derivedRoute } from '#functions/api/derived.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { foreignFrom, foreignSchema } from '#functions/api/routes/foreign-domains.ts'
import { rotationFrom, rotationSchema } from '#functions/api/routes/rotations.ts'
import { json, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { trustStream } from '#mesh/wire/stream.ts'

const authoritySchema = z
  .object({
    ...objectFields,
    kind: z.enum(['root', 'control-plane']),
    state: z.enum(['prepared', 'published', 'active', 'tainted', 'revoked']),
    certificate: z.string().openapi({ description: 'PEM' }),
    sha256: z.string().openapi({ description: 'of the DER' }),
    notBefore: z.string(),
    notAfter: z.string(),
    number: z.number().int().openapi({ description: 'among the authorities of its kind, from 1' }),
    keyKind: z.string(),
    signer: z.enum(['file', 'kms']).openapi({ description: 'where its key lies' }),
    stateAt: z.string(),
    issuedUnder: z.number().int().openapi({ description: 'certificates under it that have not ended' }),
  })
  .openapi('Authority')

const bundleSchema = z
  .object({
    ...objectFields,
    trustDomain: z.string(),
    cluster: z.string(),
    roots: z.array(z.string()).openapi({ description: 'PEM of each root that vouches for the trust domain' }),
  })
  .openapi('TrustBundle')

const clusterTrustSchema = z
  .object({
    ...{ cluster: z.string(), trustDomain: z.string(), generation: z.number().int(), state: z.string() },
    confined: z.boolean().openapi({ description: 'its issuing CA can speak for no other cluster' }),
    claims: z
      .object({ identities: z.number().int(), clusters: z.number().int() })
      .nullable()
      .openapi({
        description:
          'of one that is not confined: as how many known identities of others, of how many other clusters, its issuing CA could ' +
          'make itself believed',
      }),
    issuing: z
      .object({
        root: z.string(),
        notAfter: z.string(),
        standing: z.enum(['fresh', 'renew', 'warn', 'urgent', 'ended']),
      })
      .nullable(),
    bundle: z
      .object({
        ...{ seq: z.number().int(), digest: z.string(), acked: z.number().int(), proxies: z.number().int() },
        missing: z.array(z.string()),
        fault: z.object({ reason: z.string(), detail: z.string() }).optional(),
      })
      .nullable(),
    silent: z.string().nullable().openapi({ description: 'why what it said may not stand any more' }),
  })
  .openapi('ClusterTrust')
const revokedSchema = z.object({
  ...{ cut: z.number().int(), kind: z.enum(['cluster', 'issuer', 'workload', 'foreign']), subject: z.string() },
  ...{ trustDomain: z.string(), at: z.string(), by: z.string(), reason: z.string() },
})
const trustSchema = z
  .object({
    mode: z
      .object({
        kind: z.enum(['confined', 'shared']),
        trustDomain: z.string().nullable().openapi({ description: 'that clusters are given; null: each its own' }),
      })
      .openapi({ description: 'as the mesh began: what a new cluster is given where nothing else is said' }),
    bundle: z.object({ seq: z.number().int(), digest: z.string(), at: z.string() }).nullable(),
    authorities: z.array(authoritySchema),
    clusters: z.array(clusterTrustSchema),
    foreign: z.array(foreignSchema),
    revoked: z.array(revokedSchema),
    rotations: z.array(rotationSchema).openapi({ description: 'those that run' }),
  })
  .openapi('Trust')

/** Public facts of the mesh's authorities, and what each member's trust domain is vouched for by. */
export function trustRoutes(api: Api, door: Door): void {
  const { centre } = door
  const authorities = async () => (await showAuthorities(centre)).map(authorityFrom)

  derivedRoute(api, door, {
    ...{ path: '/v1/authorities', name: 'Authority', tag: 'trust', schema: authoritySchema },
    summary: 'The mesh root and the control-plane CA: certificates and states, never keys',
    load: authorities,
  })
  derivedRoute(api, door, {
    ...{ path: '/v1/trust-bundles', name: 'TrustBundle', tag: 'trust', schema: bundleSchema },
    summary: 'The roots to accept for each admitted trust domain',
    load: () =>
      centre.db.read(async (tx) => {
        const roots = await loadTrustedRoots(tx, centre.mesh)
        const head = (await loadStream(tx, { mesh: centre.mesh, stream: trustStream(centre.mesh) }))?.head ?? 0
        return (await loadMembers(tx, centre.mesh)).map((row) => ({
          id: row.sharedDomain === true ? `${row.trustDomain}/${row.name}` : row.trustDomain,
          name: row.trustDomain,
          revision: head,
          createdAt: timeText(row.joinedAt ?? row.createdAt),
          conditions: [],
          trustDomain: row.trustDomain,
          cluster: row.name,
          roots,
        }))
      }),
  })

  api.openapi(
    createRoute({
      method: 'get',
      path: '/v1/trust',
      tags: ['trust'],
      summary: 'All of the trust of the mesh at a glance',
      security: operatorSecurity,
      middleware: [forRole(door, 'viewer')] as const,
      responses: { 200: json(trustSchema, 'Trust'), ...problems },
    }),
    async (c) => {
      const { bundle, clusters, foreign, standing, sharedDomain } = await showTrust(centre)
      const open = await centre.db.read((tx) => loadOpenRotations(tx, centre.mesh))
      const rotations: z.infer<typeof rotationSchema>[] = []
      for (const row of open) rotations.push(rotationFrom(await showRotation(centre, row, { door: door.authority() })))
      return c.json(
        {
          mode: {
            kind: sharedDomain === null ? ('confined' as const) : ('shared' as const),
            trustDomain: sharedDomain,
          },
          bundle: bundle && { ...bundle, at: timeText(bundle.at) },
          authorities: await authorities(),
          clusters: clusters.map(clusterFrom),
          foreign: foreign.map(foreignFrom),
          revoked: standing.map(revokedFrom),
          rotations,
        },
        200,
      )
    },
  )
}

function clusterFrom(one: ShownCluster): z.infer<typeof clusterTrustSchema> {
  const { row, said, silent, standing, confined, claims } = one
  const issuing = said?.issuing
  return {
    ...{ cluster: row.name, trustDomain: row.trustDomain, generation: row.generation, state: row.state, confined },
    claims,
    issuing: issuing
      ? { root: issuing.root, notAfter: timeText(issuing.notAfter), standing: standing ?? 'ended' }
      : null,
    bundle: said
      ? {
          ...{ seq: said.seq, digest: said.digest, acked: said.acked, proxies: said.proxies, missing: said.missing },
          ...(said.fault ? { fault: said.fault } : {}),
        }
      : null,
    silent: silent ?? null,
  }
}

type ShownCluster = Awaited<ReturnType<typeof showTrust>>['clusters'][number]

const revokedFrom = ({ cut, kind, subject, trustDomain, at, by, reason }: RevocationRow) => ({
  ...{ cut, kind, subject, trustDomain, by, reason },
  at: timeText(at),
})

function authorityFrom({ row, ...one }: ShownAuthority): z.infer<typeof authoritySchema> {
  return {
    id: row.id,
    name: `${row.kind} of ${row.mesh}`,
    revision: row.revision ?? 1,
    createdAt: timeText(row.createdAt),
    conditions: [],
    kind: row.kind,
    state: row.state,
    certificate: row.certificate,
    ...{ sha256: one.sha256, number: one.number, keyKind: one.keyKind, signer: one.signer },
    ...{ issuedUnder: one.issuedUnder, stateAt: timeText(row.stateAt ?? row.createdAt) },
    notBefore: one.notBefore.toISOString(),
    notAfter: one.notAfter.toISOString(),
  }
}
