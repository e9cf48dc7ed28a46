import type { Command } from 'commander'
import { readObjects } from '#cli/apply.ts'
import { type Format, render } from '#cli/output.ts'
import { planOf } from '#cli/plan.ts'
import { planText } from '#cli/plan-text.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

type PlanOptions = { readonly file: string; readonly delete?: boolean; readonly output: Format }

/** `plan`: what a change would do, before it is done. */
export function foreseeCommands(program: Command, tools: Tools): void {
  program
    .command('plan')
    .description('what policies and groups of a file would do: configs, shares of traffic, warnings')
    .helpGroup('To foresee:')
    .requiredOption('-f, --file <file>', 'YAML or JSON, any number of objects; - reads standard input')
    .option('--delete', 'what it would do to delete them')
    .addOption(outputOption())
    .action(async ({ file, delete: isDelete = false, output }: PlanOptions) => {
      const { io, paint, print } = tools
      const plan = await planOf(tools.centre(), readObjects(file, { isDelete }), isDelete)
      const then = `${self} ${isDelete ? 'delete' : 'apply'} -f ${shellWord(file)} --plan ${plan.hash}`
      if (output === 'table') return print(planText(plan, then, paint))
      print(render({ rows: [plan], columns: [], single: true }, output, io.now()))
    })
}
