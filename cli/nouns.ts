import { configText, reachedText } from '#cli/config-text.ts'
import type { Centre } from '#cli/context.ts'
import { eventText } from '#cli/event-text.ts'
import { refusal } from '#cli/failure.ts'
import type { Asked, Read } from '#cli/get.ts'
import { age, type Column, cell, type Row } from '#cli/output.ts'
import type { Paint } from '#cli/paint.ts'
import { proxyColumns, readProxies } from '#cli/proxies.ts'
import { servedConfigs, servedEndpoints } from '#cli/served.ts'
import { triedInOrder, withReadyPods } from '#cli/serving-now.ts'
import { trafficColumns } from '#cli/traffic/shares.ts'
import type { Problem } from '#mesh/model/problem.ts'

/** A noun as the command line shows it: of the API, or of what only relays know. */
export type Noun = {
  readonly name: string
  /** Where the API lists them. */
  readonly path: string
  readonly short: readonly string[]
  readonly columns: readonly Column[]
  /** Options by which the list can be narrowed. */
  readonly filters: readonly ('cluster' | 'service')[]
  /** Adds to the objects what is true at this moment and stands elsewhere. */
  readonly complete?: (rows: readonly Row[], centre: Centre) => Promise<readonly Row[]>
  /** `by-list` where the API gives single ones no address: they are looked up in the list. */
  readonly single?: 'by-list'
  /** So many of the newest a list shows. */
  readonly most?: number
  /** Reads them from elsewhere than the API. */
  readonly read?: (centre: Centre, asked: Asked) => Promise<Read>
  /** Reads them from the relays, for when the centre is away. */
  readonly served?: (centre: Centre, asked: Asked, why: Problem) => Promise<Read>
  /** A whole one for a person, where a line of the table says too little. */
  readonly text?: (row: Row, now: number, paint: Paint) => string
}

const field = (heading: string, name = heading.toLowerCase()): Column => [heading, (row) => cell(row[name])]
/** The first digits of a hash: enough to compare by eye; JSON has all. */
const short = (heading: string, name = heading.toLowerCase()): Column => [
  heading,
  (row) => cell(row[name]).slice(0, 12),
]
const since = (heading: string, name: string): Column => [heading, (row, now) => age(row[name], now)]
const service: Column = ['SERVICE', (row) => `${cell(row['namespace'])}/${cell(row['name'])}`]
const ports: Column = [
  'PORTS',
  (row) =>
    Array.isArray(row['ports'])
      ? row['ports'].map((p: Row) => `${cell(p['port'])}/${cell(p['protocol'])}`).join(',')
      : '–',
]
const reached: Column = ['PROXIES', reachedText]
const rootCount: Column = ['ROOTS', (row) => cell(Array.isArray(row['roots']) ? row['roots'].length : undefined)]
const conditions: Column = [
  'CONDITIONS',
  (row) =>
    Array.isArray(row['conditions'])
      ? row['conditions'].map((c: Row) => cell(c['reason'] ?? c['type'])).join(',') || '–'
      : '–',
]

