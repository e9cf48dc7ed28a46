import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Centre } from '#control/centre.ts'
import { openPublisher } from '#functions/publish/publisher.ts'
import { Problem } from '#mesh/model/problem.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

test('publishing that fails again and again is told with its reason, until it goes well', async () => {
  let broken = true
  const db: Centre['db'] = {
    ...centre.db,
    read: (work) =>
      broken ? Promise.reject(new Problem('unavailable', 'the database is away')) : centre.db.read(work),
  }
  const publisher = openPublisher({ ...centre.centre, db }, { retryMs: 5 })
  try {
    await expect
      .poll(() => publisher.attention(), { timeout: 10_000 })
      .toEqual([
        expect.stringMatching(/^publishing fails since 2026-03-01T12:00:00.000Z \(\d+ times\): the database is away; /),
      ])
    expect(publisher.ready()).toBe(false)
    broken = false
    await expect.poll(() => [publisher.ready(), publisher.attention()], { timeout: 10_000 }).toEqual([true, []])
  } finally {
    await publisher.stop()
  }
})
