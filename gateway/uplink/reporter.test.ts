import { afterEach, describe, expect, test, vi } from 'vitest'
import { openReporter, rivalTimes } from '#gateway/uplink/reporter.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { formatEpoch, parseEpoch, rivalMsMax, type SyncAnswer, type SyncRequest } from '#mesh/wire/sync.ts'

const own = 'aaaaaaaa'
const other = 'bbbbbbbb'
const laterEpoch = formatEpoch(6_000_000, other)

type Reply = (request: SyncRequest) => Partial<SyncAnswer>

/** A centre that answers each batch as the test says, after those are used up with "taken". */
function setUp(replies: Reply[], connected = true, heartbeatMs = 60_000) {
  const batches: SyncRequest[] = []
  const logged: string[] = []
  const heads: unknown[] = []
  const note = (facts: object, text: string) => void logged.push(`${text} ${JSON.stringify(facts)}`)
  const reporter = openReporter({
    call: async (_, body, schema) => {
      const request = body as SyncRequest
      if (batches.push(request) > 200) throw new Error('a loop without end')
      const answer = { appliedSeq: request.seq, minIntervalMs: 0, time: 1, ...replies.shift()?.(request) }
      return schema.parse(answer)
    },
    ...{ clusterId: 'id', now: () => 5_000_000, instance: own, heartbeatMs },
    log: { info: note, warn: note },
    pause: async () => undefined,
    connected: () => connected,
    leads: () => true,
    onHeads: (list) => heads.push(...list),
  })
  return { reporter, batches, logged, heads }
}
const items = (n: number): Map<string, Json> => new Map([['export/shop/a', { n }]])
const turn = () => new Promise(setImmediate)

test('told at once while connected; otherwise with the next round, and only what is wanted then', async () => {
  const { reporter, batches } = setUp([])
  reporter.report(items(1))
  await turn()
  expect(batches).toHaveLength(1)
  const away = setUp([], false)
  for (let n = 1; n < 50; n++) away.reporter.report(items(n))
  await turn()
  expect([away.batches.length, away.reporter.toTell()]).toEqual([0, 1])
  await away.reporter.sync()
  expect(away.batches.map((batch) => batch.items)).toEqual([[{ k: 'export/shop/a', v: { n: 49 } }]])
  expect(away.reporter.toTell()).toBe(0)
})

test('a value that changed counts as untold, not only a new key', async () => {
  const { reporter } = setUp([], false)
  reporter.report(items(1))
  await reporter.sync()
  reporter.report(items(2))
  expect(reporter.toTell()).toBe(1)
})

test('a lost answer: the very same batch again, then what changed meanwhile', async () => {
  const { reporter, batches } = setUp([
    () => {
      throw new Problem('unavailable', 'the answer broke off')
    },
  ])
  reporter.report(items(1))
  await turn()
  reporter.report(items(2))
  await turn()
  await reporter.sync()
  expect(batches[1]).toEqual(batches[0])
  expect(batches.map(({ seq, items }) => [seq, items[0]?.v])).toEqual([
    [1, { n: 1 }],
    [1, { n: 1 }],
    [2, { n: 2 }],
  ])
})

test.each([
  ['a gap', { needSeq: 7, epoch: laterEpoch }],
  ['an epoch that another replaced', { epochBehind: true, epoch: laterEpoch }],
])('%s: everything is told in an epoch after the one at the centre', async (_, extra) => {
  const { reporter, batches } = setUp([
    () => {
      throw new Problem('conflict', 'x', { extra })
    },
  ])
  reporter.report(items(1))
  await turn()
  await reporter.sync()
  expect(batches).toHaveLength(2)
  expect(batches[1]).toMatchObject({ seq: 1, complete: true, items: [{ k: 'export/shop/a' }] })
  expect((batches[1]?.epoch ?? '') > laterEpoch).toBe(true)
})

test('an epoch ahead of the centre’s clock is told as what it is', async () => {
  const { reporter, batches, logged } = setUp([
    () => {
      throw new Problem('conflict', 'x', { extra: { epochAheadMs: 700_000, needSeq: 1, epoch: '' } })
    },
  ])
  reporter.report(items(1))
  await turn()
  await reporter.sync()
  expect(batches).toHaveLength(2)
  expect(logged.filter((line) => line.includes('the clock of this machine was ahead, set it'))).toHaveLength(1)
})

test('a centre that asks for everything again and again is told ever more slowly', async () => {
  const { reporter, batches } = setUp(Array.from({ length: 50 }, (): Reply => () => ({ resync: true })))
  reporter.report(items(1))
  for (let n = 0; n < 20; n++) await reporter.sync()
  expect(batches.length).toBe(2)
})

