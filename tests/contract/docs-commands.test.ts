import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { runCli } from '#cli/run.ts'
import { root } from '#tests/support/parts.ts'

// Every command that the documents print is one that the command line knows, with all of its options; and the policy that
// they explain is the one that they apply. What the commands then do is for the suites of the sandbox.

const files = [
  'README.md',
  ...readdirSync(join(root, 'docs')).flatMap((one) => (/\.md$/.test(one) ? [`docs/${one}`] : [])),
]
const textOf = (file: string): string => readFileSync(join(root, file), 'utf8')

/** Programs of their own, with a help of their own. */
const programs = new Set(['serve', 'relay', 'proxy', 'redirect'])

/** The words of each command in a document's blocks: `[…]` is what may be left out, `\` goes on in the next line. */
const commandsIn = (text: string): string[][] =>
  [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)]
    .flatMap(([, block = '']) => block.replaceAll(/\\\n\s*/g, '').split('\n'))
    .flatMap((line) => /^(?:npx --no -- )?isthmus (.+)$/.exec(line)?.[1] ?? [])
    .map((line) =>
      line
        .replaceAll(/"[^"]*"|'[^']*'/g, 'text')
        .replaceAll(/[[\]]/g, '')
        .trim()
        .split(/\s+/),
    )
    .filter(([first = '']) => !programs.has(first))

async function helpOf(words: readonly string[]): Promise<string> {
  let text = ''
  const out = (more: string) => {
    text += more
  }
  const send = () => Promise.reject(new Error('help asks nobody'))
  await runCli([...words, '--help'], { env: {}, out, err: out, now: () => 0, colour: false, send })
  return text
}

const documents = files.map((file) => ({ file, commands: commandsIn(textOf(file)) })).filter((one) => one.commands[0])

test.each(documents)('every command of $file is known, with its options', async ({ commands }) => {
  const unknown: string[] = []
  for (const words of commands) {
    const help = await helpOf(words.filter((word) => !word.startsWith('-')))
    const line = words.join(' ')
    if (!new RegExp(`^Usage: isthmus ${words[0]}[| ]`).test(help)) unknown.push(`${line}: ${help.slice(0, 80)}`)
    for (const option of words.filter((word) => /^--?[a-z]/.test(word)))
      if (!new RegExp(`(^|\\s)${option}\\b`, 'm').test(help)) unknown.push(`${line}: no ${option}`)
  }
  expect(unknown).toEqual([])
})

test('the policy that docs/traffic.md explains is the one of docs/examples', () => {
  const [, shown = ''] = /^```yaml\n([\s\S]*?)^```$/m.exec(textOf('docs/traffic.md')) ?? []
  expect(parse(shown)).toEqual(parse(textOf('docs/examples/reviews-policy.yaml')))
})
