import { isIP } from 'node:net'
import { askRelays } from '#cli/ask-relays.ts'
import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { harmless, table } from '#cli/output.ts'
import type { Paint } from '#cli/paint.ts'
import { type BothSeen, bothViews } from '#mesh/foresee/both-views.ts'
import type { AskedCall } from '#mesh/foresee/path.ts'
import type { Answers, Explanation, Step } from '#mesh/model/explanation.ts'
import { typeable } from '#mesh/model/failure-text.ts'
import { labelFault, parseClusterName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseExplanation } from '#mesh/wire/explanation.ts'

/** What one of those who know a call's path said, or why he said nothing. */
export type Said = Explanation | { readonly reason: string }

/** A call's path, as all who were asked see it. */
export type Explained = {
  readonly asked: AskedCall
  readonly centre: Said
  readonly relay: Said
  readonly steps: readonly BothSeen[]
}

/** Throws `invalid`, with the form. */
export function parseAsked(caller: string, target: string): AskedCall {
  const [cluster = '', namespace = '', pod = '', ...more] = caller.split('/')
  if (more.length > 0 || pod === '' || labelFault(cluster) !== undefined || labelFault(namespace) !== undefined)
    throw refusal({
      ...{ kind: 'invalid', why: 'this is not <cluster>/<namespace>/<pod>', on: caller },
      mend: 'name a pod that calls; those with a proxy: isthmus proxies',
    })
  const [, host, port] = /^(\[[^\]]{1,60}\]|[^:]{1,253})(?::(\d{1,5}))?$/.exec(addressIn(target)) ?? []
  if (host === undefined || (port !== undefined && !(Number(port) > 0 && Number(port) < 65_536)))
    throw refusal({
      ...{ kind: 'invalid', why: 'this is not <host>[:<port>]', on: target },
      mend: 'name what is called, as reviews.bookinfo:9080',
    })
  return {
    caller: { cluster: parseClusterName(cluster), namespace, pod },
    host: host.replace(/^\[|\]$/g, ''),
    ...(port === undefined ? {} : { port: Number(port) }),
  }
}

