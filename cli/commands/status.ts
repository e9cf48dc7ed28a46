import type { Command } from 'commander'
import { render } from '#cli/output.ts'
import { answersAtAll, readStatus, statusText } from '#cli/status.ts'
import { outputOption, type Shape, type Tools, watchOption } from '#cli/tools.ts'
import { show } from '#cli/watch.ts'

/** `status`: the federation at a glance. */
export function statusCommand(program: Command, tools: Tools): void {
  program
    .command('status')
    .description('the federation at a glance, and what needs a hand')
    .helpGroup('To see:')
    .addOption(outputOption())
    .addOption(watchOption())
    .action(async (options: Shape) => {
      const { io, paint, print } = tools
      const to = tools.centre()
      // A watch prints the lines that changed: there each stays one.
      const columns = options.watch ? undefined : io.columns
      const read = async () => {
        const found = await readStatus(to)
        if (!answersAtAll(found.status)) tools.exitWith(1)
        const asIs = { rows: [found.status], columns: [], single: true }
        return (now: number) =>
          options.output === 'table'
            ? statusText(found, { now, context: to.name, paint, columns })
            : render(asIs, options.output, now)
      }
      await show(read, { ...options, now: io.now, print })
    })
}
