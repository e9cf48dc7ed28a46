import { resolve } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { apply, readObjects, remove } from '#cli/apply.ts'
import { callCentre } from '#cli/call-centre.ts'
import {
  type Centre,
  chooseCentre,
  contextPath,
  loadContexts,
  namedContext,
  parseCentreUrl,
  saveContexts,
  type Target,
} from '#cli/context.ts'
import { fileFault } from '#cli/file-fault.ts'
import { problemText, self } from '#cli/fix.ts'
import { type Asked, checkAsked, noneOf, readAsked } from '#cli/get.ts'
import { nounNames, nounOf } from '#cli/nouns.ts'
import { cell, type Format, type Row, render, table } from '#cli/output.ts'
import { answersAtAll, readStatus, statusText } from '#cli/status.ts'
import { show } from '#cli/watch.ts'
import { Problem } from '#mesh/model/problem.ts'
import { version } from '#mesh/model/version.ts'

// The command `isthmus`. The environment is read here and nowhere else. Exit codes: 0 done, 1 refused or failed, 2 not
// understood.
const env = process.env
// `isthmus get … | head`: nobody reads any more, and that is no error. A full disk is one: what was asked for is not there.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0)
  process.stderr.write(`isthmus: the output cannot be written: ${fileFault(error)}. Make room, or send it elsewhere\n`)
  process.exit(1)
})
process.stderr.on('error', () => undefined)

const program = new Command('isthmus')
  .description('federates the service meshes of many clusters')
  .version(version)
  .option('--context <name>', 'context of the config file')
  .option('--url <url>', 'https URL of the centre (ISTHMUS_URL)')
  .option('--key-file <file>', 'file with an operator key (or ISTHMUS_API_KEY)')
  .option('--ca-file <file>', 'PEM of the CA of the centre’s certificate (ISTHMUS_CA_FILE)')
  .exitOverride()

type Shape = { readonly output: Format; readonly watch?: boolean }
type GetOptions = Shape & Omit<Asked, 'name'>

const output = () =>
  new Option('-o, --output <format>', 'table, json or yaml').choices(['table', 'json', 'yaml']).default('table')
const centre = (): Centre => chooseCentre(program.opts<Target>(), env)
const print = (text: string) => process.stdout.write(text)

program
  .command('get <noun> [name]')
  .description(`shows objects: ${nounNames}`)
  .addOption(output())
  .option('-w, --watch', 'goes on, and prints what changes')
  .option('--cluster <name>', 'only of this cluster')
  .option('--service <[namespace/]name>', 'only this service; a name alone: in every namespace')
  .option('--revision <number>', 'an earlier revision; for cluster-configs')
  .option('--history', 'all revisions, newest first; for cluster-configs')
  .action(async (said: string, name: string | undefined, options: GetOptions) => {
    const noun = nounOf(said)
    const asked = { ...options, name }
    checkAsked(noun, asked)
    const to = centre()
    const none = noneOf(noun, asked)
    await show(
      async () => {
        const read = await readAsked(to, noun, asked)
        return (now) => render({ ...read, columns: noun.columns, none }, options.output, now)
      },
      options,
      print,
    )
  })

program
  .command('status')
  .description('the federation at a glance; asks the relays when the centre is away')
  .addOption(output())
  .option('-w, --watch', 'goes on, and prints what changes')
  .action(async (options: Shape) => {
    const to = centre()
    await show(
      async () => {
        const status = await readStatus(to)
        if (!answersAtAll(status)) process.exitCode = 1
        const asIs = { rows: [status], columns: [], single: true }
        return (now) =>
          options.output === 'table' ? statusText(status, now, to.name) : render(asIs, options.output, now)
      },
      options,
      print,
    )
  })

const cluster = program.command('cluster').description('member clusters')
cluster
  .command('create <name>')
  .description('registers a cluster; a token then lets its relay join')
  .option('--region <region>', 'region, e.g. eu-west-1')
  .option(
    '--network <network>',
    'network; clusters of one network reach each other’s pods (default: the cluster’s name)',
  )
  .action(async (name: string, options: { region?: string; network?: string }) => {
    await callCentre(centre(), { method: 'POST', path: '/v1/clusters', body: { name, ...options } })
    print(`Cluster ${name} is registered. Next:\n  ${self} token create ${name}\n`)
  })
cluster
  .command('delete <name>')
  .description('removes a cluster from the mesh')
  .action(async (name: string) => {
    await callCentre(centre(), { method: 'DELETE', path: `/v1/clusters/${encodeURIComponent(name)}` })
    print(`Cluster ${name} is removed: its relay and its exports are refused from now on.\n`)
  })

