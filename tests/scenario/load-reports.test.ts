import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadCompiledHistory } from '#control/store/compiled.ts'
import { loadLoads } from '#control/store/loads.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { type Answer, openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
let west: TestRelay
let north: TestRelay
let seq = 0
const epoch = '0123456789abcdef'
const service = 'shop/reviews'
const row = { service, callee: 'east', issued: 70, ok: 69, errors: 1, active: 3 }

beforeAll(async () => {
  centre = await openTestCentre()
  for (const name of ['east', 'south']) {
    const relay = await new TestRelay(centre, name).join()
    const said = { 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) }
    await relay.sync({ cluster: facts(`net-${name}`), gateways, ...said }, { complete: true })
  }
  west = await new TestRelay(centre, 'west').join()
  north = await new TestRelay(centre, 'north').join()
  for (const relay of [west, north]) await relay.sync({ cluster: facts(`net-${relay.name}`) }, { complete: true })
  await centre.settle()
})
afterAll(() => centre.close())
beforeEach(() => {
  // Past what a burst leaves.
  centre.clock.now += 60_000
})

const report = (more: object = {}): Record<string, unknown> => {
  seq += 1
  return {
    ...{ epoch, seq, at: centre.clock.now, windowMs: 10_000, adv: null, cfg: null },
    ...{
      proxies: { measured: 2, notMeasured: 1 },
      routers: { measured: 1, notMeasured: 0 },
      rows: [row],
      gateways: [],
      latencies: [],
      below: [],
      health: [],
    },
    ...{ shares: [{ service, intended: [{ cluster: 'east', share: 1 }] }], acked: [], ...more },
  }
}
const put = (relay: TestRelay, body: unknown, id = relay.id): Promise<Answer> =>
  centre.call('PUT', `/v1/clusters/${id}/load`, { bearer: relay.bearer, body })
const kept = async (cluster = 'west') => {
  const all = await centre.db.read((tx) => loadLoads(tx, centre.centre.mesh))
  const known = await centre.db.read((tx) => knownLoads(centre.centre, tx))
  expect([...known.values()]).toEqual(all)
  return all.find((one) => one.cluster === cluster)?.load
}
const events = async (): Promise<Record<string, unknown>[]> => {
  const { body } = await centre.admin('GET', '/v1/audit-events?limit=500')
  const items = body['items'] as { action: string; caller: string; object: string; detail: object }[]
  return items.filter(({ action }) => action.startsWith('traffic.'))
}

