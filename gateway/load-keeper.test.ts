import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type LoadKeeper, openLoadKeeper } from '#gateway/load-keeper.ts'
import { openPauses, type Pauses } from '#gateway/pauses.ts'
import type { Cap } from '#gateway/traffic-keeper.ts'
import { parseClusterName, serviceKey } from '#mesh/model/id.ts'
import type { Load, LoadReport, Quota } from '#mesh/model/load.ts'
import { Problem } from '#mesh/model/problem.ts'
import { noAdvice, type Shift } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { caseOf } from '#mesh/translate/testdata/case.ts'
import type { LoadAnswer } from '#mesh/wire/load.ts'
import { eventually } from '#tests/support/until.ts'

const [b, c] = ['b', 'c'].map(parseClusterName) as [
  ReturnType<typeof parseClusterName>,
  ReturnType<typeof parseClusterName>,
]
const reviews = serviceKey('shop', 'reviews')
const outbound = 'outbound|80||reviews.shop.svc.cluster.local'
const caller = { key: 'a/ns/shop/sa/web web-1', kind: 'sidecar', addresses: ['10.0.0.7'] }
const other = { key: 'a/ns/shop/sa/old old-1', kind: 'sidecar', addresses: ['10.0.0.8'] }
const router = { key: 'a/ns/isthmus/sa/gateway east-1', kind: 'router', addresses: ['10.0.0.9'] }
const sent = (subZone: string, more: object = {}) => ({
  ...{ name: outbound, subZone, issued: 10, ok: 9, errors: 1, active: 2, ...more },
})

const latency = { service: reviews, p50Ms: 1, p90Ms: 2, p99Ms: 3, count: 4 }
/** A window of time. */
const windowMs = 1000

let clock: number
let stateDir: string
let pauses: Pauses
let view: View
let keeper: LoadKeeper
let told: LoadReport[]
let answer: (report: LoadReport) => LoadAnswer
let connected: boolean
let capped: readonly Cap[]
let seen: number[]
let settled: boolean
let shifts: readonly Shift[]
let inForce: Pick<Load, 'adv' | 'cfg'>

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'load-keeper-'))
  clock = 0
  told = []
  seen = []
  connected = true
  settled = true
  shifts = []
  inForce = { adv: null, cfg: null }
  answer = () => ({ quotas: [], againMs: 10_000, time: 1 })
  view = caseOf({
    ...{ cluster: 'a', region: 'r1' },
    config: {
      members: ['a', 'b', 'c'],
      imports: {
        'shop/reviews': {
          ports: ['http 80 http'],
          sources: ['b net-b r1 reviews', 'c net-c r2 reviews'],
          tiers: [{ b: 1 }, { c: 1 }],
          policy: {},
        },
      },
      exports: { 'shop/web': { ports: ['http 80 http'], consumers: ['b'] } },
    },
    summaries: {
      b: { gateways: ['192.0.2.1:15443'], services: { 'shop/reviews': { counts: ['80 r1/ 2/2'] } } },
      c: { gateways: ['192.0.2.2:15443'], services: { 'shop/reviews': { counts: ['80 r2/ 2/2'] } } },
    },
    proxy: { id: 'sidecar~127.0.0.1~x.shop~shop.svc.cluster.local', account: 'x', metadata: { NAMESPACE: 'shop' } },
  }).view
  view = withCapacity(view)
  start()
})
afterEach(() => {
  pauses.end()
  rmSync(stateDir, { recursive: true })
})

/** The policy says what b is able to take. */
function withCapacity(given: View): View {
  const { config } = given
  const imported = config?.imports.get(reviews)
  if (!config || !imported) return given
  const [first, ...others] = imported.tiers
  const members = first?.members.map((member) => ({ ...member, capacity: { requestsPerSecond: 50 } })) ?? []
  const imports = new Map(config.imports).set(reviews, { ...imported, tiers: [{ members }, ...others] })
  return { ...given, config: { ...config, imports } }
}

