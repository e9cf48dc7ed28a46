import { parseArgs } from 'node:util'
import { settings } from './plan.ts'

const usage = `usage: npm start [-- <options>]

Three clusters on this machine, and a shop whose requests cross them. Stays in the foreground.

  --fresh  begin with an empty fleet (otherwise the last one is resumed)
  --smoke  bring up a fleet of its own, kill and restore parts of it, check, tear down; the last line is JSON
  --help   this

Keys, in the terminal where it runs:
  1 2 3    kill virginia-1, virginia-2 or ireland-1; again: bring it back (further numbers: clusters that joined)
  c        the same with the centre
  j        join a fourth cluster, tokyo-1
  q        end, as does Ctrl-C
In a second terminal: npx --no -- isthmus sandbox --help

Environment:
${rows(settings)}
  XDG_CONFIG_HOME              where the context for the command line is written (~/.config)
--smoke uses the directory <directory>-smoke (.isthmus/smoke) and addresses ten further.

Exit codes: 0 ended by the user, or the smoke test went well; 1 something did not start, or the test failed; 2 an option
that is not known; 130 stopped on the way up.
`

/** The options, or the exit code where there is nothing to start. */
export function parseOptions(args: string[]): { readonly fresh: boolean; readonly smoke: boolean } | number {
  try {
    const { values } = parseArgs({
      args,
      options: {
        fresh: { type: 'boolean' },
        smoke: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (!values.help) return { fresh: values.fresh ?? false, smoke: values.smoke ?? false }
    process.stdout.write(usage)
    return 0
  } catch (error) {
    const [reason = ''] = (error as Error).message.split(/\. |\n/)
    process.stderr.write(`✘ ${reason}: known are --fresh, --smoke and --help (npm start -- --help)\n`)
    return 2
  }
}

/** The variables of the plan, one a line. */
function rows(of: typeof settings): string {
  return Object.values(of)
    .map(({ variable, standard, what }) => `  ${variable.padEnd(28)} ${what} (${standard})`)
    .join('\n')
}
