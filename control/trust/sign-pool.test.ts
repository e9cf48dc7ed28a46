import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { signPool } from '#control/trust/sign-pool.ts'
import { Problem } from '#mesh/model/problem.ts'

test('two hundred relays at once: never more than the bound under way, all are served in their order, none twice', async () => {
  const pool = signPool({ running: 8, waiting: 256 })
  const served: number[] = []
  let now = 0
  let most = 0
  await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      pool.run(`relay-${n}`, async () => {
        most = Math.max(most, ++now)
        await turn()
        now--
        served.push(n)
      }),
    ),
  )
  expect([most, now]).toEqual([8, 0])
  expect(served).toEqual(Array.from({ length: 200 }, (_, n) => n))
})

test('past the queue it is refused with a time to come back, which grows with the queue', async () => {
  const pool = signPool({ running: 1, waiting: 100 })
  const gate = Promise.withResolvers<void>()
  const running = Array.from({ length: 101 }, (_, n) => pool.run(`relay-${n}`, () => gate.promise))
  const refused = await pool.run('late', async () => 'signed').catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(Problem)
  expect(refused).toMatchObject({ kind: 'too-many', extra: { retryAfterSeconds: 3 } })
  gate.resolve()
  await Promise.all(running)
  expect(await pool.run('late', async () => 'signed')).toBe('signed')
})

test('one relay that asks again and again waits for its own; what fails leaves its place', async () => {
  const pool = signPool({ running: 8, waiting: 8 })
  const gate = Promise.withResolvers<void>()
  const two = [1, 2].map(() => pool.run('east', () => gate.promise))
  await expect(pool.run('east', async () => undefined)).rejects.toMatchObject({ kind: 'too-many' })
  expect(await pool.run('west', async () => 'signed')).toBe('signed')
  gate.resolve()
  await Promise.all(two)
  await expect(pool.run('east', () => Promise.reject(new Error('away')))).rejects.toThrow('away')
  expect(await pool.run('east', async () => 'signed')).toBe('signed')
})
