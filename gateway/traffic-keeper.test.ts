import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { openTrafficKeeper, type TrafficKeeper } from '#gateway/traffic-keeper.ts'
import { trafficSight } from '#gateway/traffic-sight.ts'
import { type Json, sha256Hex } from '#mesh/model/canonical.ts'
import { type ClusterName, parseClusterName, serviceKey } from '#mesh/model/id.ts'
import type { View } from '#mesh/model/view.ts'
import { type CaseText, caseOf } from '#mesh/translate/testdata/case.ts'
import { type Holder, makeRoot } from '#tests/support/authorities.ts'
import { leafOf, type ProbedGateway, podOf, startGateway } from '#tests/support/probed-gateway.ts'
import { eventually } from '#tests/support/until.ts'

const times = { everyMs: 20, timeoutMs: 10_000, lookMs: 5, probesPerSecondMax: 1000 }
const [b, c] = ['b', 'c'].map(parseClusterName) as [ClusterName, ClusterName]
const reviews = serviceKey('shop', 'reviews')

let root: Holder
let leaf: Awaited<ReturnType<typeof leafOf>>
let gateways: readonly [ProbedGateway, ProbedGateway]
let stateDir: string
let view: View
let keeper: TrafficKeeper
let changes: number
let heardMsAgo: number | undefined
/** How `reviews` answers its probe in each cluster. */
let status = { b: 200, c: 200 }
/** The clock is so much ahead, ms. */
let later = 0

beforeAll(async () => {
  root = await makeRoot()
  leaf = await leafOf(root)
  const behind = async (cluster: 'b' | 'c') => ({
    own: await podOf(root, cluster, 'reviews'),
    answer: (socket: TLSSocket) => socket.once('data', () => socket.end(`HTTP/1.1 ${status[cluster]} x\r\n\r\n`)),
  })
  gateways = [await startGateway(root, 'b', await behind('b')), await startGateway(root, 'c', await behind('c'))]
})
afterAll(() => {
  for (const one of gateways) one.kill()
})
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'traffic-keeper-'))
  heardMsAgo = 0
  later = 0
  status = { b: 200, c: 200 }
})
afterEach(async () => {
  keeper.stop()
  rmSync(stateDir, { recursive: true })
  for (const one of gateways) await one.revive()
})

type Import = NonNullable<NonNullable<CaseText['config']>['imports']>[string]

const viewWith = (more: Partial<Import> = {}): View =>
  caseOf({
    ...{ cluster: 'a', region: 'r1' },
    config: {
      members: ['a', 'b', 'c'],
      imports: {
        'shop/reviews': {
          ports: ['http 80 http'],
          sources: ['b net-b r1 reviews', 'c net-c r2 reviews'],
          tiers: [{ b: 1 }, { c: 1 }],
          ...more,
        },
      },
    },
    summaries: {
      b: { gateways: [gateways[0].address], services: { 'shop/reviews': { counts: ['80 r1/ 2/2'] } } },
      c: { gateways: [gateways[1].address], services: { 'shop/reviews': { counts: ['80 r2/ 2/2'] } } },
    },
    proxy: { id: 'sidecar~127.0.0.1~x.shop~shop.svc.cluster.local', account: 'x', metadata: { NAMESPACE: 'shop' } },
  }).view

function start(more: Partial<Import> = {}): TrafficKeeper {
  view = viewWith(more)
  changes = 0
  keeper = openTrafficKeeper({
    ...{ stateDir, view: () => view, leaf, beacons: [], times, wall: Date.now },
    now: () => performance.now() + later,
    centreHeardMsAgo: () => heardMsAgo,
    onChange: () => {
      changes += 1
      view = { ...view, ...(keeper.traffic() ? { traffic: keeper.traffic() } : {}) } as View
    },
    log: { info: () => undefined, warn: () => undefined },
  })
  return keeper
}

const file = () => join(stateDir, 'health.json')
const given = (cluster: ClusterName) => keeper.traffic()?.clusters.get(cluster)
const phaseOf = (cluster: ClusterName) => keeper.health().judged().clusters.get(cluster)?.phase
const isOut = (cluster: ClusterName) => eventually(30_000, `${cluster} is out`, () => phaseOf(cluster) === 'out')
const asked = (cluster: ClusterName) =>
  Object.values(keeper.health().counts().get(cluster) ?? {}).reduce((sum, n) => sum + n, 0)
