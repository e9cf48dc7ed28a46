import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { CaseText } from '#mesh/translate/testdata/case.ts'
import { type Answers, callsTo, httpPort, type SharesRig, startSharesRig } from '#tests/support/shares-rig.ts'
import { eventually } from '#tests/support/until.ts'

type Imports = NonNullable<NonNullable<CaseText['config']>['imports']>

let rig: SharesRig
beforeAll(async () => {
  rig = await startSharesRig(['b1', 'b2', 'c1', 'c2', 'd1'])
})
afterAll(() => rig?.stop())

const sources = ['b net-b r1 x', 'c net-c r1 x', 'd net-d r2 x']
const inTiers = (...tiers: Imports[string]['tiers']): Imports[string] => ({
  ...{ ports: [`http ${httpPort} http`], sources, tiers, policy: {} },
})
const services: Imports = {
  'shop/weighted': inTiers({ b: 70, c: 30 }, { d: 1 }),
  'shop/capped': inTiers({ b: 70, c: 30 }, { d: 1 }),
  'shop/ramp': inTiers({ b: 1 }, { c: 1 }),
  'shop/moved': inTiers({ b: 1 }, { c: 1 }),
  'shop/drained': inTiers({ d: 1 }, { c: 1 }),
  'shop/db': { ports: ['tcp 7000 tcp'], sources, tiers: [{ b: 1 }, { c: 1 }] },
}

/** Two pods behind each cluster, four behind b; what moves traffic besides `moved`. */
function state(moved: string, more: CaseText['traffic'] = {}): Pick<CaseText, 'config' | 'summaries' | 'traffic'> {
  const gateways = (cluster: string) =>
    Object.entries(rig.farEnds).flatMap(([name, { address }]) => (name.startsWith(cluster) ? [address] : []))
  const ready = (count: number) =>
    Object.fromEntries(
      Object.entries(services).map(([key, { ports }]) => [
        key,
        { counts: [`${String(ports[0]).split(' ')[1]} r1/ ${count}/${count}`] },
      ]),
    )
  return {
    config: { members: ['a', 'b', 'c', 'd'], imports: services },
    summaries: {
      b: { gateways: gateways('b'), services: ready(4) },
      c: { gateways: gateways('c'), services: ready(2) },
      d: { gateways: gateways('d'), services: ready(2) },
    },
    traffic: {
      ...more,
      services: {
        'shop/capped': { b: '100 quota 0.4' },
        'shop/ramp': { b: '50 returning' },
        'shop/moved': { b: moved },
        'shop/db': { b: moved },
        'shop/drained': { c: '0 drain' },
      },
    },
  }
}

/** Percent of each cluster, by what its gateways answered. */
function shares({ by }: Answers): Record<string, number> {
  const all = Object.values(by).reduce((a, b) => a + b, 0)
  const found: Record<string, number> = {}
  for (const [name, count] of Object.entries(by)) {
    const cluster = name.slice(0, 1)
    found[cluster] = (found[cluster] ?? 0) + (count / all) * 100
  }
  return found
}

describe('a real Envoy gives each cluster its share', () => {
  beforeAll(() => rig.say(state('100 probe')))

  test.each<[name: string, service: string, calls: number, expected: Record<string, number>]>([
    ['70/30', 'weighted', 5000, { b: 70, c: 30 }],
    ['a capacity of 40 %: its mate takes the rest', 'capped', 5000, { b: 40, c: 60 }],
    ['a return at half', 'ramp', 2000, { b: 50, c: 50 }],
    ['a drain at its end', 'drained', 500, { d: 100 }],
  ])('%s', async (_, service, calls, expected) => {
    const answers = await callsTo(rig, service, { calls })
    expect(answers.faults).toEqual([])
    const found = shares(answers)
    expect(Object.keys(found).toSorted()).toEqual(Object.keys(expected))
    for (const [cluster, percent] of Object.entries(expected))
      expect(Math.abs((found[cluster] ?? 0) - percent)).toBeLessThan(2)
  })

  test('half of a cluster’s gateways are down: the others carry its share, and it loses none', async () => {
    await rig.say(state('100 probe', { gatewaysDown: { b: [rig.farEnds['b1']?.address ?? ''] } }))
    const weighted = await callsTo(rig, 'weighted', { calls: 2000 })
    expect([weighted.faults, weighted.by['b1']]).toEqual([[], undefined])
    expect(Math.abs((shares(weighted)['b'] ?? 0) - 70)).toBeLessThan(2)
  })
})

