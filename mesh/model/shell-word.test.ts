import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { shellWord } from '#mesh/model/shell-word.ts'

test('what needs no quotes has none', () => {
  expect(shellWord('/a/b-c_d.pem')).toBe('/a/b-c_d.pem')
})

test('whatever it holds, a shell reads it as one word', () => {
  const words = ['/my clones/isthmus', "it's", '', '$HOME `id` "x" \\ *', 'für-alle', '~/x; rm', '~/x']
  const line = `printf '%s\\n' ${words.map(shellWord).join(' ')}`
  expect(execFileSync('sh', ['-c', line]).toString()).toBe(words.map((one) => `${one}\n`).join(''))
})
