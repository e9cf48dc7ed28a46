import { expect, test } from 'vitest'
import type { ClusterName } from '#mesh/model/id.ts'
import type { ProbeResult } from '#mesh/model/traffic.ts'
import {
  type Facts,
  type Judged,
  judge,
  lostActing,
  type Move,
  nothingJudged,
  percentOf,
} from '#mesh/policy/judge-health.ts'
import { keptHealth, restoredHealth } from '#mesh/policy/kept-health.ts'

/** Clusters with gateways, probed every 3 s in turn; what each answers is `dead`'s word. */
function world(shape: Record<string, number>, about: Partial<Facts> = {}) {
  const imported = new Map(
    Object.entries(shape).map(([name, count]) => [
      name as ClusterName,
      Array.from({ length: count }, (_, at) => `${name}${at + 1}`),
    ]),
  )
  let judged: Judged = nothingJudged(0)
  let now = 0
  let facts: Facts = {
    ...{ probes: [], imported, centreHeardMsAgo: 0, beacons: [], frozen: false, lost: new Set(), drained: new Set() },
    ...about,
  }
  const dead = new Map<string, ProbeResult>()
  const moves: Move[] = []
  const self = {
    moves,
    judged: () => judged,
    now: () => now,
    facts: (next: Partial<Facts>) => {
      facts = { ...facts, ...next }
      return facts
    },
    kill: (...addresses: string[]) => {
      for (const one of addresses) dead.set(one, 'refused')
    },
    answer: (address: string, result: ProbeResult) => dead.set(address, result),
    heal: () => dead.clear(),
    restart: (downMs: number) => {
      const kept = keptHealth(judged, now)
      now = 5
      judged = restoredHealth(JSON.parse(JSON.stringify(kept)), now, downMs)
    },
    /** Seconds of probing, one gateway after the other within each period. */
    run: (seconds: number) => {
      for (let round = 0; round < seconds / 3; round += 1) {
        const all = [...imported].flatMap(([cluster, addresses]) => addresses.map((address) => ({ cluster, address })))
        for (const { cluster, address } of all) {
          now += 3000 / all.length
          const result = judge(
            judged,
            { ...facts, probes: [{ cluster, address, result: dead.get(address) ?? 'ok' }] },
            now,
          )
          judged = result.judged
          moves.push(...result.moves)
        }
      }
      return self
    },
    /** Time goes by, and nobody is asked. */
    still: (ms: number) => {
      now += ms
      judged = judge(judged, facts, now).judged
    },
    phase: (name: string) => judged.clusters.get(name as ClusterName)?.phase,
    percent: (name: string, holdSeconds = 60, rampSeconds = 300) => {
      const state = judged.clusters.get(name as ClusterName)
      return state && percentOf(state, { holdSeconds, rampSeconds }, now)
    },
    told: () => moves.map(({ kind, cluster }) => `${kind} ${cluster}`),
  }
  return self
}

test('a cluster is out after three failures of its gateway, and the verdict names its evidence', () => {
  const w = world({ b: 1, c: 1 })
  w.run(30).kill('b1')
  w.run(6)
  expect(w.told()).toEqual([])
  w.run(3)
  expect(w.moves).toEqual([
    { kind: 'shift', cluster: 'b', evidence: { failed: 1, of: 1, last: 'refused', forMs: 6000 } },
  ])
  expect([w.percent('b'), w.percent('c')]).toEqual([0, 100])
})

test.each([
  [1, 1, true],
  [2, 1, false],
  [2, 2, true],
  [3, 1, false],
  [3, 2, true],
  [4, 2, false],
  [4, 3, true],
])('of %i gateways %i dead: out is %s', (gateways, killed, out) => {
  const w = world({ b: gateways, c: 1 })
  w.run(9).kill(...['b1', 'b2', 'b3', 'b4'].slice(0, killed))
  w.run(30)
  expect(w.phase('b')).toBe(out ? 'out' : 'in')
  expect([...w.judged().gateways.values()].filter(({ down }) => down)).toHaveLength(killed)
})

test('an answer with wrong TLS is an answer', () => {
  const w = world({ b: 1, c: 1 })
  w.answer('b1', 'trust')
  w.run(60)
  expect(w.told()).toEqual([])
})

