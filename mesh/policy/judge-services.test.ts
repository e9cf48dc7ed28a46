import { expect, test } from 'vitest'
import type { CompiledProbe } from '#mesh/model/cluster-config.ts'
import { type ClusterName, parseClusterName, serviceKey } from '#mesh/model/id.ts'
import type { ProbeResult } from '#mesh/model/traffic.ts'
import { percentOf } from '#mesh/policy/judge-health.ts'
import {
  type AskedService,
  type JudgedServices,
  judgeServices,
  noServices,
  type ServiceMove,
  serviceEvidence,
  serviceSaw,
  stateId,
} from '#mesh/policy/judge-services.ts'
import { keptServices, restoredServices } from '#mesh/policy/kept-health.ts'

const books = serviceKey('shop', 'books')
const probe: CompiledProbe = { kind: 'http', port: 80, path: '/healthz', everyMs: 3000 }
const failback = { holdSeconds: 60, rampSeconds: 300 }
const clusters = (...names: string[]): ClusterName[] => names.map(parseClusterName)

/** One service in some clusters, asked every 3 s; what is answered is `answers`' word. */
function world(...names: string[]) {
  let judged: JudgedServices = noServices
  let now = 0
  let asked: AskedService | undefined = {
    ...{ probe, failback, exporters: clusters(...names), aside: new Set(), away: new Set() },
  }
  let frozen = false
  const answers = new Map<string, ProbeResult>()
  const moves: ServiceMove[] = []
  const stateOf = (name: string) => judged.get(books)?.judged.clusters.get(parseClusterName(name))
  return {
    answers,
    moves,
    judged: () => judged.get(books)?.judged,
    said: () => moves.map(({ kind, cluster, service }) => `${kind} ${service} ${cluster}`),
    ask: (more: Partial<AskedService> | undefined) => {
      asked = more && asked && { ...asked, ...more }
    },
    freeze: (is: boolean) => {
      frozen = is
    },
    restart: (downMs: number) => {
      const kept = JSON.parse(JSON.stringify(keptServices(judged, now)))
      now = 7
      judged = restoredServices(kept, now, downMs)
    },
    phase: (name: string) => stateOf(name)?.phase,
    percent: (name: string) => {
      const state = stateOf(name)
      return state ? percentOf(state, failback, now) : 100
    },
    run: (rounds: number) => {
      for (let round = 0; round < rounds; round += 1) {
        const all = asked?.exporters ?? []
        for (const cluster of all) {
          now += 3000 / all.length
          const result = answers.get(cluster) ?? 'ok'
          const isAsked = !asked?.aside.has(cluster) && !asked?.away.has(cluster)
          const probes = isAsked ? [{ service: books, cluster, result, said: result === 'answer' ? '503' : '' }] : []
          const next = judgeServices(judged, { probes, asked: new Map(asked ? [[books, asked]] : []), frozen }, now)
          judged = next.judged
          moves.push(...next.moves)
        }
        if (!asked) {
          const next = judgeServices(judged, { probes: [], asked: new Map(), frozen }, now)
          judged = next.judged
          moves.push(...next.moves)
        }
      }
    },
  }
}

test('out after three failures, with the probe’s word; back after five good ones, the hold and the ramp', () => {
  const w = world('b', 'c')
  w.run(3)
  w.answers.set('b', 'answer')
  w.run(2)
  expect(w.said()).toEqual([])
  w.run(1)
  expect([w.said(), w.percent('b'), w.percent('c')]).toEqual([['shift shop/books b'], 0, 100])
  const [{ probe: name, evidence } = { probe: '' }] = w.moves
  const saw = evidence && serviceEvidence(name, evidence)
  expect(saw).toEqual({ probe: 'GET /healthz', said: '503', failed: 3, of: 3, forMs: 6000 })
  expect(saw && serviceSaw(saw)).toBe('probe GET /healthz: 503, 3 of 3')
  w.answers.clear()
  w.run(4)
  expect(w.phase('b')).toBe('out')
  w.run(1)
  expect(w.phase('b')).toBe('holding')
  w.run(30)
  expect([w.phase('b'), w.percent('b') > 0, w.percent('b') < 100]).toEqual(['returned', true, true])
  w.run(100)
  expect(w.said()).toEqual(['shift shop/books b', 'return shop/books b', 'ramp-done shop/books b'])
})

