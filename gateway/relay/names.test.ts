import { expect, test } from 'vitest'
import { changeable, share } from '#gateway/relay/names.ts'

const some = (count: number, prefix = 'n'): Set<string> =>
  new Set(Array.from({ length: count }, (_, n) => `${prefix}${n}`))

test('equal sets become one, others stay apart', () => {
  const first = share(some(40))
  expect(share(some(40))).toBe(first)
  expect(share(some(41))).not.toBe(first)
  const other = new Set([...some(39), 'x'])
  expect(share(other)).toBe(other)
  expect(share(some(3))).not.toBe(share(some(3)))
})

test('a shared set is changed by nobody', () => {
  const mine = share(some(50, 'm'))
  const changed = changeable(mine).add('one more')
  expect(mine.has('one more')).toBe(false)
  expect(changeable(changed)).toBe(changed)
  expect(share(some(50, 'm'))).toBe(mine)
})
