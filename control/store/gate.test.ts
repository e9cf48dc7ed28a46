import { expect, test } from 'vitest'
import { openGate } from '#control/store/gate.ts'

test('as many as there are permits go in, the rest in the order they came', async () => {
  const gate = openGate(2, 10)
  const order: number[] = []
  const leaves: (() => void)[] = []
  const enter = async (n: number) => {
    leaves.push(await gate.enter())
    order.push(n)
  }
  const all = [1, 2, 3, 4].map(enter)
  await Promise.all(all.slice(0, 2))
  expect(order).toEqual([1, 2])
  leaves[0]?.()
  leaves[0]?.()
  await all[2]
  expect(order).toEqual([1, 2, 3])
  leaves[1]?.()
  await all[3]
  expect(order).toEqual([1, 2, 3, 4])
})

test('who would make the queue longer than it may be is turned away, and the gate still works', async () => {
  const gate = openGate(1, 1)
  const leave = await gate.enter()
  const waiting = gate.enter()
  await expect(gate.enter()).rejects.toMatchObject({ kind: 'unavailable' })
  leave()
  ;(await waiting)()
  ;(await gate.enter())()
})
