import { setTimeout as pause } from 'node:timers/promises'
import { callCentre, listAll } from '#cli/call-centre.ts'
import { mended } from '#cli/commands/cluster.ts'
import type { Centre } from '#cli/context.ts'
import { placed, refusal } from '#cli/failure.ts'
import { cell, harmless, type Row } from '#cli/output.ts'
import { type DrainKind, drainSubjectText, parseDrainSubject } from '#mesh/model/drain.ts'
import { Problem } from '#mesh/model/problem.ts'

const path = '/v1/drains'

export type DrainWish = {
  readonly kind: string
  readonly subject: string
  readonly overSeconds: number
  readonly graceSeconds: number
  readonly force?: boolean
  readonly reason?: string
}

export const beginDrain = (centre: Centre, wish: DrainWish): Promise<Row> => ask(centre, wish, path)

/** What would be refused is refused, and nothing is begun. */
export const rehearseDrain = (centre: Centre, wish: DrainWish): Promise<Row> => ask(centre, wish, `${path}?dryRun=true`)

async function ask(centre: Centre, wish: DrainWish, at: string): Promise<Row> {
  const nouns = wish.kind === 'service' ? 'service-exports' : `${wish.kind}s`
  const mends = { 'not-found': `isthmus get ${nouns}`, conflict: shown, invalid: 'isthmus drain --help' }
  return (await mended(centre, { method: 'POST', path: at, body: wish }, mends)).body as Row
}

const shown = 'isthmus get drains'

/** Undoes the drain that holds a subject. Throws `not-found` where none does, `invalid` for a subject of another form. */
export async function undoDrain(
  centre: Centre,
  wish: { readonly kind: DrainKind; readonly subject: string; readonly reason?: string },
): Promise<Row> {
  const { kind, reason } = wish
  const subject = spelled(kind, wish.subject)
  const isMeant = (row: Row): boolean => row['kind'] === kind && row['subject'] === subject && row['state'] !== 'undone'
  const found = (await listAll(centre, path)).find(isMeant)
  if (!found)
    throw refusal({
      ...{ kind: 'not-found', why: `${kind} ${subject} is not drained`, on: `${kind} ${subject}` },
      mend: shown,
    })
  const body = reason === undefined ? {} : { reason }
  return (await callCentre(centre, { method: 'POST', path: `${path}/${cell(found['id'])}/undo`, body })).body as Row
}

/** As the centre keeps it, however it was typed. */
function spelled(kind: DrainKind, subject: string): string {
  try {
    return drainSubjectText(parseDrainSubject(kind, subject))
  } catch (error) {
    throw error instanceof Problem ? placed(error, { on: `${kind} ${subject}`, mend: 'isthmus undrain --help' }) : error
  }
}

/** States in which nothing moves any more. */
const isOver = ({ state }: Row): boolean => state === 'done' || state === 'stopped' || state === 'undone'

export type Following = {
  readonly print: (text: string) => void
  readonly everyMs?: number
  /** It is no longer followed then; it goes on all the same. */
  readonly timeoutMs?: number
}

/**
 * Prints a line whenever a drain stands otherwise, until it is over; gives how it stands then. A centre that does not
 * answer is waited for: it goes on from where it was. Throws `unavailable` once the time is over.
 */
export async function followDrain(
  centre: Centre,
  first: Row,
  { print, everyMs = 500, timeoutMs = Number.POSITIVE_INFINITY }: Following,
): Promise<Row> {
  const begun = performance.now()
  let seen = first
  let isAway = false
  print(drainLine(seen))
  while (!isOver(seen)) {
    if (performance.now() - begun >= timeoutMs) throw late(seen)
    await pause(Math.min(everyMs, timeoutMs))
    const next = await readDrain(centre, first['id'])
    if (!next && !isAway)
      print('the centre does not answer: shares stay as they are; it is asked again until it does\n')
    isAway = !next
    if (!next) continue
    if (drainLine(next) !== drainLine(seen)) print(drainLine(next))
    seen = next
  }
  return seen
}

/** Undefined where the centre does not answer now. */
async function readDrain(centre: Centre, id: unknown): Promise<Row | undefined> {
  try {
    return (await callCentre(centre, { method: 'GET', path: `${path}/${cell(id)}` })).body as Row
  } catch (error) {
    if (error instanceof Problem && (error.kind === 'unavailable' || error.kind === 'too-many')) return undefined
    throw error
  }
}

const late = (row: Row): Problem =>
  refusal({
    ...{ kind: 'unavailable', on: `${cell(row['kind'])} ${cell(row['subject'])}`, mend: shown },
    why: `it is ${cell(row['state'])} at ${cell(row['percent'])} % and goes on; its time to be followed is over: ${cell(row['why'])}`,
  })

/** `cluster ireland-1  ramping  50 %  virginia-1 does not follow the last step yet`. */
export const drainLine = (row: Row): string =>
  `${harmless(`${cell(row['kind'])} ${cell(row['subject'])}  ${cell(row['state'])}  ${cell(row['percent'])} %  ${cell(row['why'])}`)}\n`