const probed = async (times = 2) => {
  const before = [asked(b), asked(c)] as const
  await eventually(30_000, 'more probes', () => asked(b) >= before[0] + times && asked(c) >= before[1] + times)
}
/** So many of the two pods of reviews in b are ready. */
const ready = (count: number): void => {
  const counts = [{ port: 80, region: 'r1', zone: '', ready: count, total: 2 }]
  const services = new Map(view.summaries.services).set('b', new Map([[reviews as string, { counts }]]))
  view = { ...view, summaries: { ...view.summaries, services } }
}
const items = (all: Record<string, Json>) => new Map(Object.entries(all))
const drain = (more: object): Json => ({ kind: 'cluster', cluster: 'b', percent: 50, phase: 'ramping', ...more })

test('while all is well nothing is said and nothing is pushed, however often gateways are asked', async () => {
  start()
  await probed(4)
  expect([keeper.traffic(), changes]).toEqual([undefined, 0])
  const answered = [...keeper.health().counts()].map(([name, { ok = 0 }]) => [name, ok > 0])
  expect(answered.toSorted()).toEqual([
    ['b', true],
    ['c', true],
  ])
  await eventually(30_000, 'both are reached', () => keeper.health().reached().join() === 'b,c')
})

test('a cluster whose gateway dies is out: an event says which services go where, and status, conditions and metrics', async () => {
  start()
  await probed()
  gateways[0].kill()
  await isOut(b)
  await eventually(30_000, 'only the other one is reached', () => keeper.health().reached().join() === 'c')
  expect(given(b)).toEqual({ cluster: 'b', percent: 0, why: 'dead' })
  expect([...(keeper.traffic()?.gatewaysDown.get(b) ?? [])]).toEqual([gateways[0].address])
  const { epoch, shifts } = keeper.shifts()
  expect(shifts).toMatchObject([
    {
      ...{ seq: 1, kind: 'shift', cluster: 'b', services: [reviews], servicesCount: 1, from: ['b'], to: ['c'] },
      ...{ evidence: { probe: { failed: 1, of: 1, last: 'refused' } }, failedMeanwhile: null },
    },
  ])
  const sight = trafficSight(keeper, () => view)
  expect(sight.status()).toMatchObject({
    ...{ isolated: false, frozen: null, shifts: [{ seq: 1 }] },
    clusters: [
      { cluster: 'b', phase: 'out', percent: 0, gatewaysDown: [gateways[0].address], backInSeconds: null },
      { cluster: 'c', phase: 'in', percent: 100, gatewaysDown: [], evidence: null, backInSeconds: 0 },
    ],
    below: [{ service: reviews, servedBy: ['c'], firstTier: ['b'], percent: 0, why: 'dead', backInSeconds: null }],
  })
  expect(sight.conditions()).toMatchObject([
    { type: 'ServedBelowFirstTier', reason: 'Out', object: 'cluster b', message: expect.stringContaining('(refused)') },
  ])
  expect(sight.observed()).toMatchObject({
    belowFirstTier: 1,
    clusters: [
      { cluster: 'b', percent: 0, gatewaysDown: 1 },
      { cluster: 'c', percent: 100, gatewaysDown: 0 },
    ],
    shifts: [{ cluster: 'b', kind: 'shift', count: 1 }],
  })
  keeper.taken('another', 1)
  expect(keeper.shifts().shifts).toHaveLength(1)
  keeper.taken(epoch, 1)
  expect(keeper.shifts().shifts).toEqual([])
})

