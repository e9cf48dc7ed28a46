import type { Command } from 'commander'
import { refusal } from '#cli/failure.ts'
import { withNearName } from '#cli/near-name.ts'
import { cell, type Format, type Row, render, table } from '#cli/output.ts'
import { askSandbox, sandboxSocket } from '#cli/sandbox.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { labelFault } from '#mesh/model/id.ts'

const parts = '<cluster>, <cluster>/relay, <cluster>/gateway or centre'

/** `isthmus sandbox …`: what is done to the sandbox that runs in another terminal. */
export function sandboxCommands(program: Command, tools: Tools): void {
  const { print } = tools
  const sandbox = program
    .command('sandbox')
    .description('what is done to the running sandbox: kill, pause, restore, partition, add, call')
    .helpGroup('To change:')
  sandbox.option('--socket <path>', 'its socket, where no context names it (npm start tells it)')
  const ask = (question: object) =>
    askSandbox(sandbox.opts<{ socket?: string }>().socket ?? sandboxSocket(tools.target(), tools.io.env), question)
  const deed = (verb: string, what: string, description: string) =>
    sandbox
      .command(`${verb} ${what}`)
      .description(description)
      .action(async (target: string | undefined) => print(`${(await ask({ do: verb, what: target ?? 'all' })).said}\n`))
  deed('kill', '<what>', `kills every program of it at once: ${parts}`)
  deed('pause', '<what>', 'stops every program of it (SIGSTOP): it dies without a word, its connections stay open')
  deed('restore', '[what]', 'brings back what was killed, paused or cut off; without a name, everything')
  deed(
    'partition',
    '<what>',
    'cuts the line between a cluster’s relay and the centre, or of all; pods and gateways work on',
  )
  sandbox
    .command('add <cluster>')
    .description('joins one more cluster with a token of: isthmus token create <cluster>')
    .requiredOption('--token <token>', 'the join token')
    .option('--region <region>', 'region, e.g. ap-northeast-1 (default: by its name)')
    .action(async (cluster: string, { token, region }: { token: string; region?: string }) => {
      const fault = labelFault(cluster)
      // A token is good for one name: one more is needed for a name that is right.
      const mend = withNearName('isthmus token create', cluster)
      if (fault !== undefined)
        throw refusal({ kind: 'invalid', why: `cluster "${cluster}" ${fault}`, on: 'isthmus sandbox add', mend })
      print(`${(await ask({ do: 'add', cluster, token, region })).said}\n`)
    })
  sandbox
    .command('call <from> <host:port>')
    .description('calls as a pod would, <from> = <cluster>/<namespace>/<service account>; counts who answered')
    .option('-n, --times <number>', 'how often, 1 to 1000', '1')
    .option('--path <path>', 'path to ask for (default: that of the shop’s service)')
    .addOption(outputOption())
    .action(async (from: string, to: string, options: { times: string; path?: string; output: Format }) => {
      const question = { do: 'call', from, to, times: timesOf(options.times), path: options.path }
      const { said, calls = {} } = await ask(question)
      if (options.output === 'table') print(callsText(said, calls))
      else print(render({ rows: [calls], columns: [], single: true }, options.output, tools.io.now()))
      if (rowsOf(calls['failures']).length > 0) tools.exitWith(1)
    })
}

function timesOf(text: string): number {
  const times = Number(text)
  if (Number.isInteger(times) && times >= 1 && times <= 1000) return times
  const why = `"${text}" is not a number from 1 to 1000`
  throw refusal({ kind: 'invalid', why, on: '-n', mend: 'isthmus sandbox call --help' })
}

const rowsOf = (value: unknown): readonly Row[] => (Array.isArray(value) ? (value as Row[]) : [])

/** Who answered how often, whom each side took the other for, and what failed why. */
function callsText(said: string, calls: Row): string {
  const answers = rowsOf(calls['answers'])
  const failures = rowsOf(calls['failures'])
  const failed = failures.reduce((sum, one) => sum + Number(one['count']), 0)
  const rows = answers.map((one) =>
    [one['cluster'], one['version'], one['count'], one['callee'], one['caller']].map(cell),
  )
  const list = rows.length === 0 ? '' : table([['CLUSTER', 'VERSION', 'CALLS', 'ANSWERED AS', 'SAW CALLER'], ...rows])
  const why = failures.map((one) => `  ${cell(one['count'])} ×  ${cell(one['reason'])}\n`).join('')
  return `${said}: ${failed} failed, median ${cell(calls['medianMs'])} ms\n${list}${why}`
}
