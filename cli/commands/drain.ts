import { Argument, type Command, InvalidArgumentError } from 'commander'
import { callCentre } from '#cli/call-centre.ts'
import { harmless } from '#cli/output.ts'
import type { Tools } from '#cli/tools.ts'
import { beginDrain, drainLine, followDrain, undoDrain } from '#cli/traffic/drain.ts'
import { drainKinds } from '#mesh/model/drain.ts'

type DrainOptions = {
  readonly over: number
  readonly grace: number
  readonly force?: boolean
  readonly reason?: string
  readonly follow: boolean
}
type UndoOptions = { readonly reason?: string; readonly follow: boolean }

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
    .option('--no-follow', 'ends at once; how far it is: isthmus get drains')
    .addHelpText(
      'after',
      '\nOnly what comes from other clusters moves: callers inside the drained cluster keep its own pods. It says done' +
        '\nwhen callers and gateways have measured that nothing is left. While the centre is away, shares stay as they are.' +
        `\nCtrl-C ends the telling, not the drain; ${wasStopped}`,
    )
    .action(async (said: string, subject: string, options: DrainOptions) => {
      const { over, grace, force, reason, follow } = options
      const to = tools.centre()
      const first = await beginDrain(to, {
        ...{ kind: said, subject, overSeconds: over, graceSeconds: grace },
        ...(force ? { force } : {}),
        ...(reason === undefined ? {} : { reason }),
      })
      const warnings = Array.isArray(first['warnings']) ? first['warnings'] : []
      for (const warning of warnings) print(`warning: ${harmless(String(warning))}\n`)
      if (!follow) return print(drainLine(first))
      const last = await followDrain(to, first, { print })
      if (last['state'] !== 'done') tools.exitWith(1)
    })
  program
    .command('undrain')
    .description('gives a drained subject its share back')
    .helpGroup(help)
    .addArgument(kind())
    .argument('<subject>', subjectText)
    .option('--reason <text>', 'why; stands in the audit log')
    .option('--no-follow', 'ends at once; how far it is: isthmus get drains')
    .action(async (said: string, subject: string, { reason, follow }: UndoOptions) => {
      const to = tools.centre()
      const first = await undoDrain(to, { kind: said, subject, ...(reason === undefined ? {} : { reason }) })
      if (follow) await followDrain(to, first, { print })
      else print(drainLine(first))
    })
  program
    .command('freeze')
    .description('stops every automatic shift of traffic; drains go on')
    .helpGroup(help)
    .requiredOption('--reason <text>', 'why; everybody sees it')
    .action(async ({ reason }: { readonly reason: string }) => {
      const call = { method: 'PUT', path: '/v1/freeze', body: { reason } }
      const { by, at } = (await callCentre(tools.centre(), call)).body as { by?: string; at?: string }
      print(harmless(`traffic is frozen, by ${by} since ${at}: no verdict about health moves callers`).concat('\n'))
    })
  program
    .command('unfreeze')
    .description('lets health move traffic again')
    .helpGroup(help)
    .option('--reason <text>', 'why; stands in the audit log')
    .action(async ({ reason }: { readonly reason?: string }) => {
      const query = reason === undefined ? '' : `?reason=${encodeURIComponent(reason)}`
      await callCentre(tools.centre(), { method: 'DELETE', path: `/v1/freeze${query}` })
      print('traffic is not frozen: health moves callers again\n')
    })
}

/** `90`, `90s`, `5m`, `1h` as seconds. */
function seconds(text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,5})(s|m|h)?$/.exec(text) ?? []
  const found = Number(digits) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h']
  if (digits === undefined || found > 86_400)
    throw new InvalidArgumentError('give seconds, or a time as 90s, 5m, 1h; a day at most')
  return found
}