function start(back = 0): void {
  pauses = openPauses()
  keeper = openLoadKeeper({
    ...{ stateDir, view: () => view, pauses, wall: () => 1000, isConnected: () => connected },
    proxies: () => [caller, router, other],
    places: () => [
      { address: '10.0.0.9', port: 15443 },
      { address: '203.0.113.7', port: 443 },
    ],
    traffic: {
      shifts: () => ({ epoch: 'a'.repeat(16), shifts }),
      taken: (_, seq) => {
        shifts = shifts.filter((shift) => shift.seq > seq)
      },
      quotas: (list) => {
        capped = list
        seen.push(list[0]?.cap ?? 1)
      },
      health: () => ({ judged: () => ({ clusters: new Map() }), reached: () => [], advice: noAdvice, now: 0 }) as never,
    },
    ...{ below: () => [], latencies: () => [latency], inForce: () => inForce, isSettled: () => settled },
    tell: async (report) => {
      told.push(report)
      return answer(report)
    },
    log: { info: () => undefined, warn: () => undefined },
    now: () => clock,
    times: { window: windowMs, soon: 20, settleLook: 5, late: 1000, back },
  })
  keeper.begin()
}

/** The first report of which `is` holds. */
const next = (what: string, is: (report: LoadReport) => boolean) => eventually(10_000, what, () => told.find(is))
/** So many have told before; a later one has a higher number. */
const seqNow = (): number => told.at(-1)?.seq ?? 0
/** The first window that is told from now on. */
const nextWindow = (what: string, after = seqNow()) => {
  clock += windowMs
  return next(what, ({ seq, windowMs: ms }) => seq > after && ms > 0)
}
/** What is told now, window or not: where one is over it has precedence. */
const tellNow = (what: string, after = seqNow()) => {
  keeper.soon()
  clock += 20
  return next(what, ({ seq }) => seq > after)
}
/** Its first report tells nothing: it has only begun to count. */
const begins = (who = caller) => keeper.counts.take(who, [])
const quiet = { issued: 0, ok: 0, errors: 0, active: 0 }

