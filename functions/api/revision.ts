import { Problem } from '#mesh/model/problem.ts'

/** The entity tag of an object at a revision. */
export const etagOf = (revision: number): string => `"${revision}"`

/**
 * The revision that `If-Match` asks for; undefined for `*` or where the header is absent. Throws `invalid` for a tag
 * that this API never gave.
 */
export function expectedRevision(ifMatch: string | undefined): number | undefined {
  if (ifMatch === undefined || ifMatch.trim() === '*') return undefined
  const match = /^\s*(?:W\/)?"(\d{1,15})"\s*$/.exec(ifMatch)
  if (!match)
    throw new Problem('invalid', 'If-Match must hold one ETag as this API gave it, such as "3"', {
      violations: [{ path: 'If-Match', reason: 'is not an ETag of this API' }],
    })
  return Number(match[1])
}

/** The plan that `If-Plan` names, whose change alone is to be done. Throws `invalid` for what no plan is called. */
export function expectedPlan(ifPlan: string | undefined): string | undefined {
  if (ifPlan === undefined || /^[0-9a-f]{64}$/.test(ifPlan)) return ifPlan
  throw new Problem('invalid', 'If-Plan must hold the hash of a plan: 64 hex digits', {
    violations: [{ path: 'If-Plan', reason: 'is not the hash of a plan' }],
  })
}

/** True where `If-None-Match` names the revision: the caller already has it. */
export const hasRevision = (ifNoneMatch: string | undefined, etag: string): boolean =>
  (ifNoneMatch ?? '').split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
