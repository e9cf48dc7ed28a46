import { setTimeout as pause } from 'node:timers/promises'
import { callCentre, listAll } from '#cli/call-centre.ts'
import { mended } from '#cli/commands/cluster.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { harmless } from '#cli/output.ts'
import { rotationText } from '#cli/trust/rotation-text.ts'
import { parseRotation, type Rotation } from '#cli/trust/shapes.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What is rotated: an authority of the mesh, or the issuing CA of one cluster. */
export type Subject = { readonly kind: string; readonly cluster?: string }

const path = '/v1/rotations'
const statusOf = ({ kind }: Subject) => `isthmus trust rotate ${kind} --status`

export async function planRotation(centre: Centre, subject: Subject): Promise<Rotation> {
  const body = { ...subject, dryRun: true }
  return parseRotation((await mended(centre, { method: 'POST', path, body }, mends(subject))).body)
}

/** Begins one. Throws `conflict` where one of the kind runs already. */
export async function beginRotation(centre: Centre, subject: Subject, more: object): Promise<Rotation> {
  const call = { method: 'POST', path, body: { ...subject, ...more } }
  return parseRotation((await mended(centre, call, mends(subject))).body)
}

const mends = (subject: Subject) => ({ conflict: statusOf(subject), 'not-found': 'isthmus get clusters' }) as const

/** The one that runs, else the newest. Throws `not-found` where there was never one. */
export async function latestRotation(centre: Centre, subject: Subject): Promise<Rotation> {
  const rows = await listAll(centre, path)
  const own = rows.map(parseRotation).filter(({ kind }) => kind === subject.kind)
  const byStart = own.toSorted((a, b) => Date.parse(b.startedAt ?? '') - Date.parse(a.startedAt ?? ''))
  const found = own.find(({ state }) => state === 'running') ?? byStart[0]
  if (found) return found
  throw refusal({
    ...{ kind: 'not-found', why: `there was no rotation of ${subject.kind} yet`, on: new URL(path, centre.url).href },
    mend: `isthmus trust rotate ${subject.kind} --plan`,
  })
}

/** Throws `conflict` where none runs, or the step it is in forbids it. */
export async function decide(
  centre: Centre,
  subject: Subject,
  deed: { readonly verb: 'continue' | 'abort'; readonly body: object },
): Promise<Rotation> {
  const { id, state } = await latestRotation(centre, subject)
  if (state !== 'running')
    throw refusal({
      ...{ kind: 'conflict', why: `no rotation of ${subject.kind} runs`, on: new URL(path, centre.url).href },
      mend: statusOf(subject),
    })
  const call = { method: 'POST', path: `${path}/${encodeURIComponent(id)}/${deed.verb}`, body: deed.body }
  return parseRotation((await mended(centre, call, { conflict: statusOf(subject) })).body)
}

export type Following = {
  readonly now: () => number
  readonly print: (text: string) => void
  readonly everyMs?: number
}

/**
 * Prints what changes until it runs no more; a centre that is away for a while is waited for, and that is said. Who it is
 * and by which CA it is known is asked anew each time: a rotation of the control plane gives it another. Gives its end.
 */
export async function followRotation(centre: () => Centre, first: Rotation, { now, print, everyMs = 1000 }: Following) {
  let seen = first
  let said = ''
  let isAway = false
  for (;;) {
    const text = rotationText(seen, 0)
    if (text !== said) print(rotationText(seen, now()))
    said = text
    if (seen.state !== 'running') return seen
    await pause(everyMs)
    try {
      const { body } = await callCentre(centre(), { method: 'GET', path: `${path}/${encodeURIComponent(first.id)}` })
      seen = parseRotation(body)
      isAway = false
    } catch (error) {
      if (!(error instanceof Problem && error.kind === 'unavailable')) throw error
      if (!isAway) print(`the centre does not answer (${harmless(error.message)}): asked again until it does\n`)
      isAway = true
    }
  }
}
