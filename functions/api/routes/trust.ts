import { z } from '@hono/zod-openapi'
import { type AuthorityRow, loadAuthorities, loadTrustedRoots } from '#control/store/authorities.ts'
import { loadMembers } from '#control/store/clusters.ts'
import { loadStream } from '#control/store/streams.ts'
import { derivedRoute } from '#functions/api/derived.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { objectFields, timeText } from '#functions/api/schemas.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
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

/** Public facts of the mesh's authorities, and what each member's trust domain is vouched for by. */
export function trustRoutes(api: Api, door: Door): void {
  const { centre } = door
  const authorities = () => centre.db.read((tx) => loadAuthorities(tx, centre.mesh))

  derivedRoute(api, door, {
    ...{ path: '/v1/authorities', name: 'Authority', tag: 'trust', schema: authoritySchema },
    summary: 'The mesh root and the control-plane CA: certificates and states, never keys',
    load: async () => (await authorities()).map(authorityFrom),
  })
  derivedRoute(api, door, {
    ...{ path: '/v1/trust-bundles', name: 'TrustBundle', tag: 'trust', schema: bundleSchema },
    summary: 'The roots to accept for each admitted trust domain',
    load: () =>
      centre.db.read(async (tx) => {
        const roots = await loadTrustedRoots(tx, centre.mesh)
        const head = (await loadStream(tx, { mesh: centre.mesh, stream: trustStream(centre.mesh) }))?.head ?? 0
        return (await loadMembers(tx, centre.mesh)).map((row) => ({
          id: row.trustDomain,
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
}

function authorityFrom(row: AuthorityRow): z.infer<typeof authoritySchema> {
  const certificate = parseCertificate(row.certificate)
  return {
    id: row.id,
    name: `${row.kind} of ${row.mesh}`,
    revision: 1,
    createdAt: timeText(row.createdAt),
    conditions: [],
    kind: row.kind,
    state: row.state,
    certificate: row.certificate,
    sha256: sha256Hex(certificate.der),
    notBefore: certificate.notBefore.toISOString(),
    notAfter: certificate.notAfter.toISOString(),
  }
}