test('a relay that ends goes on from there: out until the gateway is well anew, in mid-ramp no step further or back', async () => {
  const policy = { holdSeconds: 0.1, rampSeconds: 1.5 }
  start({ policy })
  await probed()
  gateways[0].kill()
  await isOut(b)
  keeper.stop()
  start({ policy })
  expect([phaseOf(b), given(b)]).toEqual(['out', { cluster: 'b', percent: 0, why: 'dead' }])
  expect(keeper.shifts().shifts).toMatchObject([{ seq: 1, kind: 'shift' }])
  await probed(4)
  expect(phaseOf(b)).toBe('out')
  await gateways[0].revive()
  const own = () => keeper.traffic()?.services.get(reviews)?.get(b)?.percent ?? 0
  await eventually(30_000, 'its policy lets it back', () => own() >= 30)
  const [at, kept] = [own(), readFileSync(file())]
  expect(trafficSight(keeper, () => view).conditions()[0]?.message).toMatch(
    /; it has [1-9]\d+ % of its share; all is back in [012] s; 1 service is below its first tier$/,
  )
  keeper.stop()
  // Killed: it had no time to save anything.
  writeFileSync(file(), kept)
  start({ policy })
  expect([phaseOf(b), given(b)?.percent]).toEqual(['returned', 0])
  // On a busy machine what was saved may be a moment, and so a step, after what was said.
  expect([at, at + 10]).toContain(own())
  const percents = [at]
  await eventually(30_000, 'it is back', () => {
    if (phaseOf(b) === 'in') return true
    percents.push(own())
    return false
  })
  expect(percents).toEqual(percents.toSorted((x, y) => x - y))
  expect(keeper.traffic()).toBeUndefined()
  expect(keeper.shifts().shifts.map(({ seq, kind }) => `${seq} ${kind}`)).toEqual([
    '1 shift',
    '2 return',
    '3 ramp-done',
  ])
  expect(readFileSync(file(), 'utf8')).toContain('"clusters":[]')
})

test('a damaged file of before counts as none', async () => {
  writeFileSync(file(), 'x')
  start()
  expect(keeper.traffic()).toBeUndefined()
})

test('frozen: the cluster stays, the event says so, and it goes out when that ends', async () => {
  start()
  await probed()
  keeper.advice(items({ freeze: { by: 'ann', reason: 'black friday', at: 1 } }))
  gateways[0].kill()
  await eventually(30_000, 'an event', () => keeper.shifts().shifts.length > 0)
  expect(keeper.shifts().shifts).toMatchObject([{ kind: 'frozen-shift', cluster: 'b', from: ['b'], to: [] }])
  expect([given(b), phaseOf(b)]).toEqual([undefined, 'in'])
  const sight = trafficSight(keeper, () => view)
  expect(sight.conditions()).toMatchObject([
    { type: 'TrafficFrozen', message: expect.stringContaining('black friday') },
  ])
  expect(sight.status()).toMatchObject({ frozen: { by: 'ann' }, clusters: [{ keptBecause: 'frozen' }, {}] })
  keeper.advice(items({}))
  await isOut(b)
})

test('cut off from everything: nothing moves, and a condition says so', async () => {
  start()
  heardMsAgo = undefined
  await probed()
  gateways[0].kill()
  gateways[1].kill()
  await probed(12)
  expect([keeper.traffic()?.clusters, keeper.shifts().shifts]).toEqual([undefined, []])
  expect(trafficSight(keeper, () => view).conditions()).toMatchObject([{ type: 'Isolated' }])
})

test('drains: of a cluster, of a gateway by its digest, and of the own cluster, whose callers keep it', async () => {
  start()
  keeper.advice(items({ 'drain/1': drain({}) }))
  expect(given(b)).toEqual({ cluster: 'b', percent: 50, why: 'drain' })
  expect(changes).toBe(1)
  keeper.advice(items({ 'drain/1': drain({ kind: 'gateway', gateway: sha256Hex(gateways[0].address) }) }))
  expect([...(keeper.traffic()?.gatewaysDraining.get(b) ?? [])]).toEqual([gateways[0].address])
  expect(given(b)).toBeUndefined()
  keeper.advice(items({ 'drain/1': drain({ cluster: 'a', percent: 0 }) }))
  expect(keeper.traffic()).toBeUndefined()
  keeper.advice(items({ 'drain/1': drain({ cluster: 'a', percent: 0, phase: 'closing' }) }))
  expect([keeper.traffic()?.closing, keeper.traffic()?.clusters.size]).toEqual(['all', 0])
  const closing = { cluster: 'a', percent: 0, phase: 'closing', kind: 'gateway', gateway: 'd'.repeat(64) }
  keeper.advice(items({ 'drain/1': drain(closing) }))
  const before = keeper.traffic()
  expect([before?.gatewaysClosing, before?.closing]).toEqual([new Set([closing.gateway]), new Set()])
  keeper.advice(items({ 'drain/1': drain({ ...closing, phase: 'proving' }) }))
  expect(keeper.traffic()).toBe(before)
  keeper.advice(items({ 'drain/1': 'odd' }))
  expect([keeper.traffic() === before, keeper.health().unread]).toEqual([true, ['drain/1']])
  keeper.advice(items({}))
  expect(keeper.traffic()).toBeUndefined()
})

