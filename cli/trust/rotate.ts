import { setTimeout as pause } from 'node:timers/promises'
import { callCentre, listAll } from '#cli/call-centre.ts'
import { mended } from '#cli/commands/cluster.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { harmless } from '#cli/output.ts'
import { rotationText } from '#cli/trust/rotation-text.ts'
import { parseRotation, type Rotation } from '#cli/trust/shapes.ts'
import { changedLines } from '#cli/watch.ts'
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

/** The one that runs, else the newest; undefined where there was never one. */
export async function latestRotation(centre: Centre, subject: Subject): Promise<Rotation | undefined> {
  const rows = await listAll(centre, path)
  const own = rows.map(parseRotation).filter(({ kind }) => kind === subject.kind)
  const byStart = own.toSorted((a, b) => Date.parse(b.startedAt ?? '') - Date.parse(a.startedAt ?? ''))
  return own.find(({ state }) => state === 'running') ?? byStart[0]
}

/** Throws `conflict` where none runs, or the step it is in forbids it. */
export async function decide(
  centre: Centre,
  subject: Subject,
  deed: { readonly verb: 'continue' | 'abort'; readonly body: object },
): Promise<Rotation> {
  const latest = await latestRotation(centre, subject)
  if (latest?.state !== 'running')
    throw refusal({
      ...{ kind: 'conflict', why: `no rotation of ${subject.kind} runs`, on: new URL(path, centre.url).href },
      mend: statusOf(subject),
    })
  const call = { method: 'POST', path: `${path}/${encodeURIComponent(latest.id)}/${deed.verb}`, body: deed.body }
  return parseRotation((await mended(centre, call, { conflict: statusOf(subject) })).body)
}

export type Following = {
  readonly now: () => number
  readonly print: (text: string) => void
  readonly everyMs?: number
}

/**
 * Prints each step, and of its lines those that change, until it runs no more; a centre that is away for a while is waited for, and that is said. Who it is
 * and by which CA it is known is asked anew each time: a rotation of the control plane gives it another. Gives its end.
 */
export async function followRotation(centre: () => Centre, first: Rotation, { now, print, everyMs = 1000 }: Following) {
  let seen = first
  let last = first
  let said = ''
  let isAway = false
  for (;;) {
    const text = rotationText(seen, 0)
    const isNext = said === '' || seen.step !== last.step || seen.state !== last.state
    const whole = rotationText(seen, now())
    if (text !== said) print(isNext ? whole : changedLines(said, text, whole))
    said = text
    last = seen
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
