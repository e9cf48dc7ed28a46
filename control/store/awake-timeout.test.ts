import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { awakeTimeout } from '#control/store/awake-timeout.ts'

test('a process that stood still reads what came before its time is over, and its time is over all the same', async () => {
  let isOver = false
  const { promise: over, resolve } = Promise.withResolvers<void>()
  awakeTimeout(200, () => {
    isOver = true
    resolve()
  })
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)
  await turn()
  expect(isOver).toBe(false)
  await over
})

test('cancelled, also between its steps, it never comes', async () => {
  let isOver = false
  const cancel = awakeTimeout(40, () => {
    isOver = true
  })
  await new Promise((resolve) => setTimeout(resolve, 10))
  cancel()
  await new Promise((resolve) => setTimeout(resolve, 80))
  expect(isOver).toBe(false)
})
