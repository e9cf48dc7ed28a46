import { expect, test } from 'vitest'
import { keepLooking, type LookAnswer, type LookQuestion } from '#gateway/proxy/look.ts'
import { Problem } from '#mesh/model/problem.ts'

const question: LookQuestion = { serial: 'aa', controlPlaneDigest: 'd', refusals: [], callTimes: [] }
const answer = (againSeconds: number): LookAnswer => ({ renewBefore: 0, againSeconds, spreadSeconds: 1 })
const refused = (grpcStatus: number) =>
  new Problem('unavailable', 'with its address', { cause: new Problem('unavailable', 'no', { extra: { grpcStatus } }) })

/** Looks as often as there are answers; gives the waits before each, in seconds, and what was told. */
async function look(
  answers: readonly (LookAnswer | Problem)[],
  asked: () => LookQuestion | undefined = () => question,
) {
  const ending = new AbortController()
  const waits: number[] = []
  const told: LookQuestion[] = []
  const left = [...answers]
  await keepLooking({
    ask: async () => {
      const next = left.shift()
      if (next instanceof Problem || !next) throw next
      return next
    },
    ...{ question: async () => asked(), told: (one) => told.push(one), heard: () => undefined, signal: ending.signal },
    clock: {
      random: () => 0.5,
      wait: async (forMs) => {
        waits.push(forMs / 1000)
        if (left.length === 0 || waits.length > 9) ending.abort()
      },
    },
    log: { debug: () => undefined },
  })
  return { waits, told: told.length }
}

test('it looks soon, then as the relay asks, within bounds', async () => {
  expect((await look([answer(20), answer(0), answer(1), answer(9999)])).waits).toEqual([5, 20, 30, 5, 600])
})

test('a relay that is away is looked at again; one that knows no such call hourly; neither was told anything', async () => {
  const away = new Problem('unavailable', 'away')
  expect(await look([away, refused(14), refused(12)])).toEqual({ waits: [5, 30, 30, 3600], told: 0 })
})

test('without a certificate there is nothing to say', async () => {
  expect((await look([answer(20)], () => undefined)).waits.every((one) => one === 5)).toBe(true)
})
