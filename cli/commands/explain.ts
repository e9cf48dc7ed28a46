import type { Command } from 'commander'
import { explainedText, failingIn, parseAsked, readExplained } from '#cli/explained.ts'
import { render } from '#cli/output.ts'
import { outputOption, type Shape, type Tools } from '#cli/tools.ts'

/** `explain`: why a call goes where it goes, or nowhere. */
export function explainCommand(program: Command, tools: Tools): void {
  program
    .command('explain')
    .alias('why')
    .description('why a call goes where it goes, or nowhere')
    .helpGroup('To see:')
    .argument('<pod>', 'who calls: <cluster>/<namespace>/<pod>')
    .argument('<host>', 'what it calls, as it does: <host>[:<port>]')
    .addOption(outputOption())
    .addHelpText(
      'after',
      `
Nothing is sent: centre and relay say what they know. A step that nobody can know is “not known”, never “ok”. A step fails
too where a policy’s first choice is not served and another cluster answers in its place. Exit code 1 when a step fails.`,
    )
    .action(async (caller: string, target: string, { output }: Shape) => {
      const { io, paint, print } = tools
      const explained = await readExplained(tools.centre(), parseAsked(caller, target))
      const first = failingIn(explained)
      if (first) tools.exitWith(1)
      if (output === 'table') return print(explainedText(explained, paint))
      const row = {
        ...explained.asked,
        first: first ?? null,
        steps: explained.steps,
        centre: explained.centre,
        relay: explained.relay,
      }
      print(render({ rows: [row], columns: [], single: true }, output, io.now()))
    })
}
