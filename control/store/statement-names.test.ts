import { expect, test } from 'vitest'
import { statementNames } from '#control/store/statement-names.ts'

test('a statement that comes again has a name, the same in every process, and another text has another', () => {
  const [one, other] = [statementNames(), statementNames()]
  const named = (names: typeof one, text: string) => [1, 2, 3, 4].map(() => names.of(text)).at(-1)
  expect(one.of('select 1')).toBeUndefined()
  expect(named(one, 'select 1')).toMatch(/^isthmus_[0-9a-f]{24}$/)
  expect(named(other, 'select 1')).toBe(named(one, 'select 1'))
  expect(named(one, 'select 2')).not.toBe(named(one, 'select 1'))
})

test('however many texts come, two hundred have names and keep them', () => {
  const names = statementNames()
  const given = new Map<string, string>()
  for (let round = 0; round < 5; round++)
    for (let n = 0; n < 1000; n++) {
      const name = names.of(`select ${n}`)
      if (name !== undefined) given.set(`select ${n}`, name)
    }
  expect(given.size).toBe(200)
  for (const [text, name] of given) expect(names.of(text)).toBe(name)
})

test('a flood of texts that never come again takes no memory, nor the names of those that do', () => {
  const names = statementNames()
  names.of('select 1')
  for (let n = 0; n < 2000; n++) names.of(`select ${n} + 1`)
  expect([1, 2, 3].map(() => names.of('select 1') !== undefined)).toEqual([false, false, true])
})

test('stopped, none has a name', () => {
  const names = statementNames()
  for (let n = 0; n < 5; n++) names.of('select 1')
  names.stop()
  for (let n = 0; n < 5; n++) expect(names.of('select 1')).toBeUndefined()
})

test('what is long has no name, however often it comes', () => {
  const names = statementNames()
  const text = `select ${'1, '.repeat(5000)} 1`
  for (let n = 0; n < 5; n++) expect(names.of(text)).toBeUndefined()
})