test('an item that the centre refuses is shown with its reason until it is told well, and the rest is told', async () => {
  const { reporter, logged } = setUp([() => ({ rejected: [{ key: 'export/shop/a', reason: 'ports: too many' }] })])
  reporter.report(new Map([...items(1), ['export/shop/b', { n: 1 }]]))
  await turn()
  expect(reporter.refused()).toEqual([{ key: 'export/shop/a', reason: 'ports: too many' }])
  const told = logged.filter((line) => line.includes('not told to others'))
  expect(told).toHaveLength(1)
  // Not as `key`, which a log redacts.
  expect(told[0]).toContain('"item":"export/shop/a"')
  reporter.report(new Map([...items(2), ['export/shop/b', { n: 1 }]]))
  await turn()
  expect(reporter.refused()).toEqual([])
})

test('an item too large for any batch is left out and named; the others go on', async () => {
  const { reporter, batches } = setUp([])
  reporter.report(new Map<string, Json>([['export/shop/huge', { pad: 'x'.repeat(500_000) }], ...items(1)]))
  await turn()
  expect(batches.flatMap((batch) => batch.items.map(({ k }) => k))).toEqual(['export/shop/a'])
  expect(reporter.refused()).toEqual([{ key: 'export/shop/huge', reason: expect.stringContaining('at most 65536') }])
})

test('large items are spread over batches that each fit a body', async () => {
  const { reporter, batches } = setUp([])
  const many = Array.from({ length: 20 }, (_, n): [string, Json] => [`export/shop/s${n}`, { pad: 'ä'.repeat(30_000) }])
  reporter.report(new Map(many))
  await turn()
  await reporter.sync()
  expect(batches.flatMap((batch) => batch.items)).toHaveLength(20)
  for (const batch of batches) expect(Buffer.byteLength(JSON.stringify(batch))).toBeLessThan(512 * 1024)
  expect(batches.map((batch) => batch.complete ?? false)).toEqual([...batches.slice(1).map(() => false), true])
})

test('the heads in an answer are passed on, and a check is a heartbeat at once', async () => {
  const { reporter, batches, heads } = setUp([() => ({ heads: [['cfg/a', 'e', 3]] })])
  reporter.report(items(1))
  await turn()
  reporter.check()
  await turn()
  expect(heads).toEqual([['cfg/a', 'e', 3]])
  expect(batches.map(({ seq, items }) => [seq, items.length])).toEqual([
    [1, 1],
    [2, 0],
  ])
})

test('a batch that is refused whole is not sent again for ever: what is wanted by then is', async () => {
  const { reporter, batches } = setUp(
    [
      () => {
        throw new Problem('too-many', 'a cluster may report 30000 items at most; nothing of this batch was taken')
      },
    ],
    false,
  )
  reporter.report(new Map([...items(1), ['export/shop/b', { n: 1 }]]))
  await expect(reporter.sync()).rejects.toThrow('30000')
  reporter.report(items(2))
  await reporter.sync()
  expect(batches.at(-1)?.items).toEqual([{ k: 'export/shop/a', v: { n: 2 } }])
})

const behind = (epoch: string): Reply => {
  return () => {
    throw new Problem('conflict', 'replaced', { extra: { epochBehind: true, epoch } })
  }
}

test('a centre that takes no epoch is told ever more slowly, never in a loop', async () => {
  const { reporter, batches } = setUp(Array.from({ length: 50 }, () => behind(laterEpoch)))
  reporter.report(items(1))
  for (let n = 0; n < 20; n++) await reporter.sync()
  expect(batches.length).toBe(2)
  expect(reporter.rival()).toBeUndefined()
})

describe('another relay with the same membership', () => {
  afterEach(() => void vi.useRealTimers())
  /** Told once, then replaced by the other one as often as it tells. */
  async function replaced() {
    vi.useFakeTimers({ toFake: ['performance'] })
    const replies = [1, 2, 3].flatMap((n): Reply[] => [() => ({}), behind(formatEpoch(6_000_000 * n, other))])
    const told = setUp(replies, true, 0)
    told.reporter.report(items(1))
    await told.reporter.sync()
    await told.reporter.sync()
    return told
  }

  test('is named, and left alone for ever longer', async () => {
    const { reporter, batches, logged } = await replaced()
    expect(reporter.rival()).toEqual({ instance: other, since: 5_000_000 })
    expect(batches).toHaveLength(2)
    vi.advanceTimersByTime(rivalTimes.waitMin * 0.7)
    await reporter.sync()
    expect(batches).toHaveLength(2)
    vi.advanceTimersByTime(rivalTimes.waitMin)
    await reporter.sync()
    expect(parseEpoch(batches[2]?.epoch ?? '')).toMatchObject({ instance: own, rival: other })
    await reporter.sync()
    expect(batches).toHaveLength(4)
    vi.advanceTimersByTime(rivalTimes.waitMin * 1.4)
    await reporter.sync()
    expect(batches).toHaveLength(4)
    expect(logged.filter((line) => line.includes('another relay'))).toHaveLength(1)
  })

  test('that is gone is forgotten', async () => {
    const { reporter } = await replaced()
    vi.advanceTimersByTime(rivalMsMax)
    expect(reporter.rival()).toBeUndefined()
  })
})
