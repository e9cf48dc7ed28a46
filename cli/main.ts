import { Command, CommanderError, Option } from 'commander'
import { apply, readObjects, remove } from '#cli/apply.ts'
import { callCentre, listAll } from '#cli/call-centre.ts'
import { type Centre, chooseCentre, contextPath, loadContexts, saveContexts, type Target } from '#cli/context.ts'
import { nounOf, nouns } from '#cli/nouns.ts'
import { cell, type Format, type Row, render, table } from '#cli/output.ts'
import { readStatus, statusText } from '#cli/status.ts'
import { Problem } from '#mesh/model/problem.ts'

// The command `isthmus`. The environment is read here and nowhere else.
const env = process.env
const program = new Command('isthmus')
  .description('federates the service meshes of many clusters')
  .option('--context <name>', 'context of the config file')
  .option('--url <url>', 'https URL of the centre (ISTHMUS_URL)')
  .option('--key-file <file>', 'file with an operator key (or ISTHMUS_API_KEY)')
  .option('--ca-file <file>', 'PEM of the CA of the centre’s certificate (ISTHMUS_CA_FILE)')
  .showHelpAfterError('(isthmus --help shows all commands)')
  .exitOverride()

const output = () =>
  new Option('-o, --output <format>', 'table, json or yaml').choices(['table', 'json', 'yaml']).default('table')
const centre = (): Centre => chooseCentre(program.opts<Target>(), env)
const print = (text: string) => process.stdout.write(text)

program
  .command('get <noun> [name]')
  .description(`shows objects: ${nouns.map(({ name }) => name).join(', ')}`)
  .addOption(output())
  .option('-w, --watch', 'shows them again whenever they change')
  .action(async (said: string, name: string | undefined, options: { output: Format; watch?: boolean }) => {
    const noun = nounOf(said)
    const read = async (): Promise<readonly Row[]> =>
      name === undefined
        ? await listAll(centre(), noun.path)
        : [(await callCentre(centre(), { method: 'GET', path: `${noun.path}/${name}` })).body as Row]
    await shown(options.watch ?? false, async () =>
      render(await read(), noun.columns, options.output, name !== undefined),
    )
  })

program
  .command('status')
  .description('the federation at a glance; asks the relays when the centre is away')
  .addOption(output())
  .option('-w, --watch', 'shows it again whenever it changes')
  .action(async (options: { output: Format; watch?: boolean }) => {
    await shown(options.watch ?? false, async () => {
      const status = await readStatus(centre())
      return options.output === 'table' ? statusText(status, Date.now()) : render([status], [], options.output, true)
    })
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
    print(`Cluster ${name} is registered. Next:\n  isthmus token create ${name}\n`)
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
  .action(async (name: string, options: { output: Format }) => {
    const path = `/v1/clusters/${encodeURIComponent(name)}/join-tokens`
    const made = (await callCentre(centre(), { method: 'POST', path, body: {} })).body as Row
    if (options.output !== 'table') return void print(render([made], [], options.output, true))
    print(`isthmus relay --dir <directory of ${name}> --join ${cell(made['token'])}\n`)
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
    if (!file.contexts[name]) throw new Problem('not-found', `there is no context "${name}"; see: isthmus context list`)
    saveContexts(env, { ...file, current: name })
    print(`The current context is ${name}.\n`)
  })
context
  .command('add <name>')
  .description('adds a context from --url, --key-file and --ca-file')
  .action((name: string) => {
    const { url, keyFile, caFile } = program.opts<Target>()
    if (!url) throw new Problem('invalid', 'isthmus --url https://… context add <name>: --url is missing')
    const file = loadContexts(env)
    const added = { url, ...(keyFile ? { keyFile } : {}), ...(caFile ? { caFile } : {}) }
    saveContexts(env, { current: file.current ?? name, contexts: { ...file.contexts, [name]: added } })
    print(`Context ${name} is in ${contextPath(env)}.\n`)
  })

// Programs of their own, started by the launcher beside this file; named here for the help.
program.command('serve').description('runs the centre in one process (isthmus serve --help)')
program.command('relay').description('runs a cluster’s relay (isthmus relay --help)')
program.command('proxy').description('runs beside one Envoy (isthmus proxy --help)')

await program.parseAsync(process.argv).catch((error: unknown) => {
  process.exitCode = 1
  if (error instanceof CommanderError) process.exitCode = error.exitCode
  else if (error instanceof Problem)
    process.stderr.write(
      `isthmus: ${error.message}\n${error.violations.map((v) => `  ${v.path}: ${v.reason}\n`).join('')}`,
    )
  else process.stderr.write(`isthmus: ${(error as Error).stack}\n`)
})

function finish({ lines, ok }: { readonly lines: readonly string[]; readonly ok: boolean }): void {
  print(lines.map((line) => `${line}\n`).join(''))
  if (!ok) process.exitCode = 1
}

/** Prints once, or with `watch` again each second that gives another text. */
async function shown(watch: boolean, read: () => Promise<string>): Promise<void> {
  let before = await read()
  print(before)
  while (watch) {
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const now = await read().catch((error: Error) => `${error.message}\n`)
    if (now !== before) print(`\n${now}`)
    before = now
  }
}
