import { askRelays, awayHead, isAway, type RelayAnswer } from '#cli/ask-relays.ts'
import { ask, listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { age, cell, harmless, type Row, table, wrapped } from '#cli/output.ts'
import { type Paint, plain } from '#cli/paint.ts'
import { nobodyAnswers } from '#cli/served.ts'
import { type HandOnTraffic, readHand, trafficText } from '#cli/traffic/hand.ts'
import { self, typeable } from '#mesh/model/failure-text.ts'
import type { Problem } from '#mesh/model/problem.ts'

/** The state of the federation, from the centre where it answers and from the relays that the context names. */
export type Status = {
  readonly centre: {
    readonly url: string
    readonly answers: boolean
    readonly reason?: string
    /** As `/readyz` says. */
    readonly ready?: boolean
    readonly attention?: readonly string[]
  }
  readonly clusters: readonly Row[]
  /** The newest config of each cluster, as the centre compiled it. */
  readonly configs: readonly Row[]
  /** East-west gateways, as their clusters report them. */
  readonly gateways: readonly Row[]
  readonly relays: Readonly<Record<string, Row | null>>
  /** What an operator's hand does to traffic now. */
  readonly traffic?: HandOnTraffic
}

/** A status with what its text needs beside it. */
export type ReadStatus = { readonly status: Status; readonly answers: readonly RelayAnswer[]; readonly away?: Problem }

/** Certificates are back-dated by five minutes: nobody is refused yet. */
const skewMsMax = 60_000

const lists = ['/v1/clusters', '/v1/cluster-configs', '/v1/gateways']

export async function readStatus(centre: Centre): Promise<ReadStatus> {
  const [found, readiness, answers, traffic] = await Promise.all([
    Promise.all(lists.map((path) => listAll(centre, path))).catch((error: unknown) => {
      if (isAway(error)) return error
      throw error
    }),
    readyOf(centre),
    askRelays(centre),
    readHand(centre),
  ])
  const [clusters = [], configs = [], gateways = []] = isAway(found) ? [] : found
  return {
    status: {
      centre: {
        ...{ url: centre.url, answers: !isAway(found) },
        ...(isAway(found) ? { reason: found.message } : {}),
        ...readiness,
      },
      ...{ clusters, configs, gateways },
      relays: Object.fromEntries(answers.map(({ cluster, body }) => [cluster, body ?? null])),
      traffic,
    },
    answers,
    ...(isAway(found) ? { away: found } : {}),
  }
}

/** What the centre says of itself; nothing where it does not answer. */
async function readyOf(centre: Centre): Promise<Pick<Status['centre'], 'ready' | 'attention'>> {
  try {
    const { status, body } = await ask(centre, { method: 'GET', path: '/readyz' })
    const said = (body as { attention?: unknown } | null)?.attention
    const attention = Array.isArray(said) ? { attention: said.map(cell) } : {}
    return { ready: status === 200, ...attention }
  } catch {
    return {}
  }
}

/** Whether anybody answered: the centre, or one relay. */
export const answersAtAll = ({ centre, relays }: Status): boolean =>
  centre.answers || Object.values(relays).some((relay) => relay !== null)

/** How a status is told: at which moment (Unix ms), in the name of which context, with which colours, on lines how long. */
export type Telling = {
  readonly now: number
  readonly context?: string | undefined
  readonly paint?: Paint
  readonly columns?: number | undefined
}

/**
 * What a person reads: a line for the centre, a table of clusters, what operators do to traffic, then everything that needs a hand. A cluster whose
 * relay this context cannot ask is shown as the centre knows it; the context's name is for the words that tell how to
 * change that. Throws `unavailable` where nobody answers.
 */
export function statusText({ status, answers, away }: ReadStatus, telling: Telling): string {
  const { now, context = '<context>', paint = plain, columns = Number.POSITIVE_INFINITY } = telling
  const names = [...new Set([...status.clusters.map((c) => cell(c['name'])), ...Object.keys(status.relays)])].sort()
  if (away && !answersAtAll(status)) throw nobodyAnswers(status.relays, away, context)
  const head = away ? awayHead(answers, away, now) : `centre ${status.centre.url} ${standing(status, paint)}\n`
  if (names.length === 0) return `${head}There are no clusters yet; see: ${self} cluster create --help\n`
  const rows = names.map((name) => clusterLine(name, status, now))
  const clusters = table([['CLUSTER', 'STATE', 'REGION', 'CENTRE', 'REVISION', 'PROXIES'], ...rows], paint)
  const traffic = status.traffic ? trafficText(status.traffic, now, paint) : ''
  return `${head}\n${clusters}${traffic}${attention(status, paint, columns)}${notAsked(status, context)}`
}

const standing = ({ centre }: Status, paint: Paint): string =>
  centre.ready === false ? `answers, and is ${paint('slow', 'not ready')}` : paint('good', 'answers')

function clusterLine(name: string, { clusters, configs, relays }: Status, now: number): string[] {
  const cluster = clusters.find((one) => one['name'] === name)
  const relay = relays[name]
  const line = (relay?.['centre'] ?? {}) as Row
  const config = (relay?.['config'] ?? configs.find((one) => one['cluster'] === name) ?? {}) as Row
  const proxies = Array.isArray(relay?.['proxies']) ? relay['proxies'].length : undefined
  const heard = cluster?.['lastSeenAt'] ? `heard ${age(cluster['lastSeenAt'], now)} ago` : '–'
  const isSilent = relay === null && isServed(cluster)
  return [
    name,
    isSilent ? 'relay does not answer' : cell(relay?.['state'] ?? cluster?.['state']),
    cell(relay?.['region'] ?? cluster?.['region']),
    line['state'] === undefined ? heard : `${cell(line['state'])} ${age(line['since'], now)}`,
    cell(config['revision']),
    cell(proxies),
  ]
}

/** A cluster that should have a relay which answers. */
const isServed = (cluster: Row | undefined): boolean =>
  cluster?.['state'] !== 'expected' && cluster?.['state'] !== 'left'

/** The members whose relays are not asked, because nobody said where. */
function notAsked({ clusters, relays }: Status, context: string): string {
  const joined = clusters.filter((one) => one['state'] === 'joined').map((one) => cell(one['name']))
  const [first, ...others] = joined.filter((name) => !Object.hasOwn(relays, name))
  if (first === undefined) return ''
  const command = `${self} context add ${context} --relay ${first}=http://<host>:15014`
  return `\nAs the centre knows it: ${[first, ...others].join(', ')}. To ask a relay itself, say where its status is:\n  ${command}\n`
}

/** What the centre says needs a hand, objects set aside, refused config and conditions: what, where and why. */
function attention(status: Status, paint: Paint, columns: number): string {
  const ofClusters = status.clusters.flatMap((cluster) =>
    rowsOf(cluster['conditions'])
      .filter(needsHand)
      .map((one) => `${cell(cluster['name'])}  ${cell(one['reason'])}: ${typeable(cell(one['message']))}`),
  )
  // Where its relay is asked that one says more.
  const ofConfigs = status.configs
    .filter((one) => !status.relays[cell(one['cluster'])])
    .flatMap((one) =>
      rowsOf(one['conditions']).map(
        (of) =>
          `${cell(one['cluster'])}  ${cell(of['object'])}  ${cell(of['reason'])}: ${typeable(cell(of['message']))}`,
      ),
    )
  const ofGateways = status.gateways
    .filter((one) => one['state'] === 'down' && !status.relays[cell(one['cluster'])])
    .map(
      (one) =>
        `${cell(one['cluster'])}  gateway ${cell(one['address'])}:${cell(one['port'])}  Down: its cluster says that it does ` +
        'not work; callers in other clusters prefer others: look at its relay',
    )
  const ofSilent = Object.entries(status.relays)
    .filter(([name, relay]) => relay === null && isServed(status.clusters.find((one) => one['name'] === name)))
    .map(
      ([name]) =>
        `${name}  its relay  Unreachable: does not answer, so its proxies keep what they have and nothing more is known of ` +
        'it here: look at its process',
    )
  const ofRelays = Object.entries(status.relays).flatMap(([name, relay]) => [
    ...rowsOf(relay?.['rejected']).map(
      (one) => `${name}  ${cell(one['at'])}  ${cell(one['object'])}: ${cell(one['reason'])}`,
    ),
    ...rowsOf(relay?.['conditions']).map(
      (one) => `${name}  ${cell(one['object'])}  ${cell(one['reason'])}: ${typeable(cell(one['message']))}`,
    ),
    ...clockOf(name, relay),
    ...rowsOf(relay?.['quarantined']).map((one) => `${name}  ${refused(one)}; see: ${self} proxies --cluster ${name}`),
  ])
  const ofCentre = (status.centre.attention ?? []).map((text) => `centre  ${typeable(text)}`)
  const lines = [...ofCentre, ...ofSilent, ...ofClusters, ...ofConfigs, ...ofGateways, ...ofRelays].map(harmless)
  return lines.length === 0
    ? ''
    : `\n${paint('slow', 'Needs attention')}\n${lines.map((line) => `${wrapped(`  ${line}`, columns, '    ')}\n`).join('')}`
}

const rowsOf = (value: unknown): readonly Row[] => (Array.isArray(value) ? (value as Row[]) : [])

/** Most conditions are good news while they are True; that something is set aside is not. */
const needsHand = ({ type, status, reason }: Row): boolean =>
  type === 'SetAside' ? status !== 'False' : status !== 'True' && reason !== 'Left'

/** A relay goes by the time of the centre; the proxies beside it go by a clock that is off. */
function clockOf(name: string, relay: Row | null): string[] {
  const skewMs = Number((relay?.['centre'] as Row | undefined)?.['clockSkewMs'] ?? 0)
  if (!(Math.abs(skewMs) > skewMsMax)) return []
  const by = `${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs < 0 ? 'ahead of' : 'behind'}`
  return [`${name}  the clock of its relay’s machine  ClockOff: it is ${by} the centre’s: set it (NTP)`]
}

const refused = ({ name, owner, detail }: Row): string =>
  `${owner === undefined ? cell(name) : cell(owner)}  Refused by proxies: ${cell(detail)}`
