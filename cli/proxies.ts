import { askRelays, type RelayAnswer, silentText } from '#cli/ask-relays.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import type { Asked, Read } from '#cli/get.ts'
import { age, type Column, cell, harmless, type Row } from '#cli/output.ts'

/** What the world calls the types: Envoy's names of their discovery services. */
const discovery: Readonly<Record<string, string>> = {
  ...{ cluster: 'CDS', endpoint: 'EDS', listener: 'LDS', route: 'RDS', secret: 'SDS' },
}

/** One column for each type: what this Envoy has of it. */
export const proxyColumns: readonly Column[] = [
  ['CLUSTER', (row) => cell(row['cluster'])],
  ['PROXY', (row) => cell(row['name'])],
  ['KIND', (row) => cell(row['kind'])],
  ['ENVOY', (row) => cell(row['envoy'])],
  ...Object.entries(discovery).map(([type, name]): Column => [name, (row) => cell(typeOf(row, type)?.['state'])]),
  ['CONNECTED', (row, now) => age(row['connectedAt'], now)],
]

/** What an Envoy has of a type; undefined where it does not subscribe to it. */
const typeOf = (row: Row, type: string): Row | undefined =>
  (row['types'] as Readonly<Record<string, Row>> | undefined)?.[type]

/**
 * The Envoys that are connected to the relays of the context. Only relays know them, so the centre is not asked. Throws
 * `unavailable` where no relay answers, and `not-found` for a name that no Envoy has.
 */
export async function readProxies(centre: Centre, { name, cluster }: Asked): Promise<Read> {
  const answers = await relaysOf(centre, cluster)
  const all = answers.flatMap(({ cluster, body }) => proxiesOf(cluster, body))
  const rows = name === undefined ? all : all.filter((row) => row['id'] === name || row['name'] === name)
  if (name !== undefined && rows.length === 0)
    throw refusal({
      ...{ kind: 'not-found', why: `no Envoy is connected as ${name}` },
      on: answers.map(({ url }) => url).join(', '),
      mend: answers.some((one) => one.cluster === name) ? `isthmus proxies --cluster ${name}` : 'isthmus proxies',
    })
  const silent = silentText(answers)
  return {
    ...{ rows, single: false, none: 'No Envoy is connected.\n' },
    below: (now) => `${notInStep(rows, now)}${silent && `\n${silent}`}`,
  }
}

async function relaysOf(centre: Centre, cluster?: string): Promise<readonly RelayAnswer[]> {
  const wanted = Object.entries(centre.relays).filter(([name]) => cluster === undefined || name === cluster)
  const context = centre.name ?? '<context>'
  const add = `isthmus context add ${context} --relay ${cluster ?? '<cluster>'}=http://<host>:15014`
  if (wanted.length === 0)
    throw refusal({
      kind: 'invalid',
      why: `no relay${cluster === undefined ? '' : ` of cluster ${cluster}`} is known, and only relays know their Envoys`,
      ...{ on: `context ${context}`, mend: add },
    })
  const answers = await askRelays({ ...centre, relays: Object.fromEntries(wanted) })
  if (answers.some(({ body }) => body)) return answers
  throw refusal({
    ...{ kind: 'unavailable', why: `no relay answers: ${answers.map(({ reason }) => reason).join('; ')}` },
    ...{ on: answers.map(({ url }) => url).join(', '), mend: `start it, or say where it is: ${add}` },
  })
}

/** The Envoys in a relay's status, each with its cluster and the names that people use. */
export function proxiesOf(cluster: string, body: Row = {}): Row[] {
  const proxies = Array.isArray(body['proxies']) ? (body['proxies'] as Row[]) : []
  return proxies
    .map((proxy) => {
      const [kind, , name] = cell(proxy['id']).split('~')
      return { cluster, name: name ?? cell(proxy['id']), kind: kind ?? '', ...proxy }
    })
    .toSorted((a, b) => a.name.localeCompare(b.name, 'en'))
}

/** Why an Envoy does not have the newest of a type. */
function notInStep(rows: readonly Row[], now: number): string {
  const lines = rows.flatMap((row) =>
    Object.entries((row['types'] ?? {}) as Readonly<Record<string, Row>>)
      .filter(([, { state }]) => state !== 'SYNCED')
      .map(([type, of]) =>
        harmless(
          `${cell(row['cluster'])}  ${cell(row['name'])}  ${discovery[type] ?? type}  ${cell(of['state'])}  ${reasonOf(of, now)}`,
        ),
      ),
  )
  return lines.length === 0 ? '' : `\nNot in step\n${lines.map((line) => `  ${line}\n`).join('')}`
}

function reasonOf({ state, nack, setAside, lastAckAt }: Row, now: number): string {
  const last = lastAckAt === undefined ? 'nothing acknowledged yet' : `last acknowledged ${age(lastAckAt, now)} ago`
  if (state !== 'NACK') return `sent or due, ${last}`
  const aside = (Array.isArray(setAside) ? (setAside as Row[]) : []).map(({ name, owner }) =>
    owner === undefined ? cell(name) : `${cell(name)} (of ${cell(owner)})`,
  )
  const { detail, at } = (nack ?? {}) as Row
  // Envoy writes the resource into its reason, line by line.
  const said = detail === undefined ? 'refused by others' : `${cell(detail).replace(/\s+/g, ' ')}, ${age(at, now)} ago`
  return aside.length === 0 ? said : `${said}; set aside: ${aside.join(', ')}`
}