describe('what a relay measured', () => {
  test('is kept, the last report of each cluster', async () => {
    expect((await put(west, report())).status).toBe(200)
    const second = await put(west, report({ rows: [{ ...row, issued: 71 }] }))
    expect(second).toMatchObject({ status: 200, body: { quotas: [], againMs: 10_000, time: centre.clock.now } })
    expect(second.body['rejected']).toBeUndefined()
    expect(await kept()).toMatchObject({
      window: { rows: [{ ...row, issued: 71 }], takenAt: centre.clock.now + 1 },
      proxies: { measured: 2, notMeasured: 1 },
      routers: { measured: 1 },
    })
    expect(await kept('north')).toBeUndefined()
  })

  test('told again changes nothing and is answered; an older one of the same relay as well', async () => {
    const first = report()
    await put(west, first)
    const again = await put(west, { ...first, rows: [] })
    expect(again.status).toBe(200)
    expect((await kept())?.window?.rows).toEqual([row])
    expect((await put(west, { ...first, seq: 1, rows: [] })).status).toBe(200)
    expect((await kept())?.window?.rows).toEqual([row])
    // A relay that starts again counts anew.
    await put(west, { ...report(), epoch: 'f'.repeat(16), seq: 1, rows: [] })
    expect((await kept())?.window?.rows).toEqual([])
  })

  test('what is told without a window leaves the one before as it was, with its time', async () => {
    await put(west, report())
    const before = await kept()
    expect(before?.window).toMatchObject({ rows: [row], windowMs: 10_000, takenAt: centre.clock.now })
    centre.clock.now += 5000
    const still = { measured: 0, notMeasured: 3 }
    await put(west, report({ windowMs: 0, rows: [], proxies: still, below: [service] }))
    expect(await kept()).toEqual({ ...before, seq, at: centre.clock.now, proxies: still, below: [service] })
    // Nothing can be counted in no time.
    const { body } = await put(west, report({ windowMs: 0 }))
    expect(body['rejected']).toMatchObject({ count: 1, first: [{ reason: expect.stringContaining('of no window') }] })
    expect((await kept())?.window).toEqual(before?.window)
    const shown = async () => {
      const { items } = (await centre.admin('GET', `/v1/traffic?service=${service}`)).body as { items: object[] }
      return items.filter((one) => (one as { caller: string }).caller === 'west')
    }
    expect(await shown()).toMatchObject([{ requestsPerSecond: 7, at: expect.any(String) }])
    centre.clock.now += 60_000
    await put(west, report({ windowMs: 0, rows: [] }))
    expect(await shown()).toMatchObject([{ requestsPerSecond: null, measured: null, active: null }])
  })

  test('a relay that has told no window yet has measured nothing, which is not none', async () => {
    await put(north, report({ windowMs: 0, rows: [] }))
    const { items } = (await centre.admin('GET', '/v1/traffic')).body as { items: { caller: string }[] }
    const none = { measured: null, requestsPerSecond: null, errorsPerSecond: null, active: null, at: null }
    expect(items.filter(({ caller }) => caller === 'north')).toMatchObject([{ intended: 1, ...none }])
  })

  test.each<[string, object, RegExp]>([
    ['a number below nothing', { issued: -1 }, /^issued: /],
    ['errors below nothing', { errors: -0.5 }, /^errors: /],
    ['half a call', { ok: 1.5 }, /^ok: /],
    ['more than anybody calls', { issued: 1e9 }, /^issued is more than 10000000 a second/],
    ['more than a number holds', { active: 1e300 }, /^active: /],
    ['no number', { active: 'many' }, /^active: /],
    ['a service of others', { service: 'shop/secret' }, /^the service is not offered to this cluster/],
    ['no name of a service', { service: '../../etc' }, /^service: /],
    ['a cluster that does not serve it', { callee: 'north' }, /^cluster north does not offer it/],
    ['a cluster that is none', { callee: 'EAST' }, /^callee: /],
  ])('%s is refused by its row, and said; the rest counts', async (_, lie, reason) => {
    const good = { ...row, callee: 'south' }
    const { status, body } = await put(west, report({ rows: [{ ...row, ...lie }, good] }))
    expect(status).toBe(200)
    const { count, first } = body['rejected'] as { count: number; first: { key: string; reason: string }[] }
    expect([count, first[0]?.reason]).toEqual([1, expect.stringMatching(reason)])
    expect((await kept())?.window?.rows).toEqual([good])
  })

  test('what is too large for any number does not void the report', async () => {
    const text = JSON.stringify(report({ rows: [{ ...row, issued: 'X' }, row] })).replace('"X"', '1e999')
    const { status, body } = await centre.call('PUT', `/v1/clusters/${west.id}/load`, {
      ...{ bearer: west.bearer, bytes: Buffer.from(text) },
    })
    // One row of two with one name is refused for its number, the other because it is the second.
    expect([status, (body['rejected'] as { count: number }).count]).toEqual([200, 2])
  })

  test('gateways of services that are not exported, shares of strangers and of more than all are refused', async () => {
    const { body } = await put(
      west,
      report({
        gateways: [{ address: '10.0.0.1:15443', service, issued: 1, active: 1 }],
        shares: [
          { service: 'shop/secret', intended: [] },
          { service, intended: [{ cluster: 'north', share: 1 }] },
          { service, intended: [...['east', 'south'].map((cluster) => ({ cluster, share: 0.9 }))] },
        ],
        below: ['shop/secret'],
      }),
    )
    expect((body['rejected'] as { count: number }).count).toBe(5)
    expect(await kept()).toMatchObject({ window: { gateways: [] }, shares: [], below: [] })
  })

  const latency = { service, p50Ms: 3.4, p90Ms: 20, p99Ms: 810.5, count: 4000 }
  test('how long calls took is shown beside what went where; of who does not tell it is not measured', async () => {
    await put(west, report({ latencies: [latency] }))
    const { items } = (await centre.admin('GET', `/v1/traffic?service=${service}`)).body as { items: object[] }
    expect(items.filter((one) => (one as { caller: string }).caller === 'west')).toMatchObject([
      { callee: 'east', p50Ms: 3.4, p90Ms: 20, p99Ms: 810.5 },
    ])
    await put(west, report())
    const later = (await centre.admin('GET', `/v1/traffic?service=${service}`)).body as { items: object[] }
    expect(later.items.filter((one) => (one as { caller: string }).caller === 'west')).toMatchObject([
      { requestsPerSecond: 7, p50Ms: null, p99Ms: null },
    ])
  })

  test.each<[string, object, RegExp]>([
    ['less than no time', { p50Ms: -1 }, /^p50Ms: /],
    ['longer than anybody waits', { p99Ms: 1e7 }, /^p99Ms: /],
    ['the faster half slower than the rest', { p50Ms: 900 }, /the smaller part took longer/],
    ['more calls than anybody makes', { count: 1e11 }, /^count is more than 10000000 a second/],
    ['calls below nothing', { count: -1 }, /^count: /],
    ['calls of a service of others', { service: 'shop/secret' }, /^the service is not offered/],
    ['no name of a service', { service: 5 }, /^service: /],
  ])('a latency of %s is refused by itself; the report counts', async (_, lie, reason) => {
    const { status, body } = await put(west, report({ latencies: [{ ...latency, ...lie }] }))
    const { count, first } = body['rejected'] as { count: number; first: { reason: string }[] }
    expect([status, count, first[0]?.reason]).toEqual([200, 1, expect.stringMatching(reason)])
    expect(await kept()).toMatchObject({ latencies: [], window: { rows: [row] } })
  })

  test('one cluster cannot speak for another, nor an operator for any', async () => {
    const before = await kept('north')
    expect((await put(west, report(), north.id)).status).toBe(403)
    expect((await centre.admin('PUT', `/v1/clusters/${west.id}/load`, report())).status).toBe(403)
    expect(await kept('north')).toEqual(before)
  })

  test('after a burst one report a second is taken', async () => {
    const answers: number[] = []
    for (let n = 0; n < 7; n++) answers.push((await put(west, report())).status)
    expect(answers).toEqual([200, 200, 200, 200, 200, 429, 429])
    centre.clock.now += 1000
    expect((await put(west, report())).status).toBe(200)
  })

  test('more rows than a report may have are refused whole', async () => {
    expect((await put(west, report({ rows: Array(2001).fill(row) }))).status).toBe(400)
  })
})

