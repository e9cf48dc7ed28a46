import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addItem, emptyRoot, removeItem, rootAfter, rootOf } from '#mesh/wire/root.ts'

const hash = fc.constantFrom('', 'aa', 'bb', 'cc')
const set = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), hash)

test('a root that moves is that of the whole set, and as if each item had been taken away and added by itself', () => {
  fc.assert(
    fc.property(set, set, (before, after) => {
      const whole = (of: Record<string, string>) => rootOf(Object.entries(of).filter(([, one]) => one !== ''))
      const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])]
      const moves = keys.map((key) => ({ key, before: before[key] ?? '', after: after[key] ?? '' }))
      const moved = rootAfter(whole(before), moves)
      expect(moved).toBe(whole(after))
      let single = whole(before)
      for (const { key, before: old, after: now } of moves) {
        if (old !== '') single = removeItem(single, key, old)
        if (now !== '') single = addItem(single, key, now)
      }
      expect(moved).toBe(single)
    }),
  )
})

test('nothing is the empty root, also after something', () => {
  expect(rootAfter(emptyRoot, [])).toBe(emptyRoot)
  const some = rootAfter(emptyRoot, [{ key: 'a', before: '', after: 'aa' }])
  expect(some).not.toBe(emptyRoot)
  expect(rootAfter(some, [{ key: 'a', before: 'aa', after: '' }])).toBe(emptyRoot)
})
