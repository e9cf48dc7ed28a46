import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { cell, type Format, harmless, type Row, render } from '#cli/output.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { beginDrain, drainLine, followDrain, rehearseDrain, undoDrain } from '#cli/traffic/drain.ts'
import { type DrainKind, drainKinds } from '#mesh/model/drain.ts'

type DrainOptions = {
  readonly over: number
  readonly grace: number
  readonly force?: boolean
  readonly reason?: string
  readonly dryRun?: boolean
} & FollowOptions
type FollowOptions = { readonly follow: boolean; readonly timeout?: number; readonly output: Format }
type UndoOptions = { readonly reason?: string } & FollowOptions

const help = 'To change:'
const kind = () => new Argument('<kind>', 'what it is').choices([...drainKinds])
const subjectText = '<cluster>, <cluster>/<address>:<port>, or <cluster>/<namespace>/<service>'
const wasStopped = 'drains are undone by: isthmus undrain <kind> <subject>'

/** `drain`, `undrain`, `freeze`, `unfreeze`: an operator's hand on traffic. */
export function drainCommands(program: Command, tools: Tools): void {
  const { print } = tools
  program
    .command('drain')
    .description('leads a cluster, one of its gateways or one of its services out of traffic')
    .helpGroup(help)
    .addArgument(kind())
    .argument('<subject>', subjectText)
    .option('--over <time>', 'how long the ramp to zero takes: 60s, 5m', seconds, 60)
    .option('--grace <time>', 'how long what is open then may live on', seconds, 60)
    .option('--force', 'also where those that are left declare less than is asked of them; needs --reason')
    .option('--reason <text>', 'why; stands in the audit log')
    .option('--dry-run', 'says whether it would be refused and what its author should know, begins nothing')
    .addOption(noFollow())
    .addOption(timeout())
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nOnly what comes from other clusters moves: callers inside the drained cluster keep its own pods. It says done' +
        '\nwhen callers and gateways have measured that nothing is left. While the centre is away, shares stay as they are.' +
        `\nCtrl-C ends the telling, not the drain; ${wasStopped}`,
    )
    .action(async (said: DrainKind, subject: string, options: DrainOptions) => {
      const { over, grace, force, reason, dryRun } = options
      const to = tools.centre()
      const wish = {
        ...{ kind: said, subject, overSeconds: over, graceSeconds: grace },
        ...(force ? { force } : {}),
        ...(reason === undefined ? {} : { reason }),
      }
      if (dryRun) return rehearsed(await rehearseDrain(to, wish), options.output)
      const first = await beginDrain(to, wish)
      if (options.output === 'table') warn(first)
      const last = await told(to, first, options)
      if (options.follow && last['state'] !== 'done') tools.exitWith(1)
    })
  program
    .command('undrain')
    .description('gives a drained subject its share back')
    .helpGroup(help)
    .addArgument(kind())
    .argument('<subject>', subjectText)
    .option('--reason <text>', 'why; stands in the audit log')
    .addOption(noFollow())
    .addOption(timeout())
    .addOption(outputOption())
    .action(async (said: DrainKind, subject: string, options: UndoOptions) => {
      const { reason } = options
      const to = tools.centre()
      const first = await undoDrain(to, { kind: said, subject, ...(reason === undefined ? {} : { reason }) })
      await told(to, first, options)
    })
  program
    .command('freeze')
    .description('stops every automatic shift of traffic; drains go on')
    .helpGroup(help)
    .requiredOption('--reason <text>', 'why; everybody sees it')
    .action(async ({ reason }: { readonly reason: string }) => {
      const call = { method: 'PUT', path: '/v1/freeze', body: { reason } }
      const { by, at, reason: stands } = (await callCentre(tools.centre(), call)).body as Row
      const since = `by ${cell(by)} since ${cell(at)}`
      const line =
        stands === reason
          ? `traffic is frozen, ${since}: no verdict about health moves callers`
          : `traffic was frozen already, ${since}, and stays so: ${cell(stands)}; your reason is not kept (unfreeze first)`
      print(`${harmless(line)}\n`)
    })
  program
    .command('unfreeze')
    .description('lets health move traffic again')
    .helpGroup(help)
    .option('--reason <text>', 'why; stands in the audit log')
    .action(async ({ reason }: { readonly reason?: string }) => {
      const query = reason === undefined ? '' : `?reason=${encodeURIComponent(reason)}`
      const to = tools.centre()
      const { frozen } = (await callCentre(to, { method: 'GET', path: '/v1/freeze' })).body as Row
      await callCentre(to, { method: 'DELETE', path: `/v1/freeze${query}` })
      print(
        frozen === false
          ? 'traffic was not frozen: nothing is other than before\n'
          : 'traffic is not frozen: health moves callers again\n',
      )
    })

  function warn(row: Row): void {
    const warnings = Array.isArray(row['warnings']) ? row['warnings'] : []
    for (const warning of warnings) print(`warning: ${harmless(String(warning))}\n`)
  }

  function shown(row: Row, output: Format): void {
    print(render({ rows: [row], columns: [], single: true }, output, tools.io.now()))
  }

  function rehearsed(row: Row, output: Format): void {
    if (output !== 'table') {
      shown(row, output)
      return
    }
    const { steps, overSeconds, graceSeconds } = row
    warn(row)
    const ramp = `${(Array.isArray(steps) ? steps : []).join(', ')} % over ${cell(overSeconds)} s`
    const text = `${cell(row['kind'])} ${cell(row['subject'])} could be drained (dry run): ${ramp}, then ${cell(graceSeconds)} s for what is open`
    print(`${harmless(text)}\n`)
  }

  /** Follows a drain where that is asked for; other forms than a table show how it stands in the end. */
  async function told(to: Centre, first: Row, { follow, timeout, output }: FollowOptions): Promise<Row> {
    const line = output === 'table' ? print : () => {}
    const until = timeout === undefined ? {} : { timeoutMs: timeout * 1000 }
    const last = follow ? await followDrain(to, first, { print: line, ...until }) : first
    if (output !== 'table') shown(last, output)
    else if (!follow) print(drainLine(first))
    return last
  }
}

const noFollow = () => new Option('--no-follow', 'ends at once; how far it is: isthmus get drains')
const timeout = () =>
  new Option('--timeout <time>', 'how long it is followed; it goes on after that, and the exit code is 1').argParser(
    seconds,
  )

/** `90`, `90s`, `5m`, `1h` as seconds. */
function seconds(text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,5})(s|m|h)?$/.exec(text) ?? []
  const found = Number(digits) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h']
  if (digits === undefined || found > 86_400)
    throw new InvalidArgumentError('give seconds, or a time as 90s, 5m, 1h; a day at most')
  return found
}
