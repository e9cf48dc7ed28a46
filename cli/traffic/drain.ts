import { setTimeout as pause } from 'node:timers/promises'
import { callCentre, listAll } from '#cli/call-centre.ts'
import { mended } from '#cli/commands/cluster.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { cell, harmless, type Row } from '#cli/output.ts'

const path = '/v1/drains'

export type DrainWish = {
  readonly kind: string
  readonly subject: string
  readonly overSeconds: number
  readonly graceSeconds: number
  readonly force?: boolean
  readonly reason?: string
}

export async function beginDrain(centre: Centre, wish: DrainWish): Promise<Row> {
  const nouns = wish.kind === 'service' ? 'service-exports' : `${wish.kind}s`
  const mends = { 'not-found': `isthmus get ${nouns}`, conflict: shown }
  return (await mended(centre, { method: 'POST', path, body: wish }, mends)).body as Row
}

const shown = 'isthmus get drains'

/** Undoes the drain that holds a subject. Throws `not-found` where none does. */
export async function undoDrain(
  centre: Centre,
  { kind, subject, reason }: { readonly kind: string; readonly subject: string; readonly reason?: string },
): Promise<Row> {
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

/** States in which nothing moves any more. */
const isOver = ({ state }: Row): boolean => state === 'done' || state === 'stopped' || state === 'undone'

/** Prints a line whenever a drain stands otherwise, until it is over; gives how it stands then. */
export async function followDrain(
  centre: Centre,
  first: Row,
  { print, everyMs = 500 }: { readonly print: (text: string) => void; readonly everyMs?: number },
): Promise<Row> {
  let seen = first
  print(drainLine(seen))
  while (!isOver(seen)) {
    await pause(everyMs)
    const next = (await callCentre(centre, { method: 'GET', path: `${path}/${cell(first['id'])}` })).body as Row
    if (drainLine(next) !== drainLine(seen)) print(drainLine(next))
    seen = next
  }
  return seen
}

/** `cluster ireland-1  ramping  50 %  virginia-1 does not follow the last step yet`. */
export const drainLine = (row: Row): string =>
  `${harmless(`${cell(row['kind'])} ${cell(row['subject'])}  ${cell(row['state'])}  ${cell(row['percent'])} %  ${cell(row['why'])}`)}\n`
