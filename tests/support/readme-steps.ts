import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '#tests/support/parts.ts'

/** A step of the README's tour: its bold title, and the commands of each of its code blocks, comments taken off. */
export type TourStep = { readonly title: string; readonly blocks: readonly (readonly string[])[] }

/** The steps of the section "The tour", in their order. */
export function readTour(readme = readFileSync(join(root, 'README.md'), 'utf8')): TourStep[] {
  const section = /^## The tour\n([\s\S]*?)(?=^## )/m.exec(readme)?.[1] ?? ''
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
