import { get } from 'node:http'
import { listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { age, cell, type Row, table } from '#cli/output.ts'
import { Problem } from '#mesh/model/problem.ts'

/** The state of the federation, from the centre where it answers and from the relays that the context names. */
export type Status = {
  readonly centre: { readonly url: string; readonly answers: boolean; readonly reason?: string }
  readonly clusters: readonly Row[]
  readonly relays: Readonly<Record<string, Row | null>>
}

export async function readStatus(centre: Centre): Promise<Status> {
  const [clusters, relays] = await Promise.all([
    listAll(centre, '/v1/clusters').catch((error: unknown) => {
      if (error instanceof Problem && error.kind === 'unavailable') return error
      throw error
    }),
    Promise.all(Object.entries(centre.relays).map(async ([name, url]) => [name, await relayStatus(url)] as const)),
  ])
  const away = clusters instanceof Problem
  return {
    centre: { url: centre.url, answers: !away, ...(away ? { reason: clusters.message } : {}) },
    clusters: away ? [] : clusters,
    relays: Object.fromEntries(relays),
  }
}

/** Whether anybody answered: the centre, or one relay. */
export const answersAtAll = ({ centre, relays }: Status): boolean =>
  centre.answers || Object.values(relays).some((relay) => relay !== null)

/** What a person reads: a line for the centre, a table of clusters, then everything that needs a hand. */
export function statusText(status: Status, now: number): string {
  const names = [...new Set([...status.clusters.map((c) => cell(c['name'])), ...Object.keys(status.relays)])].sort()
  const head = status.centre.answers
    ? `centre ${status.centre.url} answers\n`
    : `${status.centre.reason}\nshown: what the relays serve\n`
  const rows = names.map((name) => {
    const cluster = status.clusters.find((one) => one['name'] === name)
    const relay = status.relays[name]
    const line = (relay?.['centre'] ?? {}) as Row
    const config = (relay?.['config'] ?? {}) as Row
    const proxies = Array.isArray(relay?.['proxies']) ? relay['proxies'].length : undefined
    return [
      name,
      relay === null ? 'relay does not answer' : cell(relay?.['state'] ?? cluster?.['state']),
      cell(relay?.['region'] ?? cluster?.['region']),
      line['state'] === undefined ? '–' : `${cell(line['state'])} ${age(line['since'], now)}`,
      cell(config['revision']),
      cell(proxies),
    ]
  })
  return `${head}\n${table([['CLUSTER', 'STATE', 'REGION', 'CENTRE', 'REVISION', 'PROXIES'], ...rows])}${attention(status)}`
}

/** Objects set aside, refused config and conditions: what, where and why. */
function attention(status: Status): string {
  const lines = Object.entries(status.relays).flatMap(([name, relay]) => {
    const list = (key: string) => (Array.isArray(relay?.[key]) ? (relay[key] as Row[]) : [])
    return [
      ...list('rejected').map((one) => `${name}  ${cell(one['at'])}  ${cell(one['object'])}: ${cell(one['reason'])}`),
      ...list('conditions').map(
        (one) => `${name}  ${cell(one['object'])}  ${cell(one['reason'])}: ${cell(one['message'])}`,
      ),
      ...list('quarantined').map((one) => `${name}  refused by proxies: ${cell(one)}`),
    ]
  })
  return lines.length === 0 ? '' : `\nNeeds attention\n${lines.map((line) => `  ${line}\n`).join('')}`
}

function relayStatus(url: string): Promise<Row | null> {
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