/** As it can be asked for: of a member with the cluster before it. */
const policyNameColumn: Column = [
  'POLICY',
  (row) => `${fromMember(row) ? `${cell(row['origin'])}/` : ''}${cell(row['namespace'])}/${cell(row['name'])}`,
]
const fromMember = ({ origin }: Row): boolean => origin !== undefined && origin !== 'api'
/** Whose it is, and where it is not in force as it was written, how it stands. */
const originColumn: Column = ['FROM', (row) => (fromMember(row) ? cell(row['origin']) : 'the centre')]
const standingColumn: Column = [
  'STATE',
  (row) => {
    const [first] = Array.isArray(row['conditions']) ? row['conditions'] : []
    return first === undefined ? 'InForce' : cell((first as Row)['reason'])
  },
]
const specOf = (row: Row): Row => (row['spec'] ?? {}) as Row
/** What a policy selects: `reviews`, `app=shop`, `namespace shop`, `all`. */
const selectsColumn: Column = [
  'SERVICES',
  (row) => {
    if (row['spec'] === null) return '–'
    const { namespace, names, labels } = (specOf(row)['services'] ?? {}) as Row
    const wanted = Object.entries((labels ?? {}) as Row).map(([label, value]) => `${label}=${cell(value)}`)
    const parts = [...(Array.isArray(names) ? [names.map(cell).join(',')] : []), ...wanted]
    const within = namespace === undefined ? [] : [`namespace ${cell(namespace)}`]
    return [...parts, ...within].join(' ') || 'all'
  },
]
/** The order in which targets are tried: `virginia-1 70, virginia-2 30 > eu-west-1`. */
const tiersColumn: Column = [
  'TIERS',
  (row) => {
    const tiers = specOf(row)['tiers']
    if (!Array.isArray(tiers)) return row['spec'] === null ? '–' : 'default'
    const target = ({ cluster, region, group, weight }: Row): string =>
      [cell(cluster ?? region ?? group), ...(weight === undefined ? [] : [cell(weight)])].join(' ')
    return tiers.map(({ targets }: Row) => (Array.isArray(targets) ? targets.map(target).join(', ') : '')).join(' > ')
  },
]