test('a drained cluster that dies is nobody’s news', async () => {
  start()
  await probed()
  keeper.advice(items({ 'drain/1': drain({ percent: 0, phase: 'done' }) }))
  gateways[0].kill()
  await probed(8)
  expect([given(b)?.why, keeper.shifts().shifts]).toEqual(['drain', []])
})

test('caps are followed in steps of five points; what is equal keeps its identity', () => {
  start({ policy: {} })
  const cap = (share: number) => keeper.quotas([{ service: reviews, cluster: b, cap: share }])
  const own = () => keeper.traffic()?.services.get(reviews)?.get(b)
  cap(0.4)
  expect(own()).toEqual({ cluster: 'b', percent: 100, why: 'quota', cap: 0.4 })
  const before = keeper.traffic()
  cap(0.43)
  expect([keeper.traffic() === before, changes]).toEqual([true, 1])
  cap(0.46)
  expect(own()?.cap).toBe(0.46)
  keeper.advice(items({ 'drain/1': drain({ percent: 25 }) }))
  expect(own()).toEqual({ cluster: 'b', percent: 25, why: 'drain', cap: 0.46 })
  keeper.quotas([])
  expect(own()).toBeUndefined()
})

test.each([
  ['keep', 60_000, 0, undefined],
  ['demote', 60_000, 0, 'lost'],
  ['demote', -1, 0, undefined],
  ['demote', 60_000, 11_000, undefined],
] as const)(
  'a lost exporter, policy %s, advice good for %i ms, the centre heard %i ms ago: %s',
  async (onExporterLost, forMs, heardAgo, why) => {
    start({ policy: { onExporterLost } })
    heardMsAgo = heardAgo
    await probed()
    keeper.advice(items({ 'lost/b': { since: 1, until: Date.now() + forMs } }))
    expect(keeper.traffic()?.services.get(reviews)?.get(b)?.why).toBe(why)
    expect(given(b)).toBeUndefined()
    expect(keeper.shifts().shifts).toEqual([])
  },
)

test('a pod that is gone counts as lost for ten minutes, where a policy asks', () => {
  start({ policy: {} })
  keeper.look()
  ready(1)
  expect(keeper.look()).toBe(true)
  expect([...(keeper.traffic()?.peaks ?? [])]).toEqual([['b shop/reviews 80', 2]])
  ready(2)
  keeper.look()
  expect(keeper.traffic()).toBeUndefined()
})

test('a first tier without a ready pod is an event with its counts, and so is its return; pods that flicker are not', async () => {
  start()
  await probed(1)
  const told = () => keeper.shifts().shifts.map(({ kind, from, to, evidence }) => ({ kind, from, to, evidence }))
  ready(0)
  await eventually(30_000, 'an event', () => told().length > 0)
  const shift = { kind: 'shift', from: ['b'], to: ['c'], evidence: { ready: { ready: 0, total: 2 } } }
  expect(told()).toEqual([shift])
  expect(trafficSight(keeper, () => view).status().below).toMatchObject([{ service: reviews, why: 'readiness' }])
  ready(1)
  await probed(1)
  expect(told()).toEqual([shift])
  later = 30_000
  await eventually(30_000, 'another event', () => told().length > 1)
  expect(told()[1]).toEqual({ kind: 'return', from: ['c'], to: ['b'], evidence: { ready: { ready: 1, total: 2 } } })
})

const healthz = { kind: 'http', port: 80, path: '/healthz', everyMs: 20 } as const
const ofReviews = (cluster: ClusterName) => keeper.traffic()?.services.get(reviews)?.get(cluster)
const asksOf = (cluster: ClusterName) =>
  Object.values(keeper.health().services.counts().get(cluster) ?? {}).reduce((sum, n) => sum + n, 0)
const serviceProbed = async (times = 2) => {
  const before = [asksOf(b), asksOf(c)] as const
  await eventually(30_000, 'more probes', () => asksOf(b) >= before[0] + times && asksOf(c) >= before[1] + times)
}

