import { isAway } from '#cli/ask-relays.ts'
import { callCentre, listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import type { Noun } from '#cli/nouns.ts'
import type { Row } from '#cli/output.ts'
import { self } from '#mesh/model/failure-text.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What `isthmus get` is asked for. */
export type Asked = {
  readonly name?: string | undefined
  readonly cluster?: string
  /** `<namespace>/<name>`, or a name alone: then of whatever namespace. */
  readonly service?: string
  readonly revision?: string
  /** RFC 3339. */
  readonly at?: string
  /** `at` as it was typed. */
  readonly saidAt?: string
  readonly history?: boolean
}

export type Read = {
  readonly rows: readonly Row[]
  readonly single: boolean
  /** What a table without rows says, where that is not the usual. */
  readonly none?: string
  /** What heads the answer: that somebody else than the centre gave it. */
  readonly above?: (now: number) => string
  /** What a table ends in, at a moment (Unix ms). */
  readonly below?: (now: number) => string
}

/** Throws `invalid` for an option that says nothing about this noun: an ignored filter would look like an answer. */
export function checkAsked(noun: Noun, { name, cluster, service, revision, at, history }: Asked): void {
  const odd = (option: string, why: string, mend: string) =>
    refusal({ kind: 'invalid', why: `${option} ${why}`, on: `isthmus get ${noun.name}`, mend })
  const filters = Object.entries({ cluster, service }).filter(([, value]) => value !== undefined)
  for (const [option] of filters)
    if (!noun.filters.some((one) => one === option))
      throw odd(`--${option}`, `says nothing about ${noun.name}`, `isthmus get ${noun.name}`)
  const which = [
    ...(history ? ['--history'] : []),
    ...(revision === undefined ? [] : [`--revision ${revision}`]),
    ...(at === undefined ? [] : [`--at ${at}`]),
  ]
  const [option, second] = which
  if (option === undefined) return
  if (revision !== undefined && !/^[1-9]\d{0,8}$/.test(revision))
    throw odd(
      '--revision',
      `${revision} is no number from 1 on`,
      `isthmus get ${noun.name} ${name ?? '<cluster>'} --history`,
    )
  const [flag = ''] = option.split(' ')
  if (noun.name !== 'cluster-configs')
    throw odd(flag, 'is for cluster-configs', `isthmus get cluster-configs <cluster> ${flag}`)
  if (name === undefined) throw odd(flag, 'is of one cluster', `isthmus get ${noun.name} <cluster> ${option}`)
  if (second !== undefined)
    throw odd(flag, `says another one than ${second.split(' ')[0]}`, `isthmus get ${noun.name} ${name} ${option}`)
}

/**
 * The objects that were asked for; of nouns that relays know too, from them where the centre is away. Throws the
 * centre's problem, with the command that shows what there is.
 */
export async function readAsked(centre: Centre, noun: Noun, asked: Asked): Promise<Read> {
  if (noun.read) return noun.read(centre, asked)
  try {
    return await readAtCentre(centre, noun, asked)
  } catch (error) {
    if (isAway(error) && noun.served) return noun.served(centre, asked, error)
    if (isAway(error)) throw meanwhile(error, centre)
    if (error instanceof Problem && error.kind === 'not-found') throw notThere(noun, asked, error)
    throw error
  }
}

/** Says who does answer, where the context knows relays. */
function meanwhile(error: Problem, { relays }: Centre): Problem {
  const { kind, message: why, extra } = error
  if (Object.keys(relays).length === 0) return error
  const mend = `${String(extra['mend'] ?? 'repeat the command')}; meanwhile the relays answer: isthmus status`
  return refusal({ kind, why, on: String(extra['on'] ?? ''), mend, cause: error })
}

async function readAtCentre(centre: Centre, noun: Noun, asked: Asked): Promise<Read> {
  const { name, cluster, service, revision, at, history } = asked
  const bare = service !== undefined && !service.includes('/')
  const query = queryOf({ cluster, service: bare ? undefined : service, revision, at })
  if (name === undefined) {
    const { most } = noun
    const rows = await listAll(centre, `${noun.path}${most === undefined ? query : `?limit=${pageMax}`}`, most)
    const wanted = bare ? rows.filter((row) => row['name'] === service) : rows
    const below = () =>
      most !== undefined && rows.length >= most ? `The newest ${most}; older ones are left out.\n` : ''
    return { rows: noun.complete ? await noun.complete(wanted, centre) : wanted, single: false, below }
  }
  if (noun.single === 'by-list') {
    const rows = (await listAll(centre, noun.path)).filter((row) => row['id'] === name || row['name'] === name)
    if (rows.length === 0) throw new Problem('not-found', `there is no ${name} among the ${noun.name}`)
    return { rows, single: rows.length === 1 }
  }
  const path = `${noun.path}/${name.split('/').map(encodeURIComponent).join('/')}`
  if (history) return { rows: await listAll(centre, `${path}/revisions`), single: false }
  const rows = [(await callCentre(centre, { method: 'GET', path: `${path}${query}` })).body as Row]
  return { rows: noun.complete ? await noun.complete(rows, centre) : rows, single: true }
}

/** As many as a page of the API takes. */
const pageMax = 500

/** What is said where a list is empty: why, where the asker may have meant another one. */
export const noneOf = (noun: Noun, { cluster, service }: Asked): string => {
  const which = [
    service === undefined ? '' : ` of service ${service}`,
    cluster === undefined ? '' : ` of cluster ${cluster}`,
  ]
  const all = service === undefined ? 'get clusters' : 'get services'
  return which.join('') === ''
    ? 'There are none.\n'
    : `There ${noun.name === 'traffic' ? 'is' : 'are'} no ${noun.name}${which.join('')}; see: ${self} ${all}\n`
}

/** The centre's words without its paths, and the command that shows what there is. */
function notThere(noun: Noun, { name = '', revision, at, saidAt }: Asked, cause: Problem): Problem {
  const said = cause.message.replace(/: see \/v1\/\S*$/, '').replace('/v1/', '')
  // A name of another form than its noun has is no route of the API.
  const theirs = said.startsWith('there is no GET ') ? `there is no ${name} among the ${noun.name}` : said
  const why = at === undefined || saidAt === undefined ? theirs : theirs.replace(at, saidAt)
  const service = name.split('/').slice(-2).join('/')
  const seen =
    revision !== undefined || at !== undefined
      ? `${noun.name} ${name} --history`
      : `${noun.name}${noun.filters.includes('service') && name.includes('/') ? ` --service ${service}` : ''}`
  const on = String(cause.extra['on'] ?? `${noun.name} ${name}`)
  const mend = why.startsWith('there is no cluster') ? 'isthmus get clusters' : `isthmus get ${seen}`
  return refusal({ kind: 'not-found', why, on, mend, cause })
}

function queryOf(filters: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(filters)) if (value) query.set(key, value)
  return query.size === 0 ? '' : `?${query}`
}
