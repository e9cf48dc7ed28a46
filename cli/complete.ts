import type { Command, Option } from 'commander'

/** Names that only the centre or a file knows: asked for when they are to be completed. */
export type Names = {
  readonly clusters: () => Promise<readonly string[]>
  readonly contexts: () => readonly string[]
  readonly nouns: readonly string[]
}

/** One word that may stand next; `hint` is what a shell that shows more says of it. */
export type Candidate = { readonly word: string; readonly hint?: string }

/** Stands for "the names of files", which shells complete better. */
export const files = 'files'

/**
 * What may stand at the end of a command line. `words` are those after `isthmus`, the last one (perhaps empty) the one
 * that is being typed. Never throws: a name that cannot be had is no name.
 */
export async function candidatesFor(
  program: Command,
  words: readonly string[],
  names: Names,
): Promise<readonly Candidate[] | typeof files> {
  const typed = words.at(-1) ?? ''
  const [, flag, value] = /^(--[\w-]+)=(.*)$/.exec(typed) ?? []
  if (flag !== undefined && value !== undefined) {
    const values = await candidatesFor(program, [...words.slice(0, -1), flag, value], names)
    return values === files ? [] : values.map(({ word, ...more }) => ({ word: `${flag}=${word}`, ...more }))
  }
  const { command, operands, pending } = placeOf(program, words.slice(0, -1))
  const found = pending ? await valuesOf(pending, names) : await wordsAt(command, operands, typed, names)
  return found === files ? files : found.filter(({ word }) => word.startsWith(typed))
}

/** The command that the words lead to, its operands so far, and the option whose value comes next. */
function placeOf(program: Command, words: readonly string[]) {
  let command = program
  let operands: string[] = []
  let pending: Option | undefined
  for (const word of words) {
    if (pending) pending = pending.variadic ? pending : undefined
    else if (word.startsWith('-')) pending = word.includes('=') ? undefined : takingValue(command, word)
    else {
      const next = operands.length === 0 ? subcommand(command, word) : undefined
      command = next ?? command
      operands = next ? [] : [...operands, word]
    }
  }
  return { command, operands, pending }
}

const subcommand = (command: Command, word: string): Command | undefined =>
  command.commands.find((one) => one.name() === word)

/** Options of a command and of those above it: flags that say which centre may stand anywhere. */
const optionsOf = (command: Command): readonly Option[] =>
  [...command.options, ...(command.parent ? optionsOf(command.parent) : [])].filter(({ hidden }) => !hidden)

const takingValue = (command: Command, flag: string): Option | undefined =>
  optionsOf(command).find((one) => (one.long === flag || one.short === flag) && (one.required || one.optional))

async function valuesOf(option: Option, names: Names): Promise<readonly Candidate[] | typeof files> {
  if (option.argChoices) return option.argChoices.map((word) => ({ word }))
  const name = option.attributeName()
  if (/^(file|keyFile|caFile|dir|out)$/.test(name)) return files
  if (name === 'context') return names.contexts().map((word) => ({ word }))
  return name === 'cluster' ? clusters(names) : []
}

async function wordsAt(
  command: Command,
  operands: readonly string[],
  typed: string,
  names: Names,
): Promise<readonly Candidate[]> {
  if (typed.startsWith('-'))
    return [...optionsOf(command), helpOption].flatMap(({ long, description }) =>
      long ? [{ word: long, hint: description }] : [],
    )
  const visible = command.commands.filter((one) => !one.name().startsWith('_'))
  if (visible.length > 0 && operands.length === 0)
    return visible.map((one) => ({ word: one.name(), hint: one.description() }))
  return operandsAt(pathOf(command), operands, names)
}

const helpOption = { long: '--help', description: 'explains the command' }

/** The words of a command below the program: `cluster delete`. */
export const pathOf = (command: Command): string =>
  command.parent ? [pathOf(command.parent), command.name()].filter((word) => word !== '').join(' ') : ''

const clusterOperands = [
  'cluster delete',
  'token create',
  'cluster-config',
  'clusters',
  'history',
  'diff',
  'sandbox add',
]

async function operandsAt(path: string, operands: readonly string[], names: Names): Promise<readonly Candidate[]> {
  const at = operands.length
  if (path === 'get' && at === 0) return names.nouns.map((word) => ({ word }))
  const isCluster =
    path === 'get' && /^cl|^cfg$/.test(operands[0] ?? '') ? at === 1 : at === 0 && clusterOperands.includes(path)
  if (isCluster) return clusters(names)
  if (/^sandbox (kill|pause|restore|partition)$/.test(path) && at === 0) return sandboxParts(path, names)
  const isContext = /^context (use|delete|add)$/.test(path) && at === 0
  return isContext ? names.contexts().map((word) => ({ word })) : []
}

const clusters = async (names: Names): Promise<readonly Candidate[]> =>
  (await names.clusters().catch(() => [])).map((word) => ({ word }))

/** What the sandbox can break: the line to the centre has no parts, all else has. */
async function sandboxParts(path: string, names: Names): Promise<readonly Candidate[]> {
  const whole = [...(await clusters(names)), { word: 'centre' }]
  if (path === 'sandbox partition') return whole
  const parts = whole.slice(0, -1).flatMap(({ word }) => [{ word: `${word}/relay` }, { word: `${word}/gateway` }])
  return [...whole, ...parts]
}
