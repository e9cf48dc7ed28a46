import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, linkSync, mkdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** What an image's last stage is made of. */
export type Recipe = {
  /** By name, `ARG`s with what they stand for where nobody says otherwise. */
  readonly args: Readonly<Record<string, string>>
  readonly base: string
  readonly copies: readonly Copy[]
  readonly user: string
  readonly entrypoint: readonly string[]
}
type Copy = { readonly stage: string | undefined; readonly sources: readonly string[]; readonly target: string }

/** Throws at a line of the last stage that it does not know: a tree that lacks something would pass for the image. */
export function recipeOf(dockerfile: string): Recipe {
  const lines = dockerfile
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const last = lines.findLastIndex((line) => line.startsWith('FROM '))
  const args = Object.fromEntries(lines.flatMap((line) => matched(/^ARG (\w+)=(\S+)$/, line)))
  const stage = lines.slice(last).map((line) => {
    const [word = ''] = line.split(' ')
    return { word, rest: line.slice(word.length + 1) }
  })
  const strange = stage.find(({ word }) => !['FROM', 'COPY', 'USER', 'ENTRYPOINT', 'CMD'].includes(word))
  if (strange) throw new Error(`${strange.word} is not understood here`)
  const of = (word: string): string => stage.find((one) => one.word === word)?.rest ?? ''
  return {
    args,
    base: of('FROM').replace(/^\$\{(\w+)\}$/, (_, name: string) => args[name] ?? ''),
    copies: stage.filter(({ word }) => word === 'COPY').map(({ rest }) => copyOf(rest)),
    user: of('USER'),
    entrypoint: JSON.parse(of('ENTRYPOINT')) as string[],
  }
}

const matched = (pattern: RegExp, line: string): [string, string][] => {
  const [, name, value] = pattern.exec(line) ?? []
  return name === undefined || value === undefined ? [] : [[name, value]]
}

function copyOf(text: string): Copy {
  const words = text.split(/\s+/)
  const [, stage] = /^--from=(.+)$/.exec(words[0] ?? '') ?? []
  const paths = stage === undefined ? words : words.slice(1)
  return { stage, sources: paths.slice(0, -1), target: paths.at(-1) ?? '' }
}

/**
 * Puts the tree together in `dir`: files of the clone from `root`, those of other stages as `parts` has them (by
 * `<stage>:<path>`), and for the base the libraries that the programs ask for.
 */
export function assemble(dir: string, recipe: Recipe, root: string, parts: Readonly<Record<string, string>>): void {
  for (const { stage, sources, target } of recipe.copies)
    for (const source of sources) {
      const from = stage === undefined ? join(root, source) : parts[`${stage}:${source}`]
      if (from === undefined) throw new Error(`nothing stands for ${source} of the stage ${stage}`)
      const isInto = target.endsWith('/') && !source.endsWith('/')
      place(from, join(dir, target, isInto ? basename(source) : ''))
    }
  for (const program of Object.values(parts))
    if (statSync(program).isFile()) for (const one of librariesOf(program)) place(one, join(dir, one))
  mkdirSync(join(dir, 'tmp'), { recursive: true, mode: 0o1777 })
}

function place(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  if (statSync(from).isDirectory()) {
    cpSync(from, to, { recursive: true })
    return
  }
  const file = realpathSync(from)
  try {
    linkSync(file, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') copyFileSync(file, to)
  }
}

const librariesOf = (program: string): readonly string[] =>
  execFileSync('ldd', [program], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? [])

/** Words before a command that is to run in that tree as its user; undefined where this machine lets nobody do so. */
export function chrootOf(dir: string, user: string): readonly string[] | undefined {
  const ways = [
    ['chroot', `--userspec=${user}`, dir],
    // Without root: the root of a user namespace, in which there are no other users.
    ['unshare', '-Ur', 'chroot', dir],
  ]
  return ways.find(
    ([program = '', ...words]) => spawnSync(program, [...words, '/usr/local/bin/node', '-p', '0']).status === 0,
  )
}
