import type { Command } from 'commander'
import { callCentre, listAll } from '#cli/call-centre.ts'
import { type Format, render } from '#cli/output.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { logCheckText, logText } from '#cli/trust/log-text.ts'
import { parseIssuances, parseLogCheck } from '#cli/trust/shapes.ts'

/** `trust log`: everything that the centre has signed, and whether anybody took something out of it. */
export function logCommand(trust: Command, tools: Tools): void {
  trust
    .command('log')
    .description('everything that the centre has signed, in a chain of hashes')
    .option('--verify', 'computes the whole chain anew: fails where an entry was changed, dropped or moved')
    .option('--after <number>', 'only entries after this one')
    .addOption(outputOption())
    .action(async (options: { verify?: true; after?: string; output: Format }) => {
      const { io, paint, print } = tools
      const to = tools.centre()
      const { output } = options
      if (options.verify) {
        const check = parseLogCheck((await callCentre(to, { method: 'GET', path: '/v1/issuances/check' })).body)
        if (typeof check.brokenAt === 'number') tools.exitWith(1)
        const text = () => render({ rows: [check], columns: [], single: true }, output, io.now())
        return print(output === 'table' ? logCheckText(check, paint) : text())
      }
      const after = options.after === undefined ? '' : `?after=${encodeURIComponent(options.after)}`
      const rows = parseIssuances(await listAll(to, `/v1/issuances${after}`))
      print(output === 'table' ? logText(rows, paint) : render({ rows, columns: [], single: false }, output, io.now()))
    })
}