describe('while shares move', () => {
  test('from all to nothing and back in steps: no call fails, connections stay, and streams that are open live on', async () => {
    await rig.say(state('100 probe'))
    const streams = await Promise.all(Array.from({ length: 6 }, openStream))
    const steps = [100, 75, 50, 25, 10, 0, 10, 25, 50, 75, 100]
    let by: Record<string, number> = {}
    let since = 0
    const seen = (from: string, sentAt: number) => {
      if (sentAt > since) by[from] = (by[from] ?? 0) + 1
    }
    const done = new AbortController()
    onTestFinished(() => done.abort())
    const going = callsTo(rig, 'moved', { calls: 50_000, perSecond: 400, seen, until: done.signal })
    for (const percent of steps) {
      await rig.say(state(percent === 100 ? '100 probe' : `${percent} drain`))
      since = performance.now()
      by = {}
      // Acknowledged is a little before in use: of the first calls some may still go where they went.
      await eventually(10_000, `80 calls in a row of which b has ${percent} %`, () => {
        if (Object.values(by).reduce((a, b) => a + b, 0) < 80) return false
        const share = shares({ by, faults: [] })['b'] ?? 0
        by = {}
        return Math.abs(share - percent) <= 5
      })
    }
    done.abort()
    expect((await going).faults).toEqual([])
    // One to each of the four hosts (a machine that stands still costs some): who changes its priority keeps its connections.
    const [made] = (await rig.stats('cluster.outbound.9080..moved.*upstream_cx_total')).values()
    expect([4, 5, 6, 7, 8]).toContain(made)
    expect(await Promise.all(streams.map((stream) => stream.echo()))).toEqual(
      streams.map((stream) => `${stream.from} ping`),
    )
    for (const stream of streams) stream.close()
  })

  test('a request in flight is answered by whom it was sent to, wherever its host is moved', async () => {
    await rig.say(state('100 probe'))
    const going = callsTo(rig, 'moved', { calls: 20, atOnce: 20, slow: true })
    await delay(200)
    for (const step of ['0 dead', '50 drain', '0 drain', '100 probe']) await rig.say(state(step))
    const { faults, by } = await going
    expect(faults).toEqual([])
    expect((by['b1'] ?? 0) + (by['b2'] ?? 0)).toBe(20)
  })

  test('a cluster of a merged priority dies: no call that may be repeated fails', async () => {
    await rig.say(state('50 returning'))
    const going = callsTo(rig, 'moved', { calls: 500, perSecond: 250 })
    await delay(500)
    await Promise.all(['c1', 'c2'].map((name) => rig.farEnds[name]?.stop()))
    const { faults, by } = await going
    expect(faults).toEqual([])
    expect((by['b1'] ?? 0) + (by['b2'] ?? 0)).toBeGreaterThan(350)
  })

  test('all else is gone: who comes last is reached', async () => {
    await rig.farEnds['d1']?.stop()
    await rig.say({ ...state('0 drain') })
    // Of drained, c is last and gone too; of moved, b is last and the only one left.
    await callsTo(rig, 'moved', { calls: 10, atOnce: 1 })
    expect((await callsTo(rig, 'moved', { calls: 50, atOnce: 5 })).faults).toEqual([])
  })
})

test('a connection to a stream ends after as long as a policy lets it live, each at its own time', async () => {
  const { config, ...rest } = state('100 probe')
  const db = { ports: ['tcp 7000 tcp'], sources, tiers: [{ b: 1 }], policy: { connectionMaxMs: 300 } }
  await rig.say({ ...rest, config: { members: [], ...config, imports: { 'shop/db': db } } })
  // Acknowledged is a little before in use.
  const jitter = /"max_downstream_connection_duration_jitter_percentage": \{\s*"value": 20/
  await eventually(5000, 'the listener is in use', async () => {
    const dump = await rig.admin('/config_dump?resource=dynamic_listeners')
    return jitter.test(dump.slice(dump.indexOf('"active_state"')).split('"draining_state"')[0] ?? '')
  })
  const streams = await Promise.all(Array.from({ length: 3 }, openStream))
  expect(await Promise.all(streams.map((stream) => stream.closed))).toEqual([true, true, true])
})

/** One connection to the stream, through the caller's Envoy. */
async function openStream() {
  const [host, port] = rig.at.tcp.split(':')
  const socket: Socket = connect({ host: String(host), port: Number(port) })
  socket.on('error', () => socket.destroy())
  const echo = () =>
    new Promise<string>((resolve) => {
      socket.once('data', (data) => resolve(data.toString()))
      socket.once('close', () => resolve('closed'))
      socket.write('ping')
    })
  const closed = new Promise<true>((resolve) => socket.once('close', () => resolve(true)))
  const from = (await echo()).split(' ')[0]
  return { from, echo, closed, close: () => void socket.destroy() }
}
