import type { Command } from 'commander'
import { changesBetween, changesText } from '#cli/changes.ts'
import { comparedIn, historyColumns, readHistory, readRevision } from '#cli/history.ts'
import { type Format, harmless, render } from '#cli/output.ts'
import { planText } from '#cli/plan-text.ts'
import { momentIn, objectsText, planRollback, rollBack } from '#cli/rollback.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

const objectHelp = 'a cluster, gtp/<namespace>/<name>, or group/<name>'

/** What was decided and what came of it, what differs between two moments, and the way back to one. */
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
    .argument('[from]', 'the number of the earlier revision; or all as history names them: virginia-1@41')
    .argument('[to]', 'of the later one; the newest where absent')
    .addOption(outputOption())
    .action(async (...[name, said, last, { output }]: DiffArguments) => {
      const { object, from, to } = comparedIn(name, said, last)
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
  program
    .command('rollback')
    .description('policies as they were once, as new revisions')
    .helpGroup('To change:')
    .argument('<name@revision>', 'see below')
    .option('--plan [hash]', 'shows what it would do; with the hash of what was shown: does exactly that, or nothing')
    .option('--reason <text>', 'why; for the history')
    .addOption(outputOption())
    .addHelpText('after', rollbackHelp)
    .action(async (said: string, { plan, reason, output }: RollbackOptions) => {
      const { io, paint, print } = tools
      const to = momentIn(said)
      const centre = tools.centre()
      const raw = (row: object) => print(render({ rows: [{ ...row }], single: true, columns: [] }, output, io.now()))
      if (plan === true) {
        const shown = await planRollback(centre, to)
        if (output !== 'table') return raw(shown)
        const then = `${self} rollback ${shellWord(said)} --plan ${shown.hash}`
        return print(
          shown.steps.length === 0 ? allAsThen : `${objectsText(shown)}${planText(shown, { command: then, paint })}`,
        )
      }
      const done = await rollBack(centre, to, { reason, plan })
      if (output !== 'table') return raw(done)
      const lines = [...done.objects, ...done.warnings.map((text) => `warning: ${text}`)]
      print(done.objects.length === 0 ? allAsThen : lines.map((line) => `${harmless(line)}\n`).join(''))
    })
}

type DiffArguments = readonly [string, string | undefined, string | undefined, { readonly output: Format }]

type RollbackOptions = { readonly plan?: string | true; readonly reason?: string; readonly output: Format }

const allAsThen = 'Everything stands as it did then: nothing to do.\n'

const rollbackHelp = `
<cluster>@<revision>           all policies and groups, as they were when that
                               config was compiled (isthmus history <cluster>)
gtp/<ns>/<name>@<revision>     that policy alone
group/<name>@<revision>        that group alone

Configs are compiled anew of the fleet as it is: members, exports and trust stay
what they are now.`