export const nouns: readonly Noun[] = [
  {
    name: 'meshes',
    path: '/v1/meshes',
    short: ['mesh'],
    filters: [],
    columns: [field('NAME'), since('AGE', 'createdAt')],
  },
  {
    name: 'clusters',
    path: '/v1/clusters',
    short: ['cluster', 'cl'],
    filters: [],
    columns: [
      ...[field('NAME'), field('STATE'), field('REGION'), field('NETWORK'), field('TRUST DOMAIN', 'trustDomain')],
      ...[since('LAST SEEN', 'lastSeenAt'), field('RELAY', 'relayVersion'), conditions],
    ],
  },
  {
    name: 'networks',
    path: '/v1/networks',
    short: ['network', 'net'],
    filters: ['cluster'],
    columns: [field('NAME'), field('CLUSTERS')],
  },
  {
    name: 'gateways',
    path: '/v1/gateways',
    short: ['gateway', 'gw'],
    filters: ['cluster'],
    columns: [field('CLUSTER'), field('ADDRESS'), field('PORT'), field('STATE')],
  },
  {
    name: 'services',
    path: '/v1/services',
    short: ['service', 'svc'],
    filters: ['cluster', 'service'],
    columns: [service, ports, field('CLUSTERS')],
  },
  {
    name: 'service-exports',
    path: '/v1/service-exports',
    short: ['service-export', 'exports', 'export'],
    filters: ['cluster', 'service'],
    columns: [service, field('CLUSTER'), field('CONSUMERS'), conditions],
  },
  {
    name: 'global-traffic-policies',
    path: '/v1/global-traffic-policies',
    short: ['global-traffic-policy', 'gtp', 'policies', 'policy'],
    filters: ['cluster'],
    columns: [
      ...[policyNameColumn, originColumn, selectsColumn, tiersColumn, field('REVISION'), since('AGE', 'updatedAt')],
      standingColumn,
    ],
  },
  {
    name: 'sameness-groups',
    path: '/v1/sameness-groups',
    short: ['sameness-group', 'sg', 'groups', 'group'],
    filters: [],
    columns: [
      ...[field('NAME'), originColumn, field('CLUSTERS'), field('REVISION'), since('AGE', 'updatedAt'), standingColumn],
    ],
  },
  {
    name: 'traffic',
    path: '/v1/traffic',
    short: ['shares', 'load'],
    filters: ['cluster', 'service'],
    columns: trafficColumns,
  },
  {
    name: 'drains',
    path: '/v1/drains',
    short: ['drain'],
    filters: [],
    columns: [
      ...[field('KIND'), field('SUBJECT'), field('STATE'), field('PERCENT'), field('WHY')],
      ...[since('AGE', 'startedAt'), field('BY'), field('REASON')],
    ],
  },
  {
    name: 'service-imports',
    path: '/v1/service-imports',
    short: ['service-import', 'imports', 'import'],
    filters: ['cluster', 'service'],
    columns: [service, field('CLUSTER'), field('HOST'), triedInOrder, conditions],
    complete: withReadyPods,
  },
  {
    name: 'endpoints',
    path: '/v1/endpoints',
    short: ['endpoint', 'ep'],
    filters: ['cluster', 'service'],
    columns: [service, field('CLUSTER'), field('PORT'), field('REGION'), field('ZONE'), field('READY'), field('TOTAL')],
    served: servedEndpoints,
  },
  {
    name: 'proxies',
    path: '',
    short: ['proxy', 'px'],
    filters: ['cluster'],
    columns: proxyColumns,
    read: readProxies,
  },
  {
    name: 'authorities',
    path: '/v1/authorities',
    short: ['authority', 'ca'],
    filters: [],
    columns: [field('KIND'), field('STATE'), field('NOT AFTER', 'notAfter'), short('SHA-256', 'sha256'), field('ID')],
  },
  {
    name: 'rotations',
    path: '/v1/rotations',
    short: ['rotation'],
    filters: [],
    columns: [
      ...[field('KIND'), field('CLUSTER'), field('STATE'), field('STEP')],
      ...[since('BEGUN', 'startedAt'), since('IN STEP', 'stepAt'), field('ID')],
    ],
  },
  {
    name: 'revocations',
    path: '/v1/revocations',
    short: ['revocation'],
    filters: [],
    columns: [
      ...[field('REVOCATION', 'cut'), field('REVOKED', 'kind'), field('SUBJECT'), since('AGE', 'at'), field('REASON')],
      since('UNDONE', 'undoneAt'),
    ],
  },
  {
    name: 'trust-bundles',
    path: '/v1/trust-bundles',
    short: ['trust-bundle', 'bundle'],
    filters: ['cluster'],
    columns: [field('TRUST DOMAIN', 'trustDomain'), field('CLUSTER')],
  },
  {
    name: 'foreign-domains',
    path: '/v1/foreign-domains',
    short: ['foreign-domain', 'foreign'],
    filters: [],
    columns: [
      ...[field('TRUST DOMAIN', 'trustDomain'), rootCount, field('SEQUENCE'), field('ADMITTED BY', 'admittedBy')],
      ...[since('SINCE', 'updatedAt'), since('AGE', 'createdAt')],
    ],
  },
  {
    name: 'cluster-configs',
    path: '/v1/cluster-configs',
    short: ['cluster-config', 'cfg'],
    filters: [],
    columns: [
      ...[field('CLUSTER'), field('REVISION'), short('HASH'), reached, field('CAUSE'), field('AUTHOR')],
      ...[since('AGE', 'at'), conditions],
    ],
    served: servedConfigs,
    text: configText,
  },
  {
    name: 'audit-events',
    path: '/v1/audit-events',
    short: ['events', 'event', 'audit'],
    filters: [],
    single: 'by-list',
    most: 1000,
    columns: [since('AGE', 'at'), field('CALLER'), field('ACTION'), field('OBJECT'), ['DETAIL', eventText]],
  },
  {
    name: 'operator-keys',
    path: '/v1/operator-keys',
    short: ['operator-key', 'keys', 'key'],
    filters: [],
    single: 'by-list',
    columns: [
      ...[field('ID'), field('NAME'), field('ROLE'), field('EXPIRES', 'expiresAt')],
      ...[since('AGE', 'createdAt'), conditions],
    ],
  },
]

const nounNames = nouns.map(({ name }) => name).join(', ')

/** The noun that `said` names, by its name or a short form. Throws `not-found` with the list. */
export function nounOf(said: string): Noun {
  const found = nouns.find((noun) => noun.name === said || noun.short.includes(said))
  if (found) return found
  throw refusal({
    ...{ kind: 'not-found', why: `there is no noun "${said}"`, on: `isthmus get ${said}` },
    mend: `say one of ${nounNames}`,
  })
}
