import { Command, CommanderError } from 'commander'
import { applyCommands } from '#cli/commands/apply.ts'
import { checkCommand } from '#cli/commands/check.ts'
import { clusterCommands } from '#cli/commands/cluster.ts'
import { completionCommands } from '#cli/commands/completion.ts'
import { contextCommands } from '#cli/commands/context.ts'
import { discoverCommands } from '#cli/commands/discover.ts'
import { drainCommands } from '#cli/commands/drain.ts'
import { explainCommand } from '#cli/commands/explain.ts'
import { foreseeCommands } from '#cli/commands/foresee.ts'
import { getCommands } from '#cli/commands/get.ts'
import { historyCommands } from '#cli/commands/history.ts'
import { injectCommand } from '#cli/commands/inject.ts'
import { keyCommands } from '#cli/commands/key.ts'
import { manifestsCommand } from '#cli/commands/onboard.ts'
import { policySourcesCommand } from '#cli/commands/policy-sources.ts'
import { sandboxCommands } from '#cli/commands/sandbox.ts'
import { statusCommand } from '#cli/commands/status.ts'
import { trustCommands } from '#cli/commands/trust.ts'
import { versionCommand } from '#cli/commands/version.ts'
import { pathOf } from '#cli/complete.ts'
import { chooseCentre, type Target } from '#cli/context.ts'
import { failureText } from '#cli/failure.ts'
import type { Io } from '#cli/io.ts'
import { coloured, plain } from '#cli/paint.ts'
import type { Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'
import { Problem } from '#mesh/model/problem.ts'
import { version } from '#mesh/model/version.ts'

/** The command line with everything it knows. `exitWith` takes the exit code of what went on after a problem. */
function openProgram(io: Io, exitWith: (code: number) => void): { program: Command; what: () => string } {
  const paint = io.colour ? coloured : plain
  let what = ''
  const program = new Command('isthmus')
    .description('Federates the service meshes of many clusters.')
    .usage('<command> [options]')
    .version(version, '-V, --version', 'the version of this command')
    .option('--context <name>', 'a context of the config file (isthmus context list)')
    .option('--url <url>', 'https URL of the centre (or ISTHMUS_URL)')
    .option('--key-file <file>', 'file with an operator’s key (or ISTHMUS_API_KEY, the key itself)')
    .option('--ca-file <file>', 'PEM of the CA of the centre’s certificate (or ISTHMUS_CA_FILE)')
    .helpOption('-h, --help', 'explains a command')
    .addHelpCommand(
      new Command('help').argument('[command]').description('explains a command').helpGroup('This command:'),
    )
    .exitOverride()
    .configureOutput({
      writeOut: io.out,
      writeErr: io.err,
      getOutHelpWidth: () => io.columns ?? 80,
      getErrHelpWidth: () => io.columns ?? 80,
      getOutHasColors: () => io.colour,
      getErrHasColors: () => false,
    })
    .configureHelp({ styleTitle: (title) => paint('head', title) })
    .addHelpText(
      'after',
      `\nExit codes: 0 done, 1 refused or failed, 2 not understood, 130 Ctrl-C.\n${self} <command> --help says more.`,
    )
    .hook('preAction', (_, action) => {
      what = [pathOf(action), ...action.args].filter((word) => word !== '').join(' ')
    })
  const target = () => program.opts<Target>()
  const tools: Tools = {
    ...{ io, paint, target, exitWith },
    print: io.out,
    centre: () => ({ ...chooseCentre(target(), io.env), send: io.send }),
    complain: (problem) => {
      exitWith(1)
      io.err(failureText(what, problem))
    },
  }
  statusCommand(program, tools)
  getCommands(program, tools)
  historyCommands(program, tools)
  explainCommand(program, tools)
  discoverCommands(program, tools)
  checkCommand(program, tools)
  clusterCommands(program, tools)
  manifestsCommand(program, tools)
  injectCommand(program, tools)
  keyCommands(program, tools)
  applyCommands(program, tools)
  drainCommands(program, tools)
  policySourcesCommand(program, tools)
  foreseeCommands(program, tools)
  trustCommands(program, tools)
  contextCommands(program, tools)
  sandboxCommands(program, tools)
  versionCommand(program, tools)
  completionCommands(program, tools)
  // Programs of their own, started by the launcher beside this file; named here for the help.
  const programs = {
    serve: 'the centre, in one process',
    relay: 'a cluster’s relay',
    proxy: 'the program beside one Envoy',
    redirect: 'sends a pod’s connections through its Envoy',
  }
  for (const [name, description] of Object.entries(programs))
    program.command(name).description(description).helpGroup('To run, each with its own --help:')
  explainUsage(program, io)
  return { program, what: () => what }
}

/** Runs the command line; gives its exit code: 0 done, 1 refused or failed, 2 not understood. */
export async function runCli(args: readonly string[], io: Io): Promise<number> {
  let code = 0
  const { program, what } = openProgram(io, (one) => {
    code = one
  })
  program.enablePositionalOptions(ofCluster(args))
  try {
    await program.parseAsync(args, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    io.err(
      error instanceof Problem
        ? failureText(what(), error)
        : `isthmus: ${what()} failed: a fault of ours: ${(error as Error).stack}\n`,
    )
    return 1
  }
}

/** These speak to a cluster, and their own `--context` says which: options that choose the centre stand before them. */
const clusterCommandsOf = /^(cluster (join|leave|unjoin)|check)\b/

function ofCluster(args: readonly string[]): boolean {
  const words = args.filter((word, at) => !word.startsWith('-') && !centreOption.test(args[at - 1] ?? ''))
  return clusterCommandsOf.test(words.join(' '))
}

const centreOption = /^--(context|url|key-file|ca-file)$/

/** What is not understood is told as every other failure is, with the help of that very command. */
function explainUsage(command: Command, io: Io): void {
  const path = pathOf(command)
  if (path !== '') command.helpCommand(false)
  command.configureOutput({
    outputError: (text) => {
      const why = text
        .replace(/^error: /, '')
        .trim()
        .replaceAll(/\s*\n\s*/g, ' ')
      const mend = `isthmus ${path && `${path} `}--help`
      const on = `isthmus ${path}`.trim()
      io.err(failureText(path, new Problem('invalid', why, { extra: { on, mend } })))
    },
  })
  for (const one of command.commands) explainUsage(one, io)
}
