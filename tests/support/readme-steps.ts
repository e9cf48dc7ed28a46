import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '#tests/support/parts.ts'

/** A step of the README: its bold title, and the commands of each of its code blocks, comments taken off. */
export type ReadmeStep = { readonly title: string; readonly blocks: readonly (readonly string[])[] }

/** The steps of a section, in their order. */
export function readSteps(title: 'The tour' | 'More to try'): ReadmeStep[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const section = new RegExp(`^## ${title}\\n([\\s\\S]*?)(?=^## )`, 'm').exec(readme)?.[1] ?? ''
  return section
    .split(/^(?=\*\*)/m)
    .slice(1)
    .map((text) => ({
      title: /^\*\*(.+?)\.\*\*/.exec(text)?.[1] ?? text.slice(0, 40),
      blocks: [...text.matchAll(/^```\n([\s\S]*?)^```$/gm)].map(([, block = '']) =>
        block.split('\n').flatMap((line) => {
          const command = line.replace(/\s{2,}#.*$/, '').trim()
          return command === '' ? [] : [command]
        }),
      ),
    }))
}