program
  .command('token')
  .description('join tokens')
  .command('create <cluster>')
  .description('makes a single-use join token, good for one hour, and prints the next command')
  .addOption(output())
  .option('--dir <directory>', 'the directory of the cluster’s relay (default: ./<cluster>)')
  .action(async (name: string, options: { output: Format; dir?: string }) => {
    const path = `/v1/clusters/${encodeURIComponent(name)}/join-tokens`
    const made = (await callCentre(centre(), { method: 'POST', path, body: {} })).body as Row
    if (options.output !== 'table')
      return void print(render({ rows: [made], columns: [], single: true }, options.output, Date.now()))
    print(`${self} relay --dir ${options.dir ?? `./${name}`} --join ${cell(made['token'])}\n`)
  })

program
  .command('apply')
  .description('creates or changes the objects of a file')
  .requiredOption('-f, --file <file>', 'YAML or JSON; - reads standard input')
  .option('--dry-run', 'says what would be refused, changes nothing')
  .action(async (options: { file: string; dryRun?: boolean }) =>
    finish(await apply(centre(), readObjects(options.file), options.dryRun ?? false)),
  )
program
  .command('delete')
  .description('deletes the objects of a file')
  .requiredOption('-f, --file <file>', 'YAML or JSON; - reads standard input')
  .action(async (options: { file: string }) => finish(await remove(centre(), readObjects(options.file))))

const context = program.command('context').description('the centres this command knows')
context
  .command('list')
  .description('all contexts; * marks the current one')
  .action(() => {
    const { current, contexts } = loadContexts(env)
    print(
      table([
        ['', 'NAME', 'URL'],
        ...Object.entries(contexts).map(([name, { url }]) => [name === current ? '*' : '', name, url]),
      ]),
    )
  })
context
  .command('use <name>')
  .description('makes a context the current one')
  .action((name: string) => {
    const file = loadContexts(env)
    namedContext(file, name)
    saveContexts(env, { ...file, current: name })
    print(`The current context is ${name}.\n`)
  })
context
  .command('delete <name>')
  .description('forgets a context; the centre and its files stay as they are')
  .action((name: string) => {
    const { current, contexts } = loadContexts(env)
    namedContext({ contexts }, name)
    const { [name]: _, ...others } = contexts
    saveContexts(env, { ...(current === undefined || current === name ? {} : { current }), contexts: others })
    const next = `None is current now; to choose one:\n  ${self} context use <name>\n`
    print(`Context ${name} is forgotten.${current === name ? ` ${next}` : '\n'}`)
  })
context
  .command('add <name>')
  .description('adds a context from --url, --key-file and --ca-file; of one that is there, changes what is given')
  .option('--relay <cluster=url...>', 'status address of a relay, for status and for when the centre is away')
  .action((name: string, options: { relay?: readonly string[] }) => {
    const { url, keyFile, caFile } = program.opts<Target>()
    const file = loadContexts(env)
    const before = Object.hasOwn(file.contexts, name) ? file.contexts[name] : undefined
    if (!url && !before)
      throw new Problem('invalid', `--url is missing: isthmus context add ${name} --url https://<host>:<port> …`)
    const relays = { ...before?.relays, ...Object.fromEntries((options.relay ?? []).map(parseRelay)) }
    const added = {
      ...before,
      url: parseCentreUrl(url ?? before?.url),
      ...(keyFile ? { keyFile: resolve(keyFile) } : {}),
      ...(caFile ? { caFile: resolve(caFile) } : {}),
      ...(options.relay ? { relays } : {}),
    }
    const current = file.current ?? name
    saveContexts(env, { current, contexts: { ...file.contexts, [name]: added } })
    const use =
      current === name ? '' : ` The current one stays ${current}; to change that:\n  ${self} context use ${name}\n`
    print(`Context ${name} is in ${contextPath(env)}.${use || '\n'}`)
  })

// Programs of their own, started by the launcher beside this file; named here for the help.
program.command('serve').description('runs the centre in one process (isthmus serve --help)')
program.command('relay').description('runs a cluster’s relay (isthmus relay --help)')
program.command('proxy').description('runs beside one Envoy (isthmus proxy --help)')

explainUsage(program, self)
await program.parseAsync(process.argv).catch((error: unknown) => {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.exitCode = 1
    const fault =
      error instanceof Problem ? problemText(error) : `isthmus: a fault of ours: ${(error as Error).stack}\n`
    process.stderr.write(fault)
  }
})

/** What is not understood is answered in one line, and with the help of that very command. */
function explainUsage(command: Command, path: string): void {
  command.showHelpAfterError(`see: ${path} --help`)
  command.configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'isthmus: ')) })
  for (const one of command.commands) explainUsage(one, `${path} ${one.name()}`)
}

function finish({ lines, ok }: { readonly lines: readonly string[]; readonly ok: boolean }): void {
  print(lines.map((line) => `${line}\n`).join(''))
  if (!ok) process.exitCode = 1
}

function parseRelay(text: string): readonly [cluster: string, url: string] {
  const [, cluster, url] = /^([^=]+)=(http:\/\/.+)$/.exec(text) ?? []
  if (cluster && url && URL.canParse(url)) return [cluster, url]
  throw new Problem(
    'invalid',
    `--relay "${text}" is not <cluster>=http://<host>:<port>, the status address of its relay`,
  )
}