describe('moves that a relay tells', () => {
  const shift = (n: number, more: object = {}) => ({
    ...{ seq: n, at: centre.clock.now, kind: 'shift', cluster: 'east', services: [service], servicesCount: 1 },
    ...{ from: ['east'], to: ['south'], evidence: { probe: { failed: 1, of: 1, last: 'timeout', forMs: 9000 } } },
    ...{ failedMeanwhile: 3, ...more },
  })
  const shifts = (...list: object[]) => report({ shifts: { epoch: 'a'.repeat(16), list } })

  test('are events of their cluster, each once however often it is told', async () => {
    const { body } = await put(west, shifts(shift(1), shift(2, { kind: 'return', failedMeanwhile: null })))
    expect(body['shiftsTaken']).toEqual({ epoch: 'a'.repeat(16), seq: 2 })
    const again = await put(west, shifts(shift(2, { kind: 'return' }), shift(3, { kind: 'ramp-done' })))
    expect(again.body['shiftsTaken']).toEqual({ epoch: 'a'.repeat(16), seq: 3 })
    expect(await events()).toMatchObject([
      { action: 'traffic.ramp-done', caller: 'cluster:west' },
      { action: 'traffic.return' },
      { action: 'traffic.shift', object: 'cluster east', detail: { failedMeanwhile: 3, to: ['south'], evidence: {} } },
    ])
  })

  test('one that nobody here understands does not hold back the others', async () => {
    const { status, body } = await put(west, shifts(shift(4, { kind: 'teleported' }), shift(5)))
    expect([status, body['shiftsTaken'], (body['rejected'] as { count: number }).count]).toEqual([
      ...[200, { epoch: 'a'.repeat(16), seq: 5 }, 1],
    ])
  })

  test('a cluster that tells more than it can have moved is told to wait, and loses none', async () => {
    const before = (await events()).length
    let told = 100
    for (let n = 0; n < 7; n++) {
      centre.clock.now += 2000
      const list = Array.from({ length: 50 }, (_, at) => shift(told + at))
      const { body } = await put(north, report({ shifts: { epoch: 'b'.repeat(16), list } }))
      told = Math.max(told, (body['shiftsTaken'] as { seq: number }).seq + 1)
    }
    expect(told).toBe(400)
    expect(await events()).toHaveLength(before + 300)
    centre.clock.now += 3_600_001
    for (const relay of [west, north]) await relay.authenticate()
    const { body } = await put(north, report({ shifts: { epoch: 'b'.repeat(16), list: [shift(400)] } }))
    expect(body['shiftsTaken']).toMatchObject({ seq: 400 })
  })
})