/** An URL stands for its host and port, and an address of IPv6 needs no brackets. */
function addressIn(target: string): string {
  const [, scheme, place = ''] = /^(https?|grpc|tcp):\/\/([^/?#]*)/i.exec(target) ?? []
  if (scheme === undefined) return isIP(target) === 6 ? `[${target}]` : target
  const isBare = !/:\d+$/.test(place) && /^http/i.test(scheme)
  return isBare ? `${place}:${scheme.toLowerCase() === 'https' ? 443 : 80}` : place
}

/** Asks centre and relay at once. Throws the centre's problem where neither can say anything. */
export async function readExplained(centre: Centre, asked: AskedCall): Promise<Explained> {
  const [atCentre, relay] = await Promise.all([askCentre(centre, asked), askRelay(centre, asked)])
  if (atCentre instanceof Problem && 'reason' in relay) throw atCentre
  const centreSaid = atCentre instanceof Problem ? { reason: atCentre.message } : atCentre
  const steps = bothViews('reason' in centreSaid ? undefined : centreSaid, 'reason' in relay ? undefined : relay)
  return { asked, centre: centreSaid, relay, steps }
}

async function askCentre(centre: Centre, { caller, host, port }: AskedCall): Promise<Explanation | Problem> {
  const { cluster, namespace, pod } = caller
  const body = { caller: `${cluster}/${namespace}/${pod}`, host, ...(port === undefined ? {} : { port }) }
  try {
    return parseExplanation((await callCentre(centre, { method: 'POST', path: '/v1/explanations', body })).body)
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
}

async function askRelay(centre: Centre, { caller, host, port }: AskedCall): Promise<Said> {
  const { cluster, namespace, pod } = caller
  const url = centre.relays[cluster]
  if (url === undefined)
    return {
      reason: `none is known: isthmus context add ${centre.name ?? '<context>'} --relay ${cluster}=http://<host>:15014`,
    }
  const query = new URLSearchParams({
    pod: `${namespace}/${pod}`,
    host,
    ...(port === undefined ? {} : { port: `${port}` }),
  })
  const [answer] = await askRelays({ ...centre, relays: { [cluster]: url } }, `/explain?${query}`)
  if (!answer?.body) return { reason: `${url}: ${answer?.reason ?? 'no answer'}` }
  try {
    return parseExplanation(answer.body)
  } catch {
    return { reason: `${url}: its answer is not understood: upgrade the older of relay and command` }
  }
}

/** The first step that fails, by whomever it was found. */
export const failingIn = ({ steps }: Explained): BothSeen | undefined => steps.find(({ ok }) => ok === false)

const words = { true: 'ok', false: 'FAILED', unknown: 'not known' } as const

/** What a person reads: every step, the first to mend, where calls go, and where the two differ. */
export function explainedText(explained: Explained, paint: Paint): string {
  const { asked, steps } = explained
  const { caller, host, port } = asked
  const known = [explained.relay, explained.centre].flatMap((one) => ('reason' in one ? [] : [one]))
  const said = known.find((one) => one.port !== undefined)
  const rows = steps.map(({ step, ok, by, saw }) => [step, words[`${ok}`], by, saw])
  return [
    harmless(`${caller.namespace}/${caller.pod} of ${caller.cluster} calls ${host}:${port ?? said?.port ?? '?'}`),
    '\n\n',
    table([['STEP', 'IS', 'SAYS', 'SAW'], ...rows], paint),
    '\n',
    landsText(known),
    firstText(failingIn(explained)),
    differText(explained),
    known.some(({ service }) => service !== undefined)
      ? answersText(known.find(({ answers }) => answers)?.answers, steps)
      : '',
    silentText('the centre', explained.centre),
    silentText('the relay', explained.relay),
  ].join('')
}

function landsText(known: readonly Explanation[]): string {
  const told = known.find(({ lands }) => lands.length > 0)
  if (!told) return 'Such calls go nowhere.\n'
  const shares = told.lands.map(({ cluster, share }) => `${cluster} ${percentOf(share)}`)
  return `Such calls go to ${shares.join(', ')}, says the ${told.by}.\n`
}

const percentOf = (share: number): string => `${Math.round(share * 1000) / 10} %`

function firstText(first: BothSeen | undefined): string {
  if (!first) return 'No step is known to fail.\n'
  const { saw, at, fix } = first
  return [
    `First to mend: ${first.step}, says the ${first.by}\n`,
    `  saw         ${harmless(saw)}\n`,
    at === undefined ? '' : `  on          ${harmless(at)}\n`,
    fix === undefined ? '' : `  to mend it  ${harmless(typeable(fix))}\n`,
  ].join('')
}

function differText({ steps, centre, relay }: Explained): string {
  const lines = steps.flatMap((one) =>
    one.against ? [`${one.step}: the ${one.by} says ${sayOf(one)}; the other says ${sayOf(one.against)}`] : [],
  )
  const ways = [centre, relay].map((one) => ('reason' in one ? '' : one.via.join(', ')))
  if (ways[0] !== ways[1] && ways.every((way) => way !== ''))
    lines.push(`way: the centre thinks of ${ways[0]} first, the relay of ${ways[1]}`)
  const revisions = [centre, relay].map((one) => ('reason' in one ? undefined : one.revision))
  const [theirs, ours] = revisions
  if (theirs !== undefined && ours !== undefined && theirs !== ours)
    lines.push(`config: the centre has revision ${theirs} for this cluster, its relay ${ours}`)
  return lines.length === 0 ? '' : `Centre and relay differ\n${lines.map((line) => `  ${harmless(line)}\n`).join('')}`
}

const sayOf = ({ ok, saw }: Step): string => `${words[`${ok}`]} (${saw})`

/** An error that an application answers with is no fault of the path: where that is in order it is its own word. */
function answersText(answers: Answers | undefined, steps: readonly BothSeen[]): string {
  if (!answers) return 'How such calls ended is not measured.\n'
  const { calls, errors, forMs } = answers
  if (calls === 0) return `No call to it from this cluster ended in the last ${Math.round(forMs / 1000)} s.\n`
  const window = `in the last ${Math.round(forMs / 1000)} s`
  const ended = `Of ${calls} tries to reach it from this cluster ${errors} ended in an error ${window}`
  const isInOrder = steps.every(({ ok }) => ok !== false)
  return errors > 0 && isInOrder
    ? `${ended}: no step of the path is known to fail, so that is the application’s word; look at its log.\n`
    : `${ended}.\n`
}

const silentText = (who: string, said: Said): string =>
  'reason' in said ? `Of ${who} nothing is known: ${harmless(typeable(said.reason))}\n` : ''
