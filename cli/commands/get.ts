import { Argument, type Command } from 'commander'
import { type Asked, checkAsked, noneOf, readAsked } from '#cli/get.ts'
import { momentFrom } from '#cli/moment.ts'
import { type Noun, nounOf, nouns } from '#cli/nouns.ts'
import { render } from '#cli/output.ts'
import { outputOption, type Shape, type Tools, watchOption } from '#cli/tools.ts'
import { show } from '#cli/watch.ts'

type GetOptions = Shape & Omit<Asked, 'name'>

/** What people ask for most has a word of its own, which stands for `get <noun>`. */
const shortForms: readonly (readonly [word: string, noun: string, shows: string])[] = [
  ['clusters', 'clusters', 'members, those expected and those that left'],
  ['services', 'services', 'every service that some cluster exports'],
  ['exports', 'service-exports', 'what clusters offer, and who may use it'],
  ['imports', 'service-imports', 'where calls of each cluster go, in which order'],
  ['endpoints', 'endpoints', 'ready pods by service, cluster and zone'],
  ['gateways', 'gateways', 'east-west gateways'],
  ['proxies', 'proxies', 'Envoys, and of each type SYNCED, STALE or NACK with the reason'],
  ['events', 'audit-events', 'who did what, newest first'],
]

const atHelp = (more: string): string => `the one of a time: 14:03[:07] of today, or RFC 3339${more}`

const shortNames = nouns.map(({ name, short }) => `  ${name.padEnd(16)} ${short.join(', ')}`).join('\n')

/** `get <noun> [name]` for every noun, and the words that stand for it. */
export function getCommands(program: Command, tools: Tools): void {
  const get = program
    .command('get')
    .description('shows objects of a noun')
    .helpGroup('To see:')
    .addArgument(new Argument('<noun>', 'one of those below'))
    .argument('[name]', 'only this one')
    .addOption(outputOption())
    .addOption(watchOption())
    .option('--cluster <name>', 'only of this cluster')
    .option('--service <[namespace/]name>', 'only this service; a name alone: in every namespace')
    .option('--revision <number>', 'an earlier revision; for cluster-configs')
    .option('--at <time>', atHelp('; for cluster-configs'))
    .option('--history', 'all revisions, newest first; for cluster-configs')
  get.addHelpText('after', `\nNouns and their short forms:\n${shortNames}`)
  get.action((said: string, name: string | undefined, options: GetOptions) =>
    shown(tools, nounOf(said), { ...options, name }),
  )
  for (const [word, said, shows] of shortForms) {
    const noun = nounOf(said)
    const command = program
      .command(word)
      .description(shows)
      .helpGroup('To see:')
      .argument('[name]', 'only this one')
      .addOption(outputOption())
      .addOption(watchOption())
    if (noun.filters.includes('cluster')) command.option('--cluster <name>', 'only of this cluster')
    if (noun.filters.includes('service'))
      command.option('--service <[namespace/]name>', 'only this service; a name alone: in every namespace')
    command.action((name: string | undefined, options: GetOptions) => shown(tools, noun, { ...options, name }))
  }
  program
    .command('traffic')
    .description('where calls of each cluster are meant to go, and where they go')
    .helpGroup('To see:')
    .argument('[service]', '<namespace>/<name>; a name alone: in every namespace')
    .addOption(outputOption())
    .addOption(watchOption())
    .option('--cluster <name>', 'only calls from this cluster and to it')
    .addHelpText(
      'after',
      '\nPer caller cluster, service and callee cluster. Shares are of what was begun in the last window; errors count' +
        '\neach try. What no proxy reports is “not measured”; “–” is a share of no calls at all.',
    )
    .action((service: string | undefined, options: GetOptions) =>
      shown(tools, nounOf('traffic'), { ...options, name: undefined, ...(service === undefined ? {} : { service }) }),
    )
  program
    .command('cluster-config')
    .description('what the centre compiled for a cluster')
    .helpGroup('To see:')
    .argument('<cluster>')
    .addOption(outputOption())
    .addOption(watchOption())
    .option('--revision <number>', 'an earlier one')
    .option('--at <time>', atHelp(''))
    .option('--history', 'all revisions, newest first')
    .action((name: string, options: GetOptions) => shown(tools, nounOf('cluster-configs'), { ...options, name }))
}

async function shown(tools: Tools, noun: Noun, said: GetOptions & { name: string | undefined }): Promise<void> {
  const { io, paint, print } = tools
  const { output } = said
  checkAsked(noun, said)
  const on = `isthmus get ${noun.name} ${said.name ?? ''}`.trim()
  const moment = said.at === undefined ? undefined : momentFrom(said.at, { now: io.now(), on })
  const at = moment === undefined ? {} : { at: new Date(moment).toISOString(), saidAt: said.at ?? '' }
  const asked = { ...said, ...at }
  const to = tools.centre()
  let told = false
  const read = async () => {
    const { rows, single, none = noneOf(noun, asked), above, below = () => '' } = await readAsked(to, noun, asked)
    // Programs read standard output, so people hear of it beside that; once, while it stays so.
    if (output !== 'table' && above && !told) io.err(above(io.now()))
    told = above !== undefined
    const columns = above && noun.name === 'endpoints' ? [...noun.columns, toldBy] : noun.columns
    return (now: number) => {
      const [row] = rows
      const head = above ? `${above(now)}\n` : ''
      if (output === 'table' && single && noun.text && row) return `${head}${noun.text(row, now, paint)}${below(now)}`
      return render({ rows, single, columns, none, above: head, below: below(now) }, output, now, paint)
    }
  }
  await show(read, { ...asked, now: io.now, print })
}

const toldBy = ['TOLD BY', (row: Readonly<Record<string, unknown>>) => String(row['toldBy'] ?? '–')] as const
