import { type Command, Option } from 'commander'
import { apply, type Outcome, readObjects, remove } from '#cli/apply.ts'
import { kinds } from '#cli/object-path.ts'
import { fileOption, type Tools } from '#cli/tools.ts'

type FileOptions = { readonly file: readonly string[]; readonly dryRun?: boolean; readonly plan?: string }

/** `apply -f` and `delete -f`: objects of files. */
export function applyCommands(program: Command, tools: Tools): void {
  const finish = ({ lines, problems }: Outcome) => {
    tools.print(lines.map((line) => `${line}\n`).join(''))
    for (const problem of problems) tools.complain(problem)
  }
  const command = (name: string, description: string) =>
    program
      .command(name)
      .description(description)
      .helpGroup('To change:')
      .addHelpText('after', `\nKinds: ${kinds}.`)
      .addOption(fileOption())
      .addOption(
        new Option('--dry-run', 'says what would change and what would be refused, changes nothing').conflicts('plan'),
      )
      .option('--plan <hash>', 'does exactly what that plan showed (isthmus plan), or nothing')
  command('apply', 'creates or changes the objects of a file').action(async ({ file, ...way }: FileOptions) => {
    const objects = readObjects(file)
    finish(await apply(tools.centre(), objects, way))
  })
  command('delete', 'deletes the objects of a file').action(async ({ file, ...way }: FileOptions) => {
    const objects = readObjects(file, { isDelete: true })
    finish(await remove(tools.centre(), objects, way))
  })
}
