import { beforeEach, expect, test } from 'vitest'
import { hintTimes, openHintLine } from '#gateway/uplink/hint-line.ts'
import type { HintEvents } from '#gateway/uplink/hints.ts'

const minute = 60_000
let now = 0
let logged: string[] = []
beforeEach(() => {
  now = 1_000_000
  logged = []
})

/** Connections as they are asked for; the test opens and ends them. */
function setUp(tokenMinutes = 60) {
  const opened: { token: string; events: HintEvents; closed: boolean }[] = []
  const forgotten: string[] = []
  let tokens = 0
  let gaps = 0
  const line = openHintLine({
    token: async () => ({ token: `t${++tokens}`, expiresAt: now + tokenMinutes * minute }),
    open: (token, events) => {
      const connection = { token, events, closed: false }
      opened.push(connection)
      return {
        close: () => {
          connection.closed = true
        },
      }
    },
    forget: (token) => forgotten.push(token),
    onHint: () => undefined,
    onGap: () => {
      gaps++
    },
    now: () => now,
    log: { info: (_, text) => logged.push(text), warn: (_, text) => logged.push(text) },
  })
  const keep = async () => {
    line.keep()
    await new Promise(setImmediate)
  }
  return { line, opened, forgotten, keep, gaps: () => gaps }
}

test('one connection, however often it is kept', async () => {
  const { line, opened, keep } = setUp()
  await keep()
  await keep()
  opened[0]?.events.onOpen()
  await keep()
  expect([opened.length, line.isOpen()]).toEqual([1, true])
})

test('make before break: the old one closes when the new one is open, and what came between is asked for', async () => {
  const { opened, keep, gaps } = setUp()
  await keep()
  opened[0]?.events.onOpen()
  now += hintTimes.life * 0.89
  await keep()
  expect(opened).toHaveLength(1)
  now += hintTimes.life * 0.22
  await keep()
  await keep()
  expect([opened.length, opened[0]?.closed, gaps()]).toEqual([2, false, 0])
  opened[1]?.events.onOpen()
  expect([opened[0]?.closed, opened[1]?.closed, gaps()]).toEqual([true, false, 1])
})

test('a token that ends earlier is replaced before it does', async () => {
  const { opened, keep } = setUp(20)
  await keep()
  opened[0]?.events.onOpen()
  now += 14 * minute
  await keep()
  expect(opened).toHaveLength(1)
  now += 1.1 * minute
  await keep()
  expect(opened.map(({ token }) => token)).toEqual(['t1', 't2'])
})

test('the next one fails: the old one stays', async () => {
  const { line, opened, keep } = setUp()
  await keep()
  opened[0]?.events.onOpen()
  now += hintTimes.life * 1.2
  await keep()
  opened[1]?.events.onClose({ reason: 'refused', refused: false })
  expect([line.isOpen(), opened[0]?.closed]).toEqual([true, false])
})

test('failures are spaced out, and said once', async () => {
  const { opened, keep } = setUp()
  for (let second = 0; second < 600; second++) {
    await keep()
    const last = opened.at(-1)
    last?.events.onClose({ reason: 'nothing listens', refused: false })
    now += 1000
  }
  expect(opened.length).toBeGreaterThan(20)
  expect(opened.length).toBeLessThan(60)
  expect(logged).toEqual(['no hints come; changes are found by asking'])
  now += hintTimes.retryMax
  await keep()
  opened.at(-1)?.events.onOpen()
  expect(logged.at(-1)).toBe('hints come again')
})

test('a refused token is forgotten, so that the next connection shows another', async () => {
  const { opened, forgotten, keep } = setUp()
  await keep()
  opened[0]?.events.onClose({ reason: 'Unexpected server response: 401', refused: true })
  now += hintTimes.retryMin
  await keep()
  expect([forgotten, opened[1]?.token]).toEqual([['t1'], 't2'])
})

test('dropped while it is opened: nothing of it counts later, and the next is at once', async () => {
  const { line, opened, keep } = setUp()
  line.keep()
  line.drop()
  await new Promise(setImmediate)
  expect(opened).toHaveLength(0)
  await keep()
  line.drop()
  expect(opened[0]?.closed).toBe(true)
  opened[0]?.events.onOpen()
  expect(line.isOpen()).toBe(false)
  await keep()
  expect(opened).toHaveLength(2)
})

test('stopped: nothing is opened any more', async () => {
  const { line, opened, keep } = setUp()
  await keep()
  line.stop()
  await keep()
  expect([opened.length, opened[0]?.closed]).toEqual([1, true])
})
