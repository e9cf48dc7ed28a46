import type { Command } from 'commander'
import { changesBetween, changesText } from '#cli/changes.ts'
import { historyColumns, readHistory, readRevision } from '#cli/history.ts'
import { type Format, harmless, render } from '#cli/output.ts'
import { outputOption, type Tools } from '#cli/tools.ts'

const objectHelp = 'a cluster, gtp/<namespace>/<name>, or group/<name>'

/** `history` and `diff`: what was decided, what came of it, and what differs between two moments. */
export function historyCommands(program: Command, tools: Tools): void {
  program
    .command('history')
    .description('what was decided and compiled, newest first, with cause and author')
    .helpGroup('To see:')
    .argument('[object]', `only of ${objectHelp}`)
    .option('-n, --limit <number>', 'as many at most', '30')
    .addOption(outputOption())
    .action(async (object: string | undefined, { output, limit }: { output: Format; limit: string }) => {
      const { rows, isWhole } = await readHistory(tools.centre(), { object, limit })
      const below = isWhole ? '' : `older ones: --limit ${2 * rows.length}\n`
      tools.print(render({ rows, single: false, columns: historyColumns, below }, output, tools.io.now(), tools.paint))
    })
  program
    .command('diff')
    .description('what differs between two revisions')
    .helpGroup('To see:')
    .argument('<name>', objectHelp)
    .argument('<from>', 'the number of the earlier revision')
    .argument('[to]', 'of the later one; the newest where absent')
    .addOption(outputOption())
    .action(async (object: string, from: string, to: string | undefined, { output }: { output: Format }) => {
      const { io, paint, print } = tools
      const centre = tools.centre()
      const now = io.now()
      const before = await readRevision(centre, object, { revision: from, now })
      const after = await readRevision(centre, object, { revision: to, now })
      const changes = changesBetween(before.parts, after.parts)
      if (output !== 'table') return print(render({ rows: changes, single: false, columns: [] }, output, now))
      const text = changes.length === 0 ? 'There is no difference.\n' : changesText(changes, paint)
      print(`${harmless(before.title)}\n${harmless(after.title)}\n\n${text}`)
    })
}
