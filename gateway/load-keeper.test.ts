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
const router = { key: 'a/ns/isthmus/sa/gateway east-1', kind: 'router', addresses: ['10.0.0.9'] }
const sent = (subZone: string, more: object = {}) => ({
  ...{ name: outbound, subZone, issued: 10, ok: 9, errors: 1, active: 2, ...more },
})

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

function start(): void {
  pauses = openPauses()
  keeper = openLoadKeeper({
    ...{ stateDir, view: () => view, pauses, wall: () => 1000, isConnected: () => connected },
    proxies: () => [caller, router, { key: 'a/ns/shop/sa/old old-1', kind: 'sidecar' }],
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
      health: () => ({ judged: () => ({ clusters: new Map() }), advice: noAdvice, now: 0 }) as never,
    },
    ...{ below: () => [], inForce: () => inForce, isSettled: () => settled },
    tell: async (report) => {
      told.push(report)
      return answer(report)
    },
    log: { info: () => undefined, warn: () => undefined },
    times: { window: 40, soon: 20, settleLook: 5, late: 600_000 },
  })
  keeper.begin()
}

/** The reports until the first of which `is` holds. */
const next = (what: string, is: (report: LoadReport) => boolean) => eventually(10_000, what, () => told.find(is))
/** Its first report tells nothing: it has only begun to count. */
const begins = () => keeper.counts.take(caller, [])

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
    const report = await next('rows', ({ rows }) => rows.length > 0)
    expect(report.rows.toSorted((x, y) => (x.callee < y.callee ? -1 : 1))).toEqual([
      { service: reviews, callee: b, issued: 10, ok: 9, errors: 1, active: 2 },
      { service: reviews, callee: c, issued: 10, ok: 9, errors: 0, active: 0 },
    ])
    expect(report.proxies).toEqual({ measured: 1, notMeasured: 1 })
    expect(report.shares).toEqual([{ service: reviews, intended: [{ cluster: b, share: 1, wanted: 1 }] }])
    // What is open stays, what was counted does not.
    const later = await next('the next', ({ seq }) => seq > report.seq)
    expect(later.rows).toEqual([{ service: reviews, callee: b, issued: 0, ok: 0, errors: 0, active: 2 }])
    keeper.counts.gone(caller)
    await next('nothing open', ({ seq, rows }) => seq > later.seq && rows.length === 0)
  })

  test('a proxy that has only begun is not measured, one that ends leaves its counts', async () => {
    begins()
    const report = await next('a report', () => true)
    expect([report.proxies, keeper.failedIn(b, 60_000)]).toEqual([{ measured: 0, notMeasured: 2 }, null])
    keeper.counts.take(caller, [sent('b')])
    expect([keeper.failedIn(b, 60_000), keeper.failedIn(c, 60_000)]).toEqual([1, 0])
    keeper.counts.gone(caller)
    const last = await next('its counts', ({ rows }) => rows.length > 0)
    expect(last.rows).toMatchObject([{ issued: 10, active: 0 }])
  })

  test('connections at gateways by the address that others dial, a balancer’s for those without a place', async () => {
    const web = { name: 'outbound_.80_._.web.shop.svc.cluster.local', subZone: '' }
    keeper.counts.take(router, [sent('', web), sent('', { name: 'outbound_.80_._.secret.shop.svc.cluster.local' })])
    keeper.counts.take({ ...router, key: 'behind', addresses: ['10.0.0.44'] }, [sent('', { ...web, issued: 3 })])
    const report = await next('gateways', ({ gateways }) => gateways.length > 0)
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
    await next('a report in vain', ({ rows }) => rows.length > 0)
    keeper.counts.take(caller, [sent('b')])
    await next('both', ({ rows }) => rows.some(({ issued }) => issued === 20))
    expect(keeper.status().fault).toBe('gone')
    answer = () => ({ quotas: [], againMs: 10_000, time: 1 })
    const from = told.length
    await eventually(10_000, 'it is taken', () => keeper.status().fault === null)
    await eventually(10_000, 'nothing is left', () => told.slice(from).some(({ rows }) => rows[0]?.issued === 0))
  })

  test('a centre that takes no reports is left in peace; counts go on', async () => {
    answer = () => {
      throw new Problem('not-found', 'there is no PUT /v1/clusters/x/load')
    }
    begins()
    await next('the first', () => true)
    await eventually(10_000, 'it is known', () => keeper.status().fault?.includes('older one'))
    keeper.counts.take(caller, [sent('b')])
    expect([told.length, keeper.failedIn(b, 60_000)]).toEqual([1, 1])
  })

  test('when all proxies have a config: once, after the last of them', async () => {
    settled = false
    inForce = { adv: null, cfg: { epoch: 'e', rev: 3, hash: 'f'.repeat(64) } }
    keeper.configTaken()
    const { seq } = await next('a report before', () => true)
    expect(told.every(({ acked }) => acked.length === 0)).toBe(true)
    settled = true
    const report = await next('it', ({ acked }) => acked.length > 0)
    expect(report.acked).toEqual([{ hash: 'f'.repeat(64), at: 1000 }])
    await next('the one after', (one) => one.seq > Math.max(seq, report.seq) && one.acked.length === 0)
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
    const report = await next('a shift', (one) => one.shifts !== undefined)
    expect(report.shifts).toMatchObject({ epoch: 'a'.repeat(16), list: [{ seq: 4 }] })
    answer = () => ({ quotas: [], againMs: 1000, time: 1, shiftsTaken: { epoch: 'a'.repeat(16), seq: 4 } })
    await eventually(10_000, 'it is taken', () => shifts.length === 0)
  })
})

describe('a quota', () => {
  const quota: Quota = { service: reviews, cluster: b, requestsPerSecond: 1 }

  test('becomes a cap by what is called, by ten points a window, and outlives the relay and the centre', async () => {
    begins()
    answer = () => ({ quotas: [quota], againMs: 1000, time: 1 })
    const calls = setInterval(() => keeper.counts.take(caller, [sent('b', { issued: 1000, ok: 1000, errors: 0 })]), 10)
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
    const windows = () => keeper.status().caps
    await pauses.pause(100)
    expect([capped, windows()]).toEqual([last, last])
  })

  test('of a cluster that the policy does not limit any more is none', async () => {
    begins()
    answer = () => ({ quotas: [{ ...quota, cluster: c }], againMs: 1000, time: 1 })
    const from = told.length
    keeper.counts.take(caller, [sent('c', { issued: 1000, ok: 1000, errors: 0 })])
    await eventually(10_000, 'three more', () => told.length >= from + 3)
    expect(capped).toEqual([])
  })
})