describe('a config that all proxies of a cluster have', () => {
  test('is dated once, not before it was written and not in the future', async () => {
    const [head] = await history()
    expect(head?.ackedAt).toBeNull()
    const said = { hash: head?.hash, at: (head?.at ?? 0) + 700 }
    await put(west, report({ acked: [said, { hash: 'c'.repeat(64), at: 1 }] }))
    expect((await history())[0]?.ackedAt).toBe((head?.at ?? 0) + 700)
    await put(west, report({ acked: [{ ...said, at: (head?.at ?? 0) + 5000 }] }))
    expect((await history())[0]?.ackedAt).toBe((head?.at ?? 0) + 700)
    const [other] = await history('north')
    await put(north, report({ acked: [{ hash: other?.hash, at: 8.64e15 }] }))
    expect((await history('north'))[0]?.ackedAt).toBe(centre.clock.now)
  })

  test('counts for how long a change takes, those that it overtook too; where no proxy is, nothing counts', async () => {
    const path = '/v1/global-traffic-policies/shop/all'
    const written: number[] = []
    for (const attempts of [1, 2, 4]) {
      centre.clock.now += 1000
      await centre.admin('PUT', path, { services: {}, retries: { attempts } })
      await centre.settle()
      written.push(centre.clock.now)
    }
    centre.clock.now += 2000
    const [, second] = await history('west', 2)
    const acked = async (relay: TestRelay, hash: string | undefined, proxies?: object) =>
      put(relay, report({ acked: [{ hash, at: centre.clock.now }], ...(proxies ? { proxies } : {}) }))
    await acked(west, second?.hash)
    await acked(north, (await history('north'))[0]?.hash, { measured: 0, notMeasured: 0 })
    const rows = (await history('west', 3)).toReversed()
    expect(rows.map(({ at }) => at)).toEqual(written)
    expect(rows.map(({ ackedAt }) => ackedAt)).toEqual([centre.clock.now, centre.clock.now, null])
    centre.clock.now += 3000
    const text = String((await centre.admin('GET', '/metrics')).body['text'])
    const name = 'isthmus_centre_propagation_seconds'
    // The first config of all took 0.7 s; then two changes of 4 and 3 s, each until the later one was acknowledged.
    expect(text).toContain(`${name}_count{cluster="west"} 3`)
    expect(Number(new RegExp(`${name}_sum{cluster="west"} (\\S+)`).exec(text)?.[1])).toBeCloseTo(0.7 + 4 + 3)
    expect(text).toContain('isthmus_centre_config_unacknowledged_seconds{cluster="west"} 5')
    expect(text).not.toContain('isthmus_centre_config_unacknowledged_seconds{cluster="north"}')
    expect(text).toContain('isthmus_centre_propagation_objective_seconds 5')
    const shown = (await centre.admin('GET', '/v1/cluster-configs/west/revisions?limit=2')).body['items']
    expect((shown as { ackedAt: unknown }[]).map(({ ackedAt }) => typeof ackedAt)).toEqual(['object', 'string'])
    await centre.admin('DELETE', path)
    await centre.settle()
  })

  const history = (cluster = 'west', limit = 1) =>
    centre.db.read((tx) => loadCompiledHistory(tx, centre.centre.mesh, cluster, { before: undefined, limit }))
})

describe('a capacity that several clusters call', () => {
  const quotaOf = ({ body }: Answer) =>
    (body['quotas'] as { service: string; cluster: string; requestsPerSecond?: number }[]).map(
      ({ cluster, requestsPerSecond }) => [cluster, requestsPerSecond],
    )
  const calling = (perSecond: number, more: object = {}) =>
    report({
      rows: [{ ...row, issued: perSecond * 10 }],
      shares: [{ service, intended: [{ cluster: 'east', share: 0.5, wanted: 1 }] }],
      ...more,
    })

  test('is divided fairly: who wants little has it, who is not heard counts with an equal part, a liar gains nothing', async () => {
    await centre.admin('PUT', '/v1/global-traffic-policies/shop/reviews', {
      services: { names: ['reviews'] },
      tiers: [
        { targets: [{ cluster: 'east', capacity: { requestsPerSecond: 400 } }] },
        { targets: [{ cluster: 'south' }] },
      ],
    })
    await centre.settle()
    centre.clock.now += 1
    // Four clusters import it (its exporters too); three of them say nothing.
    expect(quotaOf(await put(west, calling(500)))).toEqual([['east', 100]])
    expect(quotaOf(await put(north, calling(40)))).toEqual([['east', 40]])
    expect(quotaOf(await put(west, calling(500)))).toEqual([['east', 120]])
    expect(quotaOf(await put(west, calling(9_000_000)))).toEqual([['east', 120]])
    // Not measured is not idle.
    expect(quotaOf(await put(north, calling(0, { proxies: { measured: 0, notMeasured: 4 } })))).toEqual([['east', 100]])
  })
})