describe('what is told', () => {
  test('calls by service and callee, once; of strangers and of what is not federated nothing', async () => {
    begins()
    const noise = [
      sent(''),
      sent('d'),
      sent('b', { name: 'xds-grpc' }),
      sent('b', { issued: -1 }),
      sent('b', { ok: 1e12 }),
    ]
    keeper.counts.take(caller, [sent('b'), sent('c', { errors: 0, active: 0 }), ...noise])
    const report = await nextWindow('rows')
    expect(report.rows.toSorted((x, y) => (x.callee < y.callee ? -1 : 1))).toEqual([
      { service: reviews, callee: b, issued: 10, ok: 9, errors: 1, active: 2 },
      { service: reviews, callee: c, issued: 10, ok: 9, errors: 0, active: 0 },
    ])
    expect([report.proxies, report.windowMs]).toEqual([{ measured: 1, notMeasured: 1 }, windowMs])
    expect(report.latencies).toEqual([latency])
    expect(report.shares).toEqual([{ service: reviews, intended: [{ cluster: b, share: 1, wanted: 1 }] }])
    // What is open stays, what was counted does not.
    keeper.counts.take(caller, [sent('b', { ...quiet, active: 2 })])
    const later = await nextWindow('the next')
    expect(later.rows).toEqual([{ service: reviews, callee: b, issued: 0, ok: 0, errors: 0, active: 2 }])
    keeper.counts.gone(caller)
    expect((await nextWindow('nothing open')).rows).toEqual([])
  })

  test('a proxy that has only begun is not measured, one that ends leaves its counts', async () => {
    begins()
    const report = await nextWindow('a report')
    expect([report.proxies, keeper.failedIn(b, 60_000)]).toEqual([{ measured: 0, notMeasured: 2 }, null])
    expect(keeper.lastWindow()).toBeUndefined()
    keeper.counts.take(caller, [sent('b')])
    expect([keeper.failedIn(b, 60_000), keeper.failedIn(c, 60_000)]).toEqual([1, 0])
    // Of the window that is over it had told nothing: that is no window without calls.
    expect([keeper.lastWindow(), keeper.observed().shares.filter(({ kind }) => kind === 'measured')]).toEqual([
      ...[undefined, []],
    ])
    keeper.counts.gone(caller)
    expect((await nextWindow('its counts')).rows).toMatchObject([{ issued: 10, active: 0 }])
  })

  test('connections at gateways by the address that others dial, a balancer’s for those without a place', async () => {
    const web = { name: 'outbound_.80_._.web.shop.svc.cluster.local', subZone: '' }
    keeper.counts.take(router, [sent('', web), sent('', { name: 'outbound_.80_._.secret.shop.svc.cluster.local' })])
    keeper.counts.take({ ...router, key: 'behind', addresses: ['10.0.0.44'] }, [sent('', { ...web, issued: 3 })])
    const report = await nextWindow('gateways')
    expect(report.gateways).toEqual([
      { address: '10.0.0.9:15443', service: 'shop/web', issued: 10, active: 2 },
      { address: '203.0.113.7:443', service: 'shop/web', issued: 3, active: 2 },
    ])
    expect(report.rows).toEqual([])
  })

  test('what nobody took is told with what follows it', async () => {
    begins()
    answer = () => {
      throw new Problem('unavailable', 'gone')
    }
    keeper.counts.take(caller, [sent('b')])
    await nextWindow('a report in vain')
    keeper.counts.take(caller, [sent('b')])
    const both = await nextWindow('both')
    expect([both.rows[0]?.issued, both.windowMs]).toEqual([20, 2 * windowMs])
    await eventually(10_000, 'it is known', () => keeper.status().fault === 'gone')
    answer = () => ({ quotas: [], againMs: 10_000, time: 1 })
    begins()
    expect((await nextWindow('it is taken')).rows[0]?.issued).toBe(20)
    await eventually(10_000, 'it is taken', () => keeper.status().fault === null)
    keeper.counts.take(caller, [sent('b', { ...quiet, active: 1 })])
    expect((await nextWindow('nothing is left')).rows).toMatchObject([{ issued: 0, active: 1 }])
  })

  test('a centre that takes no reports is left in peace; counts go on', async () => {
    answer = () => {
      throw new Problem('not-found', 'there is no PUT /v1/clusters/x/load')
    }
    begins()
    await nextWindow('the first')
    await eventually(10_000, 'it is known', () => keeper.status().fault?.includes('older one'))
    keeper.counts.take(caller, [sent('b')])
    expect([told.length, keeper.failedIn(b, 60_000)]).toEqual([1, 1])
  })

  test('when all proxies have a config: once, after the last of them', async () => {
    settled = false
    inForce = { adv: null, cfg: { epoch: 'e', rev: 3, hash: 'f'.repeat(64) } }
    keeper.configTaken()
    expect((await tellNow('a report before')).acked).toEqual([])
    settled = true
    const report = await eventually(10_000, 'it', async () => {
      const one = await tellNow('another')
      return one.acked.length > 0 && one
    })
    expect(report.acked).toEqual([{ hash: 'f'.repeat(64), at: 1000 }])
    await eventually(10_000, 'it is taken', () => keeper.status().takenAt !== null)
    expect((await tellNow('the one after')).acked).toEqual([])
  })

  test('moves until they are taken', async () => {
    const shift = {
      seq: 4,
      at: 1,
      kind: 'shift',
      cluster: b,
      services: [],
      servicesCount: 0,
      from: [],
      to: [],
    } as const
    shifts = [{ ...shift, evidence: {}, failedMeanwhile: null }]
    const report = await tellNow('a shift')
    expect(report.shifts).toMatchObject({ epoch: 'a'.repeat(16), list: [{ seq: 4 }] })
    answer = () => ({ quotas: [], againMs: 1000, time: 1, shiftsTaken: { epoch: 'a'.repeat(16), seq: 4 } })
    clock += 40
    await eventually(10_000, 'it is taken', () => shifts.length === 0)
  })
})

