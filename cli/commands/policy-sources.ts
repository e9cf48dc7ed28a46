import type { Command } from 'commander'
import { callCentre } from '#cli/call-centre.ts'
import { age, cell, harmless, type Row } from '#cli/output.ts'
import type { Tools } from '#cli/tools.ts'

type Options = { readonly add?: string[]; readonly remove?: string[]; readonly reason?: string }

const gathered = (name: string, before: string[] = []): string[] => [...before, name]

/** `policy-sources`: whose own policies count for everybody. */
export function policySourcesCommand(program: Command, tools: Tools): void {
  program
    .command('policy-sources')
    .description('shows or names the clusters whose own policies and groups count for the whole mesh')
    .helpGroup('To change:')
    .option('--add <cluster>', 'from now on its objects count for the callers of all; repeat it for several', gathered)
    .option('--remove <cluster>', 'from now on they count for its own callers alone', gathered)
    .option('--reason <text>', 'why; stands in the audit log and the history')
    .addHelpText(
      'after',
      '\nWho may write objects in such a cluster decides where everybody’s calls go, and by its groups who may call what:' +
        '\nonly admins name one. What operators write here goes before it.',
    )
    .action(async ({ add = [], remove = [], reason }: Options) => {
      const to = tools.centre()
      const path = '/v1/policy-sources'
      const known = await callCentre(to, { method: 'GET', path })
      const before = (known.body as { clusters: string[] }).clusters
      const clusters = [...new Set([...before.filter((one) => !remove.includes(one)), ...add])]
      const isChange = add.length + remove.length > 0
      const put = { method: 'PUT', path, body: { clusters, ...(reason === undefined ? {} : { reason }) } }
      const headers = { 'if-match': `"${(known.body as { revision: number }).revision}"` }
      const now = isChange ? await callCentre(to, { ...put, headers }) : known
      tools.print(sourcesText(now.body as Row, tools.io.now()))
    })
}

function sourcesText(row: Row, now: number): string {
  const clusters = row['clusters'] as readonly string[]
  const by = row['by'] === undefined ? '' : `; by ${cell(row['by'])}, ${age(row['at'], now)} ago`
  const why = row['reason'] ? `: ${cell(row['reason'])}` : ''
  const text =
    clusters.length === 0
      ? 'no cluster: the policies of each govern its own callers alone'
      : `${clusters.join(', ')}: policies and groups there count for the whole mesh`
  return `${harmless(`${text}${by}${why}`)}\n`
}
