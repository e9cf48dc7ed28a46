import { get } from 'node:http'
import { listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { self, typeable } from '#cli/fix.ts'
import { age, cell, type Row, table } from '#cli/output.ts'
import { Problem } from '#mesh/model/problem.ts'

/** The state of the federation, from the centre where it answers and from the relays that the context names. */
export type Status = {
  readonly centre: { readonly url: string; readonly answers: boolean; readonly reason?: string }
  readonly clusters: readonly Row[]
  /** The newest config of each cluster, as the centre compiled it. */
  readonly configs: readonly Row[]
  /** East-west gateways, as their clusters report them. */
  readonly gateways: readonly Row[]
  readonly relays: Readonly<Record<string, Row | null>>
}

const lists = ['/v1/clusters', '/v1/cluster-configs', '/v1/gateways']

export async function readStatus(centre: Centre): Promise<Status> {
  const [found, relays] = await Promise.all([
    Promise.all(lists.map((path) => listAll(centre, path))).catch((error: unknown) => {
      if (error instanceof Problem && error.kind === 'unavailable') return error
      throw error
    }),
    Promise.all(Object.entries(centre.relays).map(async ([name, url]) => [name, await relayStatus(url)] as const)),
  ])
  const away = found instanceof Problem
  const [clusters = [], configs = [], gateways = []] = away ? [] : found
  return {
    centre: { url: centre.url, answers: !away, ...(away ? { reason: found.message } : {}) },
    clusters,
    configs,
    gateways,
    relays: Object.fromEntries(relays),
  }
}

/** Whether anybody answered: the centre, or one relay. */
export const answersAtAll = ({ centre, relays }: Status): boolean =>
  centre.answers || Object.values(relays).some((relay) => relay !== null)

/**
 * What a person reads: a line for the centre, a table of clusters, then everything that needs a hand. A cluster whose
 * relay this context cannot ask is shown as the centre knows it; `context` is the context's name, for the words that
 * tell how to change that.
 */
export function statusText(status: Status, now: number, context = '<context>'): string {
  const names = [...new Set([...status.clusters.map((c) => cell(c['name'])), ...Object.keys(status.relays)])].sort()
  const head = status.centre.answers ? `centre ${status.centre.url} answers\n` : `${status.centre.reason}\n`
  if (names.length === 0)
    return `${head}${status.centre.answers ? 'There are no clusters yet' : 'and no relay is known that could be asked instead'}; see: ${self} ${status.centre.answers ? 'cluster create --help' : 'context list'}\n`
  const rows = names.map((name) => {
    const cluster = status.clusters.find((one) => one['name'] === name)
    const relay = status.relays[name]
    const line = (relay?.['centre'] ?? {}) as Row
    const config = (relay?.['config'] ?? status.configs.find((one) => one['cluster'] === name) ?? {}) as Row
    const proxies = Array.isArray(relay?.['proxies']) ? relay['proxies'].length : undefined
    const heard = cluster?.['lastSeenAt'] ? `heard ${age(cluster['lastSeenAt'], now)} ago` : '–'
    return [
      name,
      relay === null && cluster?.['state'] !== 'expected'
        ? 'relay does not answer'
        : cell(relay?.['state'] ?? cluster?.['state']),
      cell(relay?.['region'] ?? cluster?.['region']),
      line['state'] === undefined ? heard : `${cell(line['state'])} ${age(line['since'], now)}`,
      cell(config['revision']),
      cell(proxies),
    ]
  })
  const clusters = table([['CLUSTER', 'STATE', 'REGION', 'CENTRE', 'REVISION', 'PROXIES'], ...rows])
  const shown = status.centre.answers ? '' : 'shown: what the relays serve\n'
  return `${head}${shown}\n${clusters}${attention(status)}${notAsked(status, context)}`
}

/** The members whose relays are not asked, because nobody said where. */
function notAsked({ clusters, relays }: Status, context: string): string {
  const joined = clusters.filter((one) => one['state'] === 'joined').map((one) => cell(one['name']))
  const [first, ...others] = joined.filter((name) => !Object.hasOwn(relays, name))
  if (first === undefined) return ''
  const command = `${self} context add ${context} --relay ${first}=http://<host>:15014`
  return `\nAs the centre knows it: ${[first, ...others].join(', ')}. To ask a relay itself, say where its status is:\n  ${command}\n`
}

/** Objects set aside, refused config and conditions: what, where and why. */
function attention(status: Status): string {
  const ofClusters = status.clusters.flatMap((cluster) =>
    (Array.isArray(cluster['conditions']) ? (cluster['conditions'] as Row[]) : [])
      .filter((one) => one['status'] !== 'True' && one['reason'] !== 'Left')
      .map((one) => `${cell(cluster['name'])}  ${cell(one['reason'])}: ${typeable(cell(one['message']))}`),
  )
  // Where its relay is asked that one says more.
  const ofGateways = status.gateways
    .filter((one) => one['state'] === 'down' && !status.relays[cell(one['cluster'])])
    .map(
      (one) =>
        `${cell(one['cluster'])}  gateway ${cell(one['address'])}:${cell(one['port'])}  Down: its cluster says that it does ` +
        'not work; callers in other clusters prefer others: look at its relay',
    )
  const ofRelays = Object.entries(status.relays).flatMap(([name, relay]) => {
    const list = (key: string) => (Array.isArray(relay?.[key]) ? (relay[key] as Row[]) : [])
    return [
      ...list('rejected').map((one) => `${name}  ${cell(one['at'])}  ${cell(one['object'])}: ${cell(one['reason'])}`),
      ...list('conditions').map(
        (one) => `${name}  ${cell(one['object'])}  ${cell(one['reason'])}: ${cell(one['message'])}`,
      ),
      ...list('quarantined').map((one) => `${name}  refused by proxies: ${cell(one)}`),
    ]
  })
  const lines = [...ofClusters, ...ofGateways, ...ofRelays]
  return lines.length === 0 ? '' : `\nNeeds attention\n${lines.map((line) => `  ${line}\n`).join('')}`
}

/** What a relay says of itself; null where it does not answer. */
export function relayStatus(url: string): Promise<Row | null> {
  return new Promise((resolve) => {
    const request = get(new URL('/status', url), { timeout: 2000, agent: false }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('error', () => resolve(null))
      answer.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(parts).toString('utf8')) as Row)
        } catch {
          resolve(null)
        }
      })
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(null))
  })
}
