import { expect, test } from 'vitest'
import { perTurn } from '#gateway/grpc/per-turn.ts'

const turn = () => new Promise(setImmediate)

test('what comes alone begins at once', async () => {
  const begun: number[] = []
  const take = perTurn(2, (one: number) => void begun.push(one))
  take(1)
  expect(begun).toEqual([1])
  await turn()
  take(2)
  expect(begun).toEqual([1, 2])
})

test('many that come together begin in their order, so many a turn, and all of them', async () => {
  const begun: number[] = []
  const take = perTurn(2, (one: number) => void begun.push(one))
  for (let n = 1; n <= 5; n++) take(n)
  const seen = [begun.length]
  for (let turns = 0; turns < 3; turns++) {
    await turn()
    seen.push(begun.length)
    // Who comes meanwhile does not go before those that wait.
    if (turns === 0) take(6)
  }
  expect(seen).toEqual([2, 4, 6, 6])
  expect(begun).toEqual([1, 2, 3, 4, 5, 6])
})
