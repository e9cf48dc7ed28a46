import { Argument, type Command } from 'commander'
import { refusal } from '#cli/failure.ts'
import { type Format, render } from '#cli/output.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { beginRevocation, isMeasured, revocationText, undoRevocation, untilMeasured } from '#cli/trust/revoke.ts'
import type { Revocation } from '#cli/trust/shapes.ts'

type RevokeOptions = { readonly reason: string; readonly follow: boolean; readonly output: Format }

/** Old connections are closed after 20 s of drain; a relay that is away tells nothing. */
const withinMs = 45_000

/** `trust revoke` and `trust undo`: who is shut out, in how long, and back. */
export function revokeCommands(trust: Command, tools: Tools): void {
  const { print, io } = tools
  const tell = (seen: Revocation, output: Format) =>
    print(
      output === 'table' ? revocationText(seen) : render({ rows: [seen], columns: [], single: true }, output, io.now()),
    )
  trust
    .command('revoke')
    .description('shuts somebody out everywhere, and says in how long that was')
    .addArgument(
      new Argument(
        '<kind>',
        'a cluster for good, its issuing CA (it gets a new trust domain), or one workload',
      ).choices([...['cluster', 'issuer', 'workload']]),
    )
    .argument('<subject>', 'the cluster’s name, or the workload’s SPIFFE id')
    .requiredOption('--reason <text>', 'why; stands in the audit log')
    .option('--no-follow', 'ends at once; the times are in: isthmus trust show')
    .addOption(outputOption())
    .action(async (kind: string, subject: string, { reason, follow, output }: RevokeOptions) => {
      const to = tools.centre()
      const first = await beginRevocation(to, { kind, subject, reason })
      const seen = follow ? await untilMeasured(to, first, { withinMs }) : first
      tell(seen, output)
      if (follow && !isMeasured(seen)) tools.exitWith(1)
    })
  trust
    .command('undo')
    .description('takes a revocation back where that is safe')
    .argument('<revocation>', 'its number')
    .requiredOption('--reason <text>', 'why; stands in the audit log')
    .addOption(outputOption())
    .action(async (said: string, { reason, output }: RevokeOptions) => {
      if (!/^[1-9]\d{0,8}$/.test(said))
        throw refusal({
          ...{ kind: 'invalid', why: `"${said}" is no number of a revocation`, on: 'isthmus trust undo' },
          mend: 'isthmus trust show',
        })
      tell(await undoRevocation(tools.centre(), Number(said), reason), output)
    })
}