describe('a window', () => {
  const both = () => {
    for (const who of [caller, other]) for (const _ of [1, 2]) begins(who)
  }

  test('is over when every measured proxy has reported in it; what cannot wait travels without one', async () => {
    both()
    keeper.counts.take(caller, [sent('b')])
    await nextWindow('of both')
    const window = keeper.lastWindow()
    keeper.counts.take(caller, [sent('b')])
    clock += windowMs
    const soon = await tellNow('what cannot wait')
    expect([soon.windowMs, soon.rows, soon.proxies]).toEqual([0, [], { measured: 2, notMeasured: 0 }])
    // What was measured before stands until there is more.
    expect(keeper.lastWindow()).toBe(window)
    keeper.counts.take(other, [sent('b')])
    const next = await nextWindow('of both again')
    expect([next.rows[0]?.issued, next.windowMs]).toEqual([20, 2 * windowMs + 20])
  })

  test('does not wait for ever: a proxy that is silent is not measured any more, and it is said', async () => {
    both()
    await nextWindow('of both')
    keeper.counts.take(other, [])
    clock += 3 * windowMs
    keeper.counts.take(caller, [])
    await tellNow('it still waits?', seqNow())
    keeper.counts.take(caller, [])
    clock += windowMs
    // Three intervals and a second after its last report.
    const one = await nextWindow('without the silent one')
    expect(one.proxies).toEqual({ measured: 1, notMeasured: 1 })
  })

  test('waits for a proxy that lost its relay: it comes back with what it counted meanwhile, or never', async () => {
    pauses.end()
    start(5 * windowMs)
    clock += 5 * windowMs
    await tellNow('it has begun')
    both()
    await nextWindow('of both')
    keeper.counts.gone(other)
    keeper.counts.take(caller, [])
    clock += windowMs
    expect((await tellNow('not over')).windowMs).toBe(0)
    keeper.counts.take(other, [sent('b')])
    expect((await nextWindow('it is back')).rows).toMatchObject([{ issued: 10 }])
    keeper.counts.take(other, [])
    keeper.counts.gone(other)
    keeper.counts.take(caller, [])
    await nextWindow('it had reported in it')
    keeper.counts.take(caller, [])
    clock += windowMs
    expect((await tellNow('not over either')).windowMs).toBe(0)
    clock += 3 * windowMs
    keeper.counts.take(caller, [])
    expect((await nextWindow('it does not come back')).proxies).toEqual({ measured: 1, notMeasured: 1 })
  })

  test('begins when the proxies of a relay that has just begun are back', async () => {
    pauses.end()
    start(3 * windowMs)
    both()
    keeper.counts.take(caller, [sent('b')])
    clock += 2 * windowMs
    expect((await tellNow('none yet')).windowMs).toBe(0)
    clock += windowMs
    const begun = await tellNow('it begins')
    expect(begun.windowMs).toBe(0)
    for (const who of [caller, other]) begins(who)
    // What was counted before belongs to no window.
    expect((await nextWindow('the first')).rows).toEqual([])
  })
})

describe('a quota', () => {
  const quota: Quota = { service: reviews, cluster: b, requestsPerSecond: 1 }

  test('becomes a cap by what is called, by ten points a window, and outlives the relay and the centre', async () => {
    begins()
    answer = () => ({ quotas: [quota], againMs: 1000, time: 1 })
    const calls = setInterval(() => {
      clock += windowMs / 2
      keeper.counts.take(caller, [sent('b', { issued: 1000, ok: 1000, errors: 0 })])
    }, 10)
    try {
      await eventually(20_000, 'a cap of half', () => (capped[0]?.cap ?? 1) <= 0.5)
      for (const [at, cap] of seen.entries()) expect(Math.abs(cap - (seen[at - 1] ?? 1))).toBeLessThan(0.1001)
    } finally {
      clearInterval(calls)
    }
    pauses.end()
    const last = capped
    capped = []
    connected = false
    start()
    expect(capped).toEqual(last)
    // Nobody measures and the centre is away: it stands.
    connected = true
    told = []
    for (const what of ['a window', 'another']) expect((await nextWindow(what)).proxies.measured).toBe(0)
    expect([capped, keeper.status().caps]).toEqual([last, last])
  })

  test('of a cluster that the policy does not limit any more is none', async () => {
    begins()
    answer = () => ({ quotas: [{ ...quota, cluster: c }], againMs: 1000, time: 1 })
    for (const what of ['one', 'two', 'three']) {
      keeper.counts.take(caller, [sent('c', { issued: 1000, ok: 1000, errors: 0 })])
      await nextWindow(what)
    }
    expect(capped).toEqual([])
  })
})