test('it fails wherever it is asked: the question is wrong, or nobody is better; nothing moves', () => {
  const w = world('b', 'c', 'd')
  w.run(3)
  for (const name of ['b', 'c', 'd']) w.answers.set(name, 'answer')
  w.run(20)
  expect([w.said(), w.judged()?.isolated]).toEqual([[], true])
})

test('where one cluster alone is asked its gateway’s answer bears witness', () => {
  const w = world('b')
  w.answers.set('b', 'timeout')
  w.run(3)
  expect(w.said()).toEqual(['shift shop/books b'])
})

test('a third at most is out, and who is out by his gateways is one of them', () => {
  const four = world('b', 'c', 'd', 'e')
  four.run(3)
  for (const name of ['b', 'c']) four.answers.set(name, 'answer')
  four.run(9)
  expect([four.said().length, [...(four.judged()?.capped ?? [])].length]).toEqual([1, 1])
  const w = world('b', 'c', 'd')
  w.run(3)
  w.ask({ away: new Set(clusters('d')) })
  w.answers.set('b', 'answer')
  w.run(9)
  expect([w.said(), [...(w.judged()?.capped ?? [])]]).toEqual([[], ['b']])
})

test('what says nothing is no evidence: no failure, no good, and no row goes on over it', () => {
  const w = world('b', 'c')
  w.run(3)
  w.answers.set('b', 'unsure')
  w.run(9)
  expect([w.said(), w.judged()?.isolated]).toEqual([[], false])
  for (const result of ['answer', 'answer', 'unsure', 'answer', 'answer'] as const) {
    w.answers.set('b', result)
    w.run(1)
  }
  expect(w.said()).toEqual([])
  w.run(1)
  expect(w.said()).toEqual(['shift shop/books b'])
  w.answers.set('b', 'unsure')
  w.run(60)
  expect(w.phase('b')).toBe('out')
  expect(w.judged()?.gateways.get(stateId(parseClusterName('b')))?.fails).toBe(0)
})

test('frozen: an event, and nothing moves until that ends', () => {
  const w = world('b', 'c')
  w.run(3)
  w.freeze(true)
  w.answers.set('b', 'answer')
  w.run(9)
  expect([w.said(), w.percent('b')]).toEqual([['frozen-shift shop/books b'], 100])
  w.freeze(false)
  w.run(1)
  expect(w.said()).toEqual(['frozen-shift shop/books b', 'shift shop/books b'])
})

test('who is drained, or cannot be asked, is not judged; the others are, one alone too', () => {
  const w = world('b', 'c')
  w.run(3)
  w.ask({ aside: new Set(clusters('c')) })
  w.answers.set('b', 'answer')
  w.run(3)
  expect(w.said()).toEqual(['shift shop/books b'])
})

test('a verdict ends with its question, and an event says so: no probe, another probe, another exporter', () => {
  for (const more of [undefined, { probe: { ...probe, path: '/other' } }, { exporters: clusters('c') }]) {
    const w = world('b', 'c')
    w.run(3)
    w.answers.set('b', 'answer')
    w.run(3)
    expect(w.percent('b')).toBe(0)
    w.answers.clear()
    w.ask(more)
    w.run(1)
    expect([w.percent('b'), w.said()]).toEqual([100, ['shift shop/books b', 'ramp-done shop/books b']])
  }
})

test('another interval is the same question', () => {
  const w = world('b', 'c')
  w.run(3)
  w.answers.set('b', 'answer')
  w.run(3)
  w.ask({ probe: { ...probe, everyMs: 10_000 } })
  w.run(1)
  expect([w.percent('b'), w.said()]).toEqual([0, ['shift shop/books b']])
})

test('asked seldom: three failures still, and the answers of before still count', () => {
  const w = world('b', 'c')
  const seldom = { probe: { ...probe, everyMs: 60_000 } }
  w.ask(seldom)
  w.run(3)
  w.answers.set('b', 'answer')
  w.run(3)
  expect(w.said()).toEqual(['shift shop/books b'])
})

test('after a restart: out until five good answers, and in a ramp not a step further', () => {
  const w = world('b', 'c')
  w.run(3)
  w.answers.set('b', 'answer')
  w.run(3)
  w.restart(600_000)
  expect([w.phase('b'), w.percent('b')]).toEqual(['out', 0])
  w.answers.clear()
  w.run(4)
  expect(w.phase('b')).toBe('out')
  w.run(40)
  const before = w.percent('b')
  expect(before).toBeGreaterThan(0)
  w.restart(600_000)
  expect(w.percent('b')).toBe(before)
})
