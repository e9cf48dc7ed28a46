import { expect, test } from 'vitest'
import { cutTimes } from '#gateway/cut-times.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'

const bundle = (...cuts: number[]): TrustBundle =>
  ({ revoked: cuts.map((cut) => ({ cut })), denied: [{ id: 'x', cut: cuts[0] }] }) as unknown as TrustBundle

test('a revocation is timed from the bundle that brought it to the last proxy, and to the end of the drain', () => {
  const cuts = cutTimes(bundle(1))
  expect(cuts.waits()).toBe(false)
  cuts.took(bundle(1, 2), 1000)
  expect([cuts.waits(), cuts.list(1100)]).toEqual([true, []])
  cuts.acts(1040)
  cuts.acts(9000)
  expect(cuts.list(1100)).toEqual([{ cut: 2, receivedAt: 1000, newMs: 40, oldMs: null }])
  expect(cuts.list(21_040)).toEqual([{ cut: 2, receivedAt: 1000, newMs: 40, oldMs: 20_040 }])
})

test('the newest eight are told', () => {
  const cuts = cutTimes(undefined)
  for (let cut = 1; cut <= 10; cut++) {
    cuts.took(bundle(cut), cut)
    cuts.acts(cut)
  }
  expect(cuts.list(20).map(({ cut }) => cut)).toEqual([10, 9, 8, 7, 6, 5, 4, 3])
})
