import { expect, test } from 'vitest'
import { single } from '#gateway/uplink/single.ts'

/** Work that ends when the test says so. */
function stepwise() {
  const runs: { resolve: () => void; reject: (error: Error) => void }[] = []
  const work = () =>
    new Promise<void>((resolve, reject) => {
      runs.push({ resolve, reject })
    })
  return { runs, work }
}
const turn = () => new Promise(setImmediate)

test('however many calls come while it runs, it runs once more, and never twice at a time', async () => {
  const { runs, work } = stepwise()
  const one = single(work)
  const first = one.done()
  const later = [one.done(), one.done()]
  one.run()
  expect(runs).toHaveLength(1)
  runs[0]?.resolve()
  await turn()
  expect(runs).toHaveLength(2)
  runs[1]?.resolve()
  await Promise.all([first, ...later])
  await turn()
  expect(runs).toHaveLength(2)
})

test('a run that fails does not cost those their run who called meanwhile', async () => {
  const { runs, work } = stepwise()
  const one = single(work)
  one.run()
  const later = one.done()
  runs[0]?.reject(new Error('first'))
  await turn()
  runs[1]?.resolve()
  await expect(later).resolves.toBeUndefined()
})

test('who waits hears how the last run failed; who only asked does not', async () => {
  const { runs, work } = stepwise()
  const one = single(work)
  one.run()
  runs[0]?.reject(new Error('unheard'))
  await turn()
  const waited = one.done()
  runs[1]?.reject(new Error('heard'))
  await expect(waited).rejects.toThrow('heard')
})
