import { callCentre } from '#cli/call-centre.ts'
import type { Parts } from '#cli/changes.ts'
import type { Centre } from '#cli/context.ts'
import { placed, refusal } from '#cli/failure.ts'
import { historyObject } from '#cli/history-object.ts'
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
  if (object !== undefined) historyObject(object, { on, mend: (near) => `isthmus history ${near}` })
  if (wanted > limitMax)
    throw refusal({ kind: 'invalid', why: `--limit ${limit} is more than ${limitMax}`, on, mend: `${on} --limit 30` })
  const rows: Row[] = []
  let cursor: string | undefined
  do {
    const query = new URLSearchParams({ limit: String(Math.min(500, wanted - rows.length)) })
    if (object !== undefined) query.set('object', object)
    if (cursor !== undefined) query.set('cursor', cursor)
    const call = { method: 'GET', path: `/v1/history?${query}` }
    const page = (await callCentre(centre, call).catch(placedHistory)).body as Page
    rows.push(...page.items)
    cursor = page.nextCursor
  } while (cursor !== undefined && rows.length < wanted)
  return { rows, isWhole: cursor === undefined }
}

function placedHistory(error: unknown): never {
  if (error instanceof Problem && error.kind === 'not-found') throw placed(error, { mend: 'isthmus history' })
  throw error
}

type Page = { readonly items: readonly Row[]; readonly nextCursor?: string }

/** Which revisions of what are compared: `virginia-1 41 [42]`, or as the history names them, `virginia-1@41 [virginia-1@42]`. */
export function comparedIn(name: string, from?: string, to?: string) {
  const [said = '', first] = name.split('@')
  const on = `isthmus diff ${[name, from, to].filter((word) => word !== undefined).join(' ')}`
  const mend = `isthmus history ${said}; then isthmus diff ${said} <from> [to]`
  const object = historyObject(said, { on, mend: (near) => `isthmus diff ${near} ${first ?? from ?? '<from>'}` })
  const bare = (word: string | undefined) => (word?.startsWith(`${object}@`) ? word.slice(object.length + 1) : word)
  const [one, other, ...more] = [first, bare(from), bare(to)].filter((word) => word !== undefined)
  if (one === undefined) throw refusal({ kind: 'invalid', why: 'it says no revision', on, mend })
  if (more.length > 0) throw refusal({ kind: 'invalid', why: 'it says three revisions', on, mend })
  return { object, from: one, to: other }
}

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
    const why = error.message.replace(/: see \/v1\/\S*$/, '')
    const isCluster = !why.startsWith('there is no cluster')
    throw refusal({ kind: error.kind, why, on, mend: isCluster ? mend : 'isthmus get clusters', cause: error })
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
