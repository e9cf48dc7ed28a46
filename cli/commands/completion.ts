import { fileURLToPath } from 'node:url'
import { Argument, type Command } from 'commander'
import { listAll } from '#cli/call-centre.ts'
import { type Candidate, candidatesFor, files } from '#cli/complete.ts'
import { loadContexts } from '#cli/context.ts'
import { nouns } from '#cli/nouns.ts'
import { cell } from '#cli/output.ts'
import type { Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

/** `completion bash|zsh` prints a script, which then asks the hidden command `_complete`. */
export function completionCommands(program: Command, tools: Tools): void {
  program
    .command('completion')
    .description('prints the completion script of a shell')
    .helpGroup('This command:')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .addHelpText(
      'after',
      `\nTo load it, and to have a word to complete in a clone (a function: zsh completes what an alias stands for):
  isthmus() { ${self} "$@"; }
  source <(${self} completion bash)    # zsh: autoload -U compinit; compinit; source <(${self} completion zsh)`,
    )
    .action((shell: 'bash' | 'zsh') => tools.print(scripts[shell](process.execPath, launcher)))
  program
    .command('_complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: readonly string[]) => {
      // Which centre to ask for names stands in the line that is being typed.
      for (const { long, required, attributeName } of optionsIn(program)) {
        const at = long && required ? words.indexOf(long) : -1
        if (at >= 0 && at < words.length - 2) program.setOptionValue(attributeName, words[at + 1])
      }
      const found = await candidatesFor(program, words, {
        clusters: () => clusterNames(tools),
        contexts: () => Object.keys(loadContexts(tools.io.env).contexts),
        nouns: nouns.map(({ name }) => name),
      })
      tools.print(found === files ? ':files\n' : found.map(lineOf).join(''))
    })
}

const optionsIn = (program: Command) =>
  program.options.map((one) => ({ long: one.long, required: one.required, attributeName: one.attributeName() }))

const lineOf = ({ word, hint = '' }: Candidate): string => `${word}\t${hint.replaceAll(/\s+/g, ' ')}\n`

const launcher = fileURLToPath(new URL('../isthmus.js', import.meta.url))

/** From the centre, or those whose relays the context names. */
async function clusterNames(tools: Tools): Promise<readonly string[]> {
  const centre = tools.centre()
  const known = Object.keys(centre.relays)
  return listAll(centre, '/v1/clusters').then(
    (rows) => rows.map((row) => cell(row['name'])),
    () => known,
  )
}

type Script = (node: string, launcher: string) => string

/**
 * Readline takes words apart at `=` and `:`, and wants what completes the last part: so whole words are taken from the
 * line, and what stands before the last part is cut off each candidate. Files are left to bash.
 */
const bash: Script = (node, launcher) => `# Completion of isthmus for bash.
_isthmus() {
  local typed="\${COMP_LINE:0:COMP_POINT}" current="\${COMP_WORDS[COMP_CWORD]}" before line
  local -a words=()
  read -ra words <<< "$typed"
  [[ $typed == *[[:space:]] ]] && words+=('')
  [[ $current == [=:] ]] && current=
  before="\${words[-1]%"$current"}"
  COMPREPLY=()
  while IFS=$'\\t' read -r line _; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
      return
    fi
    COMPREPLY+=("\${line#"$before"}")
  done < <(${shellWord(node)} ${shellWord(launcher)} _complete -- "\${words[@]:1}" 2>/dev/null)
}
complete -F _isthmus isthmus
`

const zsh: Script = (node, launcher) => `#compdef isthmus
# Completion of isthmus for zsh.
_isthmus() {
  local line hint
  local -a found
  while IFS=$'\\t' read -r line hint; do
    if [[ $line == :files ]]; then _files; return; fi
    found+=("\${line//:/\\\\:}\${hint:+:$hint}")
  done < <(${shellWord(node)} ${shellWord(launcher)} _complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe isthmus found
}
compdef _isthmus isthmus
`

const scripts: Readonly<Record<'bash' | 'zsh', Script>> = { bash, zsh }
