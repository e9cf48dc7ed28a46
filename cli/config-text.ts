import { age, cell, harmless, type Row, table } from '#cli/output.ts'
import { type Paint, plain } from '#cli/paint.ts'

type Entries = Readonly<Record<string, Row>>

/** A whole cluster config for a person: what the cluster may call and in which order, what it offers and to whom. */
export function configText(row: Row, now: number, paint: Paint = plain): string {
  const entries = (row['entries'] ?? {}) as Entries
  const { network, region } = entries['self'] ?? {}
  const { trustDomain, members } = entries['trust'] ?? {}
  const names = rowsOf(members).map(({ cluster }) => cell(cluster))
  const facts: [string, string][] = [
    ['cluster', cell(row['cluster'])],
    ['revision', `${cell(row['revision'])}${row['at'] === undefined ? '' : `, ${age(row['at'], now)} ago`}`],
    ...named('cause', row['cause']),
    ...named('author', row['author']),
    ...named('hash', row['hash']?.toString().slice(0, 12)),
    ...(row['ackedAt'] === undefined ? [] : [['proxies', reachedText(row)] as [string, string]]),
    ['network', `${cell(network)}, region ${cell(region)}`],
    ['trust domain', `${cell(trustDomain)}; members: ${names.join(', ') || '–'}`],
  ]
  const imports = partsIn(entries, 'import/').map(([key, { ports, tiers }]) => [
    key,
    portsText(ports),
    tiersText(tiers),
  ])
  const exports = partsIn(entries, 'export/').map(([key, { ports, consumers }]) => [
    key,
    portsText(ports),
    cell(consumers),
  ])
  const conditions = rowsOf(entries['conditions']?.['conditions']).map(({ object, reason, message }) =>
    harmless(`  ${cell(object)}  ${cell(reason)}: ${cell(message)}`),
  )
  const section = (heading: readonly string[], rows: readonly string[][], none: string) =>
    `\n${rows.length === 0 ? `${none}\n` : table([heading, ...rows], paint)}`
  return [
    ...facts.map(([name, text]) => `${harmless(`${name.padEnd(13)} ${text}`)}\n`),
    section(['MAY CALL', 'PORTS', 'TRIED IN ORDER'], imports, 'It may call nothing in other clusters.'),
    section(['OFFERS', 'PORTS', 'TO'], exports, 'It offers nothing.'),
    ...(conditions.length === 0 ? [] : [`\nConditions\n${conditions.join('\n')}\n`]),
  ].join('')
}

const named = (name: string, value: unknown): [string, string][] => (value === undefined ? [] : [[name, cell(value)]])
const rowsOf = (value: unknown): readonly Row[] => (Array.isArray(value) ? (value as Row[]) : [])

const partsIn = (entries: Entries, prefix: string): [string, Row][] =>
  Object.entries(entries)
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, body]) => [key.slice(prefix.length), body])

const portsText = (ports: unknown): string =>
  rowsOf(ports)
    .map(({ port, protocol }) => `${cell(port)}/${cell(protocol)}`)
    .join(',') || '–'

/** How long it took to the last proxy: `all after 0.7 s`. */
export function reachedText({ at, ackedAt }: Row): string {
  const ms = Date.parse(String(ackedAt)) - Date.parse(String(at))
  return Number.isNaN(ms) ? 'not told (yet)' : `all after ${(ms / 1000).toFixed(1)} s`
}

/** Tiers by ` > `, members of one by ` + `; a weight is named where it is not 1. */
export const tiersText = (tiers: unknown): string =>
  rowsOf(tiers)
    .map(({ members }) =>
      rowsOf(members)
        .map(({ cluster, weight }) => `${cell(cluster)}${weight === 1 ? '' : ` ×${cell(weight)}`}`)
        .join(' + '),
    )
    .join(' > ') || '–'