test('it returns after five good probes, a hold and a ramp of ten steps', () => {
  const w = world({ b: 1, c: 1 })
  w.run(9).kill('b1')
  w.run(60).heal()
  w.run(12)
  expect(w.phase('b')).toBe('out')
  w.run(3)
  expect(w.phase('b')).toBe('holding')
  w.run(57)
  expect([w.phase('b'), w.percent('b')]).toEqual(['holding', 0])
  const seen = new Set<number | undefined>()
  for (let round = 0; round < 110; round += 1) seen.add(w.run(3).percent('b'))
  expect([...seen]).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
  expect(w.told()).toEqual(['shift b', 'return b', 'ramp-done b'])
  expect(w.judged().clusters.get('b' as ClusterName)?.evidence).toBeUndefined()
})

test('a policy of its own has its own hold and ramp; the event comes with the first of them', () => {
  const failbacks = new Map([
    [
      'b' as ClusterName,
      [
        { holdSeconds: 60, rampSeconds: 300 },
        { holdSeconds: 6, rampSeconds: 0 },
      ],
    ],
  ])
  const w = world({ b: 1, c: 1 }, { failbacks })
  w.run(9).kill('b1')
  w.run(30).heal()
  w.run(21)
  expect([w.percent('b', 6, 0), w.percent('b')]).toEqual([100, 0])
  expect(w.told()).toEqual(['shift b', 'return b'])
  expect(w.phase('b')).toBe('returned')
})

test('nobody answers: it is this relay that is cut off, and nothing moves, nor when the line is back', () => {
  const w = world({ b: 1, c: 2, d: 1 })
  w.run(9).kill('b1', 'c1', 'c2', 'd1')
  w.run(120)
  expect(w.judged().isolated).toBe(true)
  expect([...w.judged().gateways.values()].some(({ down }) => down)).toBe(false)
  w.heal()
  w.run(30)
  expect([w.told(), w.judged().isolated]).toEqual([[], false])
})

test('cut off while a cluster is out: it stays out, and the others stay in', () => {
  const w = world({ b: 1, c: 1, d: 1 })
  w.run(9).kill('b1')
  w.run(12).kill('c1', 'd1')
  w.run(300)
  expect([w.phase('b'), w.phase('c'), w.phase('d')]).toEqual(['out', 'in', 'in'])
})

test.each([
  ['the centre was heard', { centreHeardMsAgo: 9000 }, 'out'],
  ['the centre is silent', { centreHeardMsAgo: 11_000 }, 'in'],
  ['the centre was never heard', { centreHeardMsAgo: undefined }, 'in'],
  ['a beacon answers', { centreHeardMsAgo: undefined, beacons: [false, true] }, 'out'],
] as const)('one other cluster only, and it dies: %s', (_name, about, phase) => {
  const w = world({ b: 1 }, about)
  w.run(9).kill('b1')
  w.run(30)
  expect(w.phase('b')).toBe(phase)
})

test('with two others and both dead the centre’s word does not make one of them the culprit', () => {
  const w = world({ b: 1, c: 1 }, { centreHeardMsAgo: 0, beacons: [true] })
  w.run(9).kill('b1', 'c1')
  w.run(60)
  expect(w.told()).toEqual([])
})

test('a third of the clusters at most, in the order in which they died; the next takes its turn', () => {
  const w = world({ b: 1, c: 1, d: 1, e: 1 })
  w.run(9).kill('d1')
  w.run(12).kill('b1', 'c1')
  w.run(30)
  expect(w.told()).toEqual(['shift d'])
  expect([...w.judged().capped]).toEqual(['b', 'c'])
  w.heal()
  w.kill('c1')
  w.run(78)
  expect(w.told()).toEqual(['shift d', 'return d', 'shift c'])
})

test('out again soon after its return: each hold is twice the one before, half an hour at most, and quiet wears it off', () => {
  const w = world({ b: 1, c: 1 })
  w.run(9)
  const holds = Array.from({ length: 7 }, () => {
    w.kill('b1')
    w.run(12).heal()
    w.run(15)
    const from = w.now()
    while (w.percent('b') === 0) w.run(3)
    return Math.round((w.now() - from) / 1000)
  })
  expect(holds).toEqual([60, 120, 240, 480, 960, 1800, 1800])
  w.run(400)
  expect(w.phase('b')).toBe('in')
  w.run(6 * 1800)
  expect(w.judged().clusters.get('b' as ClusterName)?.flaps).toBe(0)
})

test.each([
  [2, 0],
  [6, 0],
  [20, 1],
])('a cluster that dies and returns every %i s: %i shifts', (period, shifts) => {
  const w = world({ b: 1, c: 1 })
  w.run(9)
  for (let at = 0; at < 900; at += 3) {
    if (Math.floor(w.now() / 1000 / (period / 2)) % 2 === 0) w.kill('b1')
    else w.heal()
    w.run(3)
  }
  expect(w.told()).toEqual(Array.from({ length: shifts }, () => 'shift b'))
})

