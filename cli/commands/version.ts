import type { Command } from 'commander'
import { askRelays } from '#cli/ask-relays.ts'
import { ask } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { type Column, cell, type Format, type Row, render } from '#cli/output.ts'
import { proxiesOf } from '#cli/proxies.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { version } from '#mesh/model/version.ts'

/** One program, or several alike: what it is, where it runs, its version, or why that is not known. */
type Part = { readonly part: string; readonly where: string; readonly version: string | null; readonly note?: string }

const columns: readonly Column[] = [
  ['PART', (row) => cell(row['part'])],
  ['WHERE', (row) => cell(row['where'])],
  ['VERSION', (row) => cell(row['version'])],
  ['NOTE', (row) => cell(row['note'])],
]

/** `version`: of this command, the centre, each relay, and the programs at its proxies. */
export function versionCommand(program: Command, tools: Tools): void {
  program
    .command('version')
    .description('versions: this command, the centre, each relay, proxies, Envoys')
    .helpGroup('This command:')
    .addOption(outputOption())
    .action(async ({ output }: { output: Format }) => {
      const own: Part = { part: 'isthmus', where: 'this command', version }
      const { url, context } = tools.target()
      const anybody = knows(tools, url ?? context)
      const rows = [own, ...(anybody ? await partsOf(anybody) : [])]
      const none = anybody ? '' : 'No centre is chosen, so none is asked.\n'
      tools.print(render({ rows, columns, single: false, below: none }, output, tools.io.now(), tools.paint))
    })
}

/** The centre, where one is chosen: without one there still is a version to show. Throws where a choice was made. */
function knows(tools: Tools, chosen: string | undefined): Centre | undefined {
  try {
    return tools.centre()
  } catch (error) {
    if (chosen !== undefined) throw error
    return undefined
  }
}

async function partsOf(centre: Centre): Promise<Part[]> {
  const [health, relays] = await Promise.all([centrePart(centre), askRelays(centre)])
  return [
    health,
    ...relays.map(({ cluster, body, reason }): Part => {
      const version = body === undefined ? null : cell(body['version'])
      return { part: 'relay', where: cluster, version, ...noteOf(reason ?? differs(version)) }
    }),
    ...relays.flatMap(({ cluster, body }) => [
      ...counted('proxy', cluster, proxiesOf(cluster, body), 'agent'),
      ...counted('envoy', cluster, proxiesOf(cluster, body), 'envoy'),
    ]),
  ]
}

async function centrePart(centre: Centre): Promise<Part> {
  try {
    const { body } = await ask(centre, { method: 'GET', path: '/healthz' })
    const said = cell((body as Row | null)?.['version'])
    return { part: 'centre', where: centre.url, version: said, ...noteOf(differs(said)) }
  } catch (error) {
    return { part: 'centre', where: centre.url, version: null, note: (error as Error).message }
  }
}

/** Proxies of one cluster by what they run: a line for each version, with how many have it. */
function counted(part: string, where: string, proxies: readonly Row[], field: 'agent' | 'envoy'): Part[] {
  return [...Map.groupBy(proxies, (row) => cell(row[field]))]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([said, of]) => ({
      ...{ part, where, version: said === '–' ? null : said },
      note: `${of.length} ${of.length === 1 ? 'proxy' : 'proxies'}`,
    }))
}

const noteOf = (note: string | undefined): { note?: string } => (note === undefined ? {} : { note })
const differs = (said: string | null): string | undefined =>
  said === null || said === version ? undefined : 'another one than this command'
