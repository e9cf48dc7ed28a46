import { expect, test } from 'vitest'
import { together } from '#control/together.ts'

/** Runs that end when they are told to, in the order they began. */
function runs() {
  const begun: PromiseWithResolvers<number>[] = []
  const ask = together(() => {
    const run = Promise.withResolvers<number>()
    begun.push(run)
    return run.promise
  })
  return { begun, ask }
}

test('who asks while a run is under way gets the next one, and all of them the same', async () => {
  const { begun, ask } = runs()
  const first = ask()
  const later = [ask(), ask(), ask()]
  expect(begun).toHaveLength(1)
  begun[0]?.resolve(1)
  expect(await first).toBe(1)
  await expect.poll(() => begun.length).toBe(2)
  begun[1]?.resolve(2)
  expect(await Promise.all(later)).toEqual([2, 2, 2])
  expect(begun).toHaveLength(2)
})

test('a run that fails fails for those alone who asked for it', async () => {
  const { begun, ask } = runs()
  const first = ask()
  const later = ask()
  begun[0]?.reject(new Error('away'))
  await expect(first).rejects.toThrow('away')
  await expect.poll(() => begun.length).toBe(2)
  begun[1]?.resolve(2)
  expect(await later).toBe(2)
})

test('a run that has ended serves nobody who asks after it', async () => {
  const { begun, ask } = runs()
  const first = ask()
  begun[0]?.resolve(1)
  await first
  await Promise.resolve()
  const second = ask()
  await expect.poll(() => begun.length).toBe(2)
  begun[1]?.resolve(2)
  expect(await second).toBe(2)
})

test('neither does one that others waited for, while it runs or after it', async () => {
  const { begun, ask } = runs()
  const asked = [ask(), ask()]
  begun[0]?.resolve(1)
  await expect.poll(() => begun.length).toBe(2)
  asked.push(ask())
  begun[1]?.resolve(2)
  await expect.poll(() => begun.length).toBe(3)
  begun[2]?.resolve(3)
  expect(await Promise.all(asked)).toEqual([1, 2, 3])
  const last = ask()
  await expect.poll(() => begun.length).toBe(4)
  begun[3]?.resolve(4)
  expect(await last).toBe(4)
})
