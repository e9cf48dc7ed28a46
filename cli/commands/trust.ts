import { Argument, type Command, Option } from 'commander'
import { callCentre } from '#cli/call-centre.ts'
import { cacertsCommand } from '#cli/commands/trust-cacerts.ts'
import { federateCommands } from '#cli/commands/trust-federate.ts'
import { logCommand } from '#cli/commands/trust-log.ts'
import { revokeCommands } from '#cli/commands/trust-revoke.ts'
import { verifyCommand } from '#cli/commands/trust-verify.ts'
import { refusal } from '#cli/failure.ts'
import { type Format, render } from '#cli/output.ts'
import { outputOption, type Shape, type Tools, watchOption } from '#cli/tools.ts'
import { beginRotation, decide, followRotation, latestRotation, planRotation, type Subject } from '#cli/trust/rotate.ts'
import { planText, rotationText } from '#cli/trust/rotation-text.ts'
import { parseTrust, type Rotation } from '#cli/trust/shapes.ts'
import { trustText } from '#cli/trust/show.ts'
import { show } from '#cli/watch.ts'

/** `trust …`: who vouches for whom, and how that changes. */
export function trustCommands(program: Command, tools: Tools): void {
  const trust = program
    .command('trust')
    .description('authorities: who vouches for whom, rotation, revocation')
    .helpGroup('To change:')
  showCommand(trust, tools)
  rotateCommands(trust, tools)
  revokeCommands(trust, tools)
  federateCommands(trust, tools)
  verifyCommand(trust, tools)
  logCommand(trust, tools)
  cacertsCommand(trust, tools)
}

function showCommand(trust: Command, tools: Tools): void {
  trust
    .command('show')
    .description('authorities with their states and ends, and who has taken the bundle')
    .addOption(outputOption())
    .addOption(watchOption())
    .action(async (options: Shape) => {
      const { io, paint, print } = tools
      const to = tools.centre()
      const read = async () => {
        const { body } = await callCentre(to, { method: 'GET', path: '/v1/trust' })
        const seen = parseTrust(body)
        return (now: number) =>
          options.output === 'table'
            ? trustText(seen, now, paint)
            : render({ rows: [seen], columns: [], single: true }, options.output, now)
      }
      await show(read, { ...options, now: io.now, print })
    })
}

type RotateOptions = {
  readonly plan?: true
  readonly status?: true
  readonly continue?: true
  readonly abort?: true
  readonly force?: true
  readonly reason?: string
  readonly where?: string
  readonly curve?: string
  readonly follow: boolean
  readonly output: Format
}

function rotateCommands(trust: Command, tools: Tools): void {
  withOptions(
    trust
      .command('rotate')
      .description('replaces an authority without a failed call, step by step')
      .addArgument(new Argument('<what>', 'whose key').choices(['root', 'control-plane', 'issuing']))
      .argument('[cluster]', 'whose issuing CA'),
  ).action((kind: string, cluster: string | undefined, options: RotateOptions) =>
    rotate(tools, subjectOf(kind, cluster), options),
  )
  withOptions(trust.command('rotate-root').description('the same as: rotate root')).action((options: RotateOptions) =>
    rotate(tools, { kind: 'root' }, options),
  )
}

const withOptions = (command: Command): Command =>
  command
    .option('--plan', 'says the steps and who would keep each waiting; changes nothing')
    .addOption(new Option('--status', 'how far it is').conflicts('plan'))
    .addOption(new Option('--continue', 'goes on with one that runs').conflicts(['plan', 'status']))
    .addOption(new Option('--abort', 'takes it back; possible until the new one is active').conflicts(exclusive))
    .addOption(
      new Option('--force', 'does not wait for those it waits for; they will refuse calls').conflicts(exclusive),
    )
    .option('--reason <text>', 'why; stands in the audit log')
    .addOption(
      new Option('--where <place>', 'the new key: file, kms:<key ARN>, or plugged (serve --root-ca)').conflicts(later),
    )
    .addOption(new Option('--curve <curve>', 'of the new key').choices(['P-256', 'P-384']).conflicts(later))
    .option('--no-follow', 'ends at once; the centre goes on by itself')
    .addOption(outputOption())

const exclusive = ['plan', 'status']
/** What is said of one that runs already. */
const later = ['status', 'continue', 'abort', 'force']

function subjectOf(kind: string, cluster: string | undefined): Subject {
  if ((kind === 'issuing') === (cluster !== undefined)) return cluster === undefined ? { kind } : { kind, cluster }
  throw refusal({
    ...{ kind: 'invalid', why: kind === 'issuing' ? 'no cluster is named' : `${kind} is of no one cluster` },
    ...{ on: `isthmus trust rotate ${kind}`, mend: 'isthmus trust rotate issuing <cluster>' },
  })
}

async function rotate(tools: Tools, subject: Subject, options: RotateOptions): Promise<void> {
  const { io, paint, print } = tools
  const asked = (['force', 'abort'] as const).find((one) => options[one])
  if (asked && !options.reason)
    throw refusal({
      ...{ kind: 'invalid', why: `--${asked} needs a reason`, on: 'the command line' },
      mend: `isthmus trust rotate ${subject.kind} --${asked} --reason <text>`,
    })
  const to = tools.centre()
  const tell = (rotation: Rotation, text: string) =>
    print(
      options.output === 'table'
        ? text
        : render({ rows: [rotation], columns: [], single: true }, options.output, io.now()),
    )
  if (options.plan) {
    const planned = await planRotation(to, subject)
    return tell(planned, planText(planned))
  }
  const { reason, where, curve } = options
  const wish = Object.fromEntries(Object.entries({ reason, where, curve }).filter(([, value]) => value !== undefined))
  if (options.status) {
    const latest = await latestRotation(to, subject)
    if (latest) return tell(latest, rotationText(latest, io.now(), paint))
    return print(options.output === 'table' ? `there was no rotation of ${subject.kind} yet\n` : 'null\n')
  }
  const begun = options.abort
    ? await decide(to, subject, { verb: 'abort', body: { reason } })
    : options.force || options.continue
      ? await decide(to, subject, { verb: 'continue', body: options.force ? { force: { reason } } : {} })
      : await beginRotation(to, subject, wish)
  if (options.abort || !options.follow || options.output !== 'table')
    return tell(begun, rotationText(begun, io.now(), paint))
  const ended = await followRotation(tools.centre, begun, { now: io.now, print })
  if (ended.state !== 'done') tools.exitWith(1)
}
