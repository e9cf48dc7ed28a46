import { callCentre } from '#cli/call-centre.ts'
import type { Parts } from '#cli/changes.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { momentText } from '#cli/moment.ts'
import { type Column, cell, type Row } from '#cli/output.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

const whatOf = ({ kind, spec }: Row): string =>
  kind === 'ClusterConfig' ? 'compiled' : spec === null ? 'deleted' : 'written'

/** `virginia-1@42` is what `diff` and `rollback` take. */
export const historyColumns: readonly Column[] = [
  ['AT', ({ at }, now) => momentText(at, now)],
  ['OBJECT', ({ id }) => cell(id)],
  ['WHAT', whatOf],
  ['AUTHOR', ({ author }) => cell(author)],
  ['CAUSE', ({ cause }) => cell(cause)],
]

const limitMax = 10_000

/** The newest entries of the history; `isWhole` where there are no older ones. */
export async function readHistory(
  centre: Centre,
  { object, limit }: { readonly object: string | undefined; readonly limit: string },
): Promise<{ readonly rows: readonly Row[]; readonly isWhole: boolean }> {
  const on = `isthmus history ${object ?? ''}`.trim()
  const wanted = wholeNumber(limit, { what: '--limit', on, mend: `${on} --limit 30` })
  if (wanted > limitMax)
    throw refusal({ kind: 'invalid', why: `--limit ${limit} is more than ${limitMax}`, on, mend: `${on} --limit 30` })
  const rows: Row[] = []
  let cursor: string | undefined
  do {
    const query = new URLSearchParams({ limit: String(Math.min(500, wanted - rows.length)) })
    if (object !== undefined) query.set('object', object)
    if (cursor !== undefined) query.set('cursor', cursor)
    const page = (await callCentre(centre, { method: 'GET', path: `/v1/history?${query}` })).body as Page
    rows.push(...page.items)
    cursor = page.nextCursor
  } while (cursor !== undefined && rows.length < wanted)
  return { rows, isWhole: cursor === undefined }
}

type Page = { readonly items: readonly Row[]; readonly nextCursor?: string }

/** One revision of an object: what it held, and a line that says which it is. */
export type Revision = { readonly title: string; readonly parts: Parts }

/** Of a cluster, `gtp/<ns>/<name>` or `group/<name>`; the newest where `revision` is absent. Throws `not-found`. */
export async function readRevision(
  centre: Centre,
  object: string,
  { revision, now }: { readonly revision: string | undefined; readonly now: number },
): Promise<Revision> {
  const on = `isthmus diff ${object}`
  const mend = `isthmus history ${object}`
  const number = revision === undefined ? undefined : wholeNumber(revision, { what: 'revision', on, mend })
  if (object.includes('/')) return policyRevision(centre, object, { number, now })
  const query = number === undefined ? '' : `?revision=${number}`
  const path = `/v1/cluster-configs/${encodeURIComponent(object)}${query}`
  const { body } = await callCentre(centre, { method: 'GET', path }).catch((error: unknown) => {
    if (!(error instanceof Problem) || error.kind !== 'not-found') throw error
    throw refusal({ kind: error.kind, why: error.message.replace(/: see \/v1\/\S*$/, ''), on, mend, cause: error })
  })
  const row = body as Row
  return { title: titleOf({ ...row, kind: 'ClusterConfig' }, now), parts: row['entries'] as Parts }
}

async function policyRevision(
  centre: Centre,
  object: string,
  { number, now }: { readonly number: number | undefined; readonly now: number },
): Promise<Revision> {
  const { rows } = await readHistory(centre, { object, limit: String(limitMax) })
  const row = number === undefined ? rows[0] : rows.find(({ revision }) => revision === number)
  if (!row)
    throw refusal({
      kind: 'not-found',
      why: `${object} has no revision ${number} (any more)`,
      on: `isthmus diff ${object}`,
      mend: `isthmus history ${object}`,
    })
  const spec = row['spec'] as Json
  return { title: titleOf(row, now), parts: spec === null ? {} : { spec } }
}

const titleOf = (row: Row, now: number): string => {
  const cause = row['cause'] ? [cell(row['cause'])] : []
  return [cell(row['id']), `${whatOf(row)} ${momentText(row['at'], now)}`, ...cause, cell(row['author'])].join(', ')
}

function wholeNumber(
  said: string,
  { what, on, mend }: { readonly what: string; readonly on: string; readonly mend: string },
): number {
  if (/^[1-9]\d{0,8}$/.test(said)) return Number(said)
  throw refusal({ kind: 'invalid', why: `${what} ${said} is no number from 1 on`, on, mend })
}