test('frozen: nothing moves and no ramp goes on, one event says what would have been; thawed, it is', () => {
  const w = world({ b: 1, c: 1, d: 1 })
  w.run(9).kill('b1')
  w.run(12).heal()
  w.run(120)
  const before = w.percent('b')
  w.facts({ frozen: true })
  w.kill('c1')
  w.run(300)
  expect(w.percent('b')).toBe(before)
  expect(w.told()).toEqual(['shift b', 'return b', 'frozen-shift c'])
  expect([...w.judged().withheld]).toEqual(['c'])
  w.facts({ frozen: false })
  w.run(3)
  expect(w.told()).toEqual(['shift b', 'return b', 'frozen-shift c', 'shift c'])
})

test('started again in mid-ramp it goes on from where it was, once the gateway answered', () => {
  const w = world({ b: 1, c: 1 })
  w.run(9).kill('b1')
  w.run(12).heal()
  w.run(180)
  const before = w.percent('b')
  expect(before).toBeGreaterThan(20)
  w.restart(3_600_000)
  expect(w.percent('b')).toBe(before)
  w.kill('b1')
  w.run(6)
  expect(w.percent('b')).toBe(before)
  w.heal()
  w.run(60)
  expect(w.percent('b')).toBeGreaterThan(before ?? 0)
})

test('started again while a cluster is out: it stays out until five good probes, and is held as long as before', () => {
  const w = world({ b: 2, c: 1 })
  w.run(9).kill('b1', 'b2')
  w.run(30)
  w.restart(1000)
  expect([w.phase('b'), w.percent('b')]).toEqual(['out', 0])
  w.run(30)
  expect(w.phase('b')).toBe('out')
  w.heal()
  w.run(12)
  expect(w.phase('b')).toBe('out')
  w.run(6)
  expect(w.phase('b')).toBe('holding')
})

test('a drained cluster is not judged and does not count: without it there is one, and the centre decides', () => {
  const w = world({ b: 1, c: 1 }, { drained: new Set(['c' as ClusterName]), centreHeardMsAgo: undefined })
  w.run(9).kill('c1')
  w.run(60)
  expect([w.phase('c'), w.told()]).toEqual(['in', []])
  w.kill('b1')
  w.run(60)
  expect(w.told()).toEqual([])
})

test('that the centre does not hear a cluster is no sign of death, and acts only in small numbers while it is heard itself', () => {
  const lost = new Set(['b'] as ClusterName[])
  const w = world({ b: 1, c: 1, d: 1 }, { lost })
  w.run(600)
  expect(w.told()).toEqual([])
  const acting = (about: Partial<Facts>) => [...lostActing(w.judged(), w.facts(about))]
  expect(acting({})).toEqual(['b'])
  expect(acting({ centreHeardMsAgo: 11_000 })).toEqual([])
  expect(acting({ centreHeardMsAgo: 0, frozen: true })).toEqual([])
  expect(acting({ frozen: false, lost: new Set(['b', 'c'] as ClusterName[]) })).toEqual([])
})

test('a cluster that nothing is imported from for a while is out still when it is imported again', () => {
  const w = world({ b: 1, c: 1 })
  w.run(9).kill('b1')
  w.run(12)
  const { imported } = w.facts({})
  w.facts({ imported: new Map([...imported].filter(([name]) => name !== 'b')) })
  w.run(600)
  expect(w.phase('b')).toBe('out')
  w.facts({ imported })
  w.run(3)
  expect(w.phase('b')).toBe('out')
})

test('a relay that stood still for minutes takes no step until it has asked again', () => {
  const w = world({ b: 1, c: 1 })
  w.run(9).kill('b1')
  w.run(12).heal()
  w.run(120)
  const before = w.percent('b')
  w.still(200_000)
  expect([before, w.percent('b')]).toEqual([20, 20])
  w.kill('b1')
  w.run(12)
  expect(w.told()).toEqual(['shift b', 'return b', 'shift b'])
})

test('who is held for no time has nothing before the return is said, and all of it then', () => {
  const atOnce = { holdSeconds: 0, rampSeconds: 0 }
  const state = { since: 0, flaps: 0, goodSince: 0 } as const
  expect(percentOf({ ...state, phase: 'holding' }, atOnce, 1500)).toBe(0)
  expect(percentOf({ ...state, phase: 'returned' }, atOnce, 1500)).toBe(100)
})
