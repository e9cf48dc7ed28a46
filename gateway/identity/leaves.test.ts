import { beforeEach, expect, test } from 'vitest'
import type { IssuedLeaf } from '#gateway/identity/issuance-log.ts'
import { type Leaves, leavesInUse } from '#gateway/identity/leaves.ts'

const hour = 3_600_000
let ms = 0
let leaves: Leaves
beforeEach(() => {
  ms = 0
  leaves = leavesInUse([], () => ms)
})

const leaf = (serial: string, root: string, more: Partial<IssuedLeaf> = {}): IssuedLeaf => ({
  ...{ at: ms, serial, keySha256: serial, holder: 'shop/a', pod: 'shop/a-0', notAfter: ms + 24 * hour },
  ...{ root, caMadeAt: 0, trustDomain: 'west.mesh1', ...more },
})
const under = (root: string, issuingBefore?: number) => ({
  ...{ root, trustDomain: 'west.mesh1' },
  ...(issuingBefore === undefined ? {} : { issuingBefore }),
})
const old = (root: string, pods = ['shop/a-0']) => leaves.old((pod) => pods.includes(pod), under(root)).old

test('a leaf under another root is old until the pod’s next one is in its hands', () => {
  leaves.issued(leaf('aa', 'one'))
  ms = hour
  expect([old('one'), old('two')]).toEqual([0, 1])
  leaves.issued(leaf('bb', 'two'))
  // The answer may have been lost on its way.
  expect(old('two')).toBe(1)
  leaves.looked('shop/a-0', 'aa')
  ms += hour
  expect(old('two')).toBe(1)
  leaves.looked('shop/a-0', 'bb')
  expect(old('two')).toBe(0)
})

test('a pod that never says what it holds has its newest leaf, a minute after it was issued', () => {
  leaves.issued(leaf('aa', 'one'))
  ms = hour
  leaves.issued(leaf('bb', 'two'))
  ms += 60_001
  expect(old('two')).toBe(0)
})

test('pods that are gone, and leaves that ended, hold up nothing', () => {
  leaves.issued(leaf('aa', 'one'))
  expect(leaves.old(() => true, under('two'))).toEqual({ old: 1, oldestNotAfter: 24 * hour })
  expect(old('two', [])).toBe(0)
  ms = 24 * hour
  expect(leaves.old(() => true, under('two'))).toEqual({ old: 0, oldestNotAfter: 0 })
})

test('who asked by certificate has no pod: each of its leaves counts until it ends', () => {
  leaves.issued(leaf('aa', 'one', { pod: '' }))
  leaves.issued(leaf('bb', 'two', { pod: '' }))
  expect(leaves.old(() => false, under('two')).old).toBe(1)
})

test('what is to be renewed: another root, another trust domain, an issuing CA of before, a leaf nobody knows', () => {
  leaves.issued(leaf('aa', 'one', { caMadeAt: 500 }))
  const is = (serial: string, current: Parameters<Leaves['isOld']>[2]) => leaves.isOld('shop/a-0', serial, current)
  expect(is('aa', under('one'))).toBe(false)
  expect(is('aa', under('two'))).toBe(true)
  expect(is('aa', { ...under('one'), trustDomain: 'west-g2.mesh1' })).toBe(true)
  expect([is('aa', under('one', 500)), is('aa', under('one', 501))]).toEqual([false, true])
  expect(is('ff', under('one'))).toBe(true)
})

test('it remembers what the log held', () => {
  leaves = leavesInUse([leaf('aa', 'one')], () => ms)
  expect(old('two')).toBe(1)
})
