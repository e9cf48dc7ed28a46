import { expect, test } from 'vitest'
import { usedKeys } from '#gateway/identity/used-keys.ts'

const minute = 60_000
let ms = 0
const keysAt = (max?: number) => usedKeys(() => new Date(ms), max)

test('a request that comes again is answered for five minutes, for the one who asked, and refused to everybody else', () => {
  ms = 0
  const keys = keysAt()
  keys.check('k', 'shop/a')
  keys.add('k', 'shop/a', 0)
  ms = 5 * minute
  expect(() => keys.check('k', 'shop/a')).not.toThrow()
  expect(() => keys.check('k', 'shop/b')).toThrow(/certified before: make a new one for each request/)
  // The time counts from the first certificate: a replay does not make a key last.
  keys.add('k', 'shop/a', ms)
  ms = 5 * minute + 1
  expect(() => keys.check('k', 'shop/a')).toThrow(/certified before/)
})

test('so many keys are remembered, the oldest is forgotten first', () => {
  ms = 60 * minute
  const keys = keysAt(2)
  for (const key of ['one', 'two', 'three']) keys.add(key, 'x/y', 0)
  expect(() => keys.check('one', 'other')).not.toThrow()
  for (const key of ['two', 'three']) expect(() => keys.check(key, 'other')).toThrow()
})