test('a service whose probe fails is left there and nowhere else, with evidence; a restart keeps that; it returns step by step', async () => {
  const policy = { holdSeconds: 0.1, rampSeconds: 1, probe: healthz }
  start({ policy })
  await serviceProbed()
  expect([keeper.traffic(), changes]).toEqual([undefined, 0])
  status.b = 503
  await eventually(30_000, 'it is out', () => ofReviews(b)?.percent === 0)
  expect([ofReviews(b)?.why, given(b), phaseOf(b)]).toEqual(['probe', undefined, 'in'])
  const [shift] = keeper.shifts().shifts
  expect(shift).toMatchObject({
    ...{ kind: 'shift', cluster: 'b', services: [reviews], servicesCount: 1, from: ['b'], to: ['c'] },
    evidence: { service: { probe: 'GET /healthz', said: '503' } },
  })
  const sight = trafficSight(keeper, () => view)
  expect(sight.status()).toMatchObject({
    services: [
      { service: reviews, cluster: 'b', probe: 'GET /healthz', phase: 'out', percent: 0, backInSeconds: null },
    ],
    below: [{ service: reviews, servedBy: ['c'], firstTier: ['b'], percent: 0, why: 'probe', backInSeconds: null }],
  })
  expect(sight.conditions()).toMatchObject([
    {
      ...{ type: 'ServedBelowFirstTier', reason: 'Out', object: `service ${reviews}` },
      message: expect.stringMatching(/^in cluster b: probe GET \/healthz: 503, (\d+) of \1 for \d+ s; it is out there/),
    },
  ])
  expect(sight.observed()).toMatchObject({
    servicesOut: [
      { cluster: 'b', services: 1 },
      { cluster: 'c', services: 0 },
    ],
  })
  keeper.stop()
  start({ policy })
  expect(ofReviews(b)).toEqual({ cluster: 'b', percent: 0, why: 'probe' })
  await serviceProbed(3)
  expect(ofReviews(b)?.percent).toBe(0)
  status.b = 200
  const percents: number[] = []
  await eventually(30_000, 'it is back', () => {
    percents.push(ofReviews(b)?.percent ?? 100)
    return keeper.traffic() === undefined
  })
  expect(percents).toEqual(percents.toSorted((x, y) => x - y))
  expect(keeper.shifts().shifts.map(({ kind }) => kind)).toEqual(['shift', 'return', 'ramp-done'])
})

test('a probe that fails everywhere, or that is not allowed, moves nobody, and a condition says so', async () => {
  start({ policy: { probe: healthz } })
  await serviceProbed()
  status = { b: 404, c: 404 }
  const sight = trafficSight(keeper, () => view)
  const types = () => sight.conditions().map(({ type }) => type)
  await eventually(30_000, 'a condition', () => types().includes('ServiceProbeFails'))
  expect([keeper.traffic(), keeper.shifts().shifts]).toEqual([undefined, []])
  status = { b: 200, c: 403 }
  await eventually(30_000, 'another', () => types().join() === 'ServiceProbeUnsure')
  expect(sight.conditions()[0]?.message).toContain('in cluster c its probe GET /healthz says nothing about it: 403')
  expect([keeper.traffic(), keeper.shifts().shifts]).toEqual([undefined, []])
})

test('a probe that is taken out of the policy takes its verdict with it', async () => {
  start({ policy: { probe: healthz } })
  await serviceProbed()
  status.b = 503
  await eventually(30_000, 'it is out', () => ofReviews(b)?.percent === 0)
  view = { ...viewWith({ policy: {} }), ...(keeper.traffic() ? { traffic: keeper.traffic() } : {}) } as View
  keeper.look()
  await eventually(30_000, 'nothing moves any more', () => keeper.traffic() === undefined)
  expect(keeper.shifts().shifts.map(({ kind }) => kind)).toEqual(['shift', 'ramp-done'])
  expect(readFileSync(file(), 'utf8')).toContain('"services":[]')
})

test('a gateway that dies is its cluster’s death, and no service’s; a service without a ready pod is not asked', async () => {
  start({ policy: { probe: healthz } })
  await serviceProbed()
  gateways[0].kill()
  await isOut(b)
  expect(keeper.shifts().shifts.map(({ evidence }) => Object.keys(evidence))).toEqual([['probe']])
  await gateways[0].revive()
  keeper.stop()
  start({ policy: { probe: healthz } })
  ready(0)
  const before = asksOf(b)
  status.b = 503
  await eventually(30_000, 'c is asked', () => asksOf(c) >= 5)
  expect([asksOf(b), ofReviews(b)]).toEqual([before, undefined])
})
