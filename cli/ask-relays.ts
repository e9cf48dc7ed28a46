import type { Centre } from '#cli/context.ts'
import { age, cell, type Row } from '#cli/output.ts'
import { send } from '#cli/send.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What one relay of the context said, or why it said nothing. */
export type RelayAnswer = {
  readonly cluster: string
  readonly url: string
  readonly body?: Row
  readonly reason?: string
}

/** Asks every relay of the context for a page of its status address. Never rejects: silence is an answer too. */
export function askRelays(centre: Centre, path = '/status'): Promise<readonly RelayAnswer[]> {
  return Promise.all(
    Object.entries(centre.relays).map(async ([cluster, url]) => ({
      cluster,
      url,
      ...(await askRelay(centre, url, path)),
    })),
  )
}

async function askRelay(centre: Centre, url: string, path: string): Promise<{ body: Row } | { reason: string }> {
  try {
    const { status, text } = await (centre.send ?? send)(new URL(path, url), { connectMs: 1500, answerMs: 3000 })
    if (status !== 200) return { reason: `it has no ${path}, so it is older than this command` }
    return { body: JSON.parse(text) as Row }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { reason: code === 'ECONNREFUSED' ? 'nothing listens there' : message }
  }
}

/** Whether the centre could not say it. Relays know what they serve without it. */
export const isAway = (error: unknown): error is Problem => error instanceof Problem && error.kind === 'unavailable'

/**
 * What heads an answer that the relays gave in the centre's place: since when it is away by their clocks, and which
 * revision of their config they serve. `statuses` are their `/status`; `why` is what the centre failed with; `now` is Unix ms.
 */
export function awayHead(statuses: readonly RelayAnswer[], why: Problem, now: number): string {
  const answered = statuses.flatMap(({ body }) => (body ? [body] : []))
  const shown = `shown: what the relays serve${revisionsIn(answered)}`
  const lines = answered.map((body) => (body['centre'] ?? {}) as Row)
  const parted = answered.flatMap(({ time }, n) => {
    const { state, since } = lines[n] ?? {}
    return state === 'connected' || typeof since !== 'number' ? [] : [(typeof time === 'number' ? time : now) - since]
  })
  const away =
    parted.length > 0
      ? `centre away for ${age(0, Math.max(...parted))}`
      : lines.some(({ state }) => state === 'connected')
        ? 'the relays reach the centre, this command does not'
        : 'centre away'
  return `${away}; ${shown}\n  ${cell(why.extra['on'])}: ${why.message}\n`
}

/** Each cluster's config has revisions of its own. */
function revisionsIn(answered: readonly Row[]): string {
  const revisions = answered.flatMap((body) => {
    const { revision } = (body['config'] ?? {}) as Row
    return typeof revision === 'number' ? [revision] : []
  })
  const [low, high] = [Math.min(...revisions), Math.max(...revisions)]
  if (revisions.length === 0) return ''
  return low === high ? `, revision ${low}` : `, revisions ${low} to ${high}`
}

/** The relays that gave no answer, one line each: what they serve is unknown, which is not the same as nothing. */
export const silentText = (answers: readonly RelayAnswer[]): string =>
  answers
    .flatMap(({ cluster, url, reason }) => (reason === undefined ? [] : [`${cluster}: not known, ${url}: ${reason}\n`]))
    .join('')
