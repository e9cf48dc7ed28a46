import { z } from '@hono/zod-openapi'
import type { Centre } from '#control/centre.ts'
import { loadMemberObjects, type MemberObjectRow } from '#control/store/member-objects.ts'
import { noSource, reasonsOf, type Standing, standingOf } from '#control/traffic/member-objects.ts'
import { loadPolicySources } from '#control/traffic/policy-sources.ts'
import { timeText } from '#functions/api/schemas.ts'

/** A policy or group among the objects of a member. */
export type TheirObject = { readonly row: MemberObjectRow; readonly isSource: boolean }

export const originSchema = z.string().openapi({
  description: 'api = written at the centre; else the cluster among whose objects it is',
})

export const readTheirs = ({ db, mesh }: Centre): Promise<readonly TheirObject[]> =>
  db.read(async (tx) => {
    const sources = new Set<string>(await loadPolicySources(tx, mesh))
    return (await loadMemberObjects(tx, mesh)).map((row) => ({ row, isSource: sources.has(row.cluster) }))
  })

export const specIn = ({ spec }: MemberObjectRow): Record<string, unknown> | null =>
  spec === '' ? null : (JSON.parse(spec) as Record<string, unknown>)

/** What it has of all objects, and how it stands. */
export function sharedFields(row: MemberObjectRow, isSource: boolean) {
  const standing = standingOf(row, isSource)
  const reasons = reasonsOf(row).length > 0 ? reasonsOf(row) : [noSource(row.cluster)]
  return {
    id: row.id,
    revision: row.revision,
    origin: row.cluster,
    createdAt: timeText(row.createdAt),
    updatedAt: timeText(row.updatedAt),
    conditions: [
      standing === 'InForce'
        ? { ...applied(standing), message: meaning(row, isSource) }
        : { ...applied(standing), message: reasons.join('; ').slice(0, 4000) },
    ],
  }
}

const applied = (reason: Standing) => ({
  type: 'Applied',
  status: reason === 'InForce' ? ('True' as const) : ('False' as const),
  reason,
})

const meaning = ({ cluster, reach }: MemberObjectRow, isSource: boolean): string =>
  isSource && reach === 'mesh'
    ? `for the callers of every cluster: ${cluster} is a policy source`
    : `for the callers of cluster ${cluster}`
