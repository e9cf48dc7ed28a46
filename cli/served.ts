import { askRelays, awayHead, silentText } from '#cli/ask-relays.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import type { Asked, Read } from '#cli/get.ts'
import { cell, type Row } from '#cli/output.ts'
import type { Problem } from '#mesh/model/problem.ts'

/**
 * Endpoints as the relays know them, for when the centre is away (`why`). What a relay says of its own cluster goes
 * before what others heard of it. Throws `why` where no relay answers.
 */
export async function servedEndpoints(centre: Centre, asked: Asked, why: Problem): Promise<Read> {
  const [answers, statuses] = await Promise.all([askRelays(centre, '/endpoints'), askRelays(centre)])
  if (!answers.some(({ body }) => body)) throw nobodyAnswers(centre.relays, why, centre.name)
  const told = new Map<string, Row>()
  const own = new Set(answers.filter(({ body }) => body).map(({ cluster }) => cluster))
  for (const { cluster: by, body } of answers)
    for (const item of Array.isArray(body?.['items']) ? (body['items'] as Row[]) : []) {
      const of = cell(item['cluster'])
      if (of === by || !own.has(of)) told.set(cell(item['id']), { ...item, toldBy: by })
    }
  const rows = [...told.values()]
    .filter((row) => wanted(row, asked))
    .toSorted((a, b) => cell(a['id']).localeCompare(cell(b['id']), 'en'))
  return {
    rows,
    single: false,
    above: (now: number) => awayHead(statuses, why, now),
    below: () => below(silentText(answers)),
  }
}

const below = (silent: string) => silent && `\n${silent}`

function wanted(row: Row, { name, cluster, service }: Asked): boolean {
  if (name !== undefined && row['id'] !== name) return false
  if (cluster !== undefined && row['cluster'] !== cluster) return false
  if (service === undefined) return true
  return service.includes('/') ? `${cell(row['namespace'])}/${cell(row['name'])}` === service : row['name'] === service
}

/** The configs that the relays serve by: one, whole, where a name is given. Throws `why` where no relay can say. */
export async function servedConfigs(centre: Centre, asked: Asked, why: Problem): Promise<Read> {
  const { name, revision, at, history } = asked
  if (revision !== undefined || at !== undefined || history) throw historyless(why)
  const relays = Object.entries(centre.relays).filter(([cluster]) => name === undefined || cluster === name)
  const from = { ...centre, relays: Object.fromEntries(relays) }
  const [answers, statuses] = await Promise.all([askRelays(from, '/config'), askRelays(from)])
  if (!answers.some(({ body }) => body)) throw nobodyAnswers(from.relays, why, centre.name)
  const rows = answers.flatMap(({ cluster, body }) =>
    body?.['revision'] === undefined ? [] : [{ ...body, name: cluster }],
  )
  if (name !== undefined && rows.length === 0)
    throw refusal({
      ...{ kind: 'unavailable', why: 'its relay has no config from the centre yet', on: centre.relays[name] ?? name },
      mend: 'isthmus status',
    })
  const single = name !== undefined
  return { rows, single, above: (now: number) => awayHead(statuses, why, now), below: () => below(silentText(answers)) }
}

const historyless = (why: Problem): Problem =>
  refusal({
    ...{ kind: why.kind, why: `${why.message}, and only the centre keeps history`, on: String(why.extra['on'] ?? '') },
    ...{ mend: String(why.extra['mend'] ?? 'isthmus status'), cause: why },
  })

/** Says that the relays were asked as well. */
export function nobodyAnswers(relays: object, why: Problem, context = '<context>'): Problem {
  const names = Object.keys(relays)
  const { kind, message, extra } = why
  const start = String(extra['mend'] ?? 'isthmus status')
  const say = `or say where a relay is: isthmus context add ${context} --relay <cluster>=http://<host>:15014`
  const theirs = names.length === 0 ? 'no relay is known to ask instead' : `no relay does: ${names.join(', ')}`
  return refusal({
    ...{ kind, why: `${message}, and ${theirs}`, on: String(extra['on'] ?? ''), cause: why },
    mend: names.length === 0 ? `${start}; ${say}` : start,
  })
}
