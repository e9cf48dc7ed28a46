import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { makeRest } from '#functions/rest.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** What had ended, in order. */
function told() {
  const ends: string[] = []
  return { ends, tell: (name: string) => () => void ends.push(name) }
}

test('who may be woken is, who may not rests on', async () => {
  const rest = makeRest()
  const { ends, tell } = told()
  void rest.for(100).then(tell('firm'))
  rest.wake()
  await vi.advanceTimersByTimeAsync(99)
  expect(ends).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  void rest.for(100, 'orWoken').then(tell('light'))
  rest.wake()
  await vi.advanceTimersByTimeAsync(0)
  expect(ends).toEqual(['firm', 'light'])
})

test('once it is over nobody rests, however firmly', async () => {
  const rest = makeRest()
  const { ends, tell } = told()
  void rest.for(100).then(tell('under way'))
  rest.end()
  void rest.for(100).then(tell('to come'))
  await vi.advanceTimersByTimeAsync(0)
  expect(ends).toEqual(['under way', 'to come'])
  expect(vi.getTimerCount()).toBe(0)
})
