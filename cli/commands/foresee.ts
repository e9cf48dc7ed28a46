import type { Command } from 'commander'
import { readObjects } from '#cli/apply.ts'
import { type Format, render } from '#cli/output.ts'
import { planOf } from '#cli/plan.ts'
import { planText } from '#cli/plan-text.ts'
import { rehearsalText, rehearse } from '#cli/rehearsal.ts'
import { fileOption, outputOption, type Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

type PlanOptions = { readonly file: readonly string[]; readonly delete?: boolean; readonly output: Format }

type RehearseOptions = { readonly lose: readonly string[]; readonly output: Format }

/** `plan` and `rehearse`: what a change or a loss would do, before it is done or happens. */
export function foreseeCommands(program: Command, tools: Tools): void {
  program
    .command('plan')
    .description('what policies and groups of a file would do: configs, shares of traffic, warnings')
    .helpGroup('To foresee:')
    .addOption(fileOption())
    .option('--delete', 'what it would do to delete them')
    .addOption(outputOption())
    .action(async ({ file, delete: isDelete = false, output }: PlanOptions) => {
      const { io, paint, print } = tools
      const plan = await planOf(tools.centre(), readObjects(file, { isDelete }), isDelete)
      const files = file.map((one) => `-f ${shellWord(one)}`).join(' ')
      const command = `${self} ${isDelete ? 'delete' : 'apply'} ${files} --plan ${plan.hash}`
      if (output === 'table') return print(planText(plan, { command, isDelete, paint }))
      print(render({ rows: [plan], columns: [], single: true }, output, io.now()))
    })
  program
    .command('rehearse')
    .alias('simulate')
    .description('what each service would do without some clusters, regions or gateways')
    .helpGroup('To foresee:')
    .requiredOption(
      '--lose <what...>',
      'a cluster, a region, or a gateway as <address>:<port>; cluster/…, region/… and gateway/… say which it is',
    )
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nNothing is changed. Verdicts: unchanged; moves: others answer; degraded: they would be given more than their' +
        '\ncapacity; lost: nobody would answer. Exit code 1 where calls of a service would be lost.',
    )
    .action(async ({ lose, output }: RehearseOptions) => {
      const { io, paint, print } = tools
      const seen = await rehearse(
        tools.centre(),
        lose.flatMap((words) => words.split(',').filter((one) => one !== '')),
      )
      if (seen.worst === 'lost') tools.exitWith(1)
      if (output === 'table') return print(rehearsalText(seen, paint))
      print(render({ rows: [seen], columns: [], single: true }, output, io.now()))
    })
}
