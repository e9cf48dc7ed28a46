import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ClusterName } from '#mesh/model/id.ts'
import { type Candidate, candidateOf, type Spread, spread } from '#mesh/policy/spread.ts'

const facts = { factor: 140, spillByReadiness: true }
const at = (name: string, more: Partial<Candidate> = {}): Candidate => ({
  ...{ cluster: name as ClusterName, weight: 1, pods: 2, ready: 2, percent: 100 },
  ...more,
})
const dead = { dead: true, percent: 0 } as const

/** `b 70 c 30 | d | last: e` */
const textOf = ({ priorities }: Spread): string =>
  priorities
    .map((level) => {
      const names = level.map(({ cluster, share }) => (share > 0 ? `${cluster} ${+(share * 100).toFixed(1)}` : cluster))
      return `${level.some((p) => p.last) ? 'last: ' : ''}${names.join(' ')}`
    })
    .join(' | ')

const a70 = at('a', { weight: 70 })
const b30 = (more: Partial<Candidate> = {}) => at('b', { weight: 30, ...more })

describe('where the calls go', () => {
  test.each<[name: string, tiers: readonly (readonly Candidate[])[], expected: string]>([
    ['the first tier by weight', [[a70, b30()], [at('c')]], 'a 70 b 30 | c'],
    ['half of one: the other half to the next tier', [[at('b', { percent: 50 })], [at('c')]], 'b 50 c 50'],
    ['half of one: its mates have room', [[a70, b30({ percent: 50 })], [at('c')]], 'a 85 b 15 | c'],
    ['one is dead: its mates take what they have pods for', [[a70, b30(dead)], [at('c')]], 'a 70 c 30 | last: b'],
    [
      'dead and small: its mates take all',
      [[at('a', { pods: 9, ready: 9 }), b30(dead)], [at('c')]],
      'a 100 | c | last: b',
    ],
    ['a capacity: what does not fit goes on', [[at('a', { cap: 0.4 })], [at('b')], [at('c')]], 'a 40 b 60 | c'],
    ['a capacity among mates', [[a70, b30({ cap: 0.1 })], [at('c')]], 'a 90 b 10 | c'],
    ['a capacity that holds it all', [[at('a', { cap: 1 })], [at('b')]], 'a 100 | b'],
    ['dead: the next', [[at('a', dead)], [at('b')], [at('c')]], 'b 100 | c | last: a'],
    ['drained in a lower tier: last', [[at('a')], [at('b', { percent: 0 })], [at('c')]], 'a 100 | c | last: b'],
    ['everybody dead: nothing changes', [[at('a', dead)], [at('b', dead)]], 'a 100 | b'],
    ['only dead ones are left', [[at('a', dead)], [at('b', { ready: 0 })]], 'a 100'],
    ['nobody ready anywhere: their order', [[at('a', { ready: 0 })], [at('b', { ready: 0 })]], 'a 100 | b'],
    [
      'nobody ready, and the first drained',
      [[at('a', { ready: 0, percent: 0 })], [at('b', { ready: 0 })]],
      'b 100 | last: a',
    ],
    ['unknown is not empty', [[at('a', { ready: undefined, pods: 1 })], [at('b')]], 'a 100 | b'],
    ['half its pods gone', [[at('a', { ready: 1, pods: 2 })], [at('b')]], 'a 70 b 30'],
    ['all its pods gone, and its mates are few', [[a70, b30({ ready: 0 })], [at('c')]], 'a 70 c 30'],
    ['no other place: it stays', [[at('a', { cap: 0.3 })]], 'a 100'],
    ['no room at all: above their limits alike', [[at('a', { cap: 0.4 })], [at('b', { cap: 0.2 })]], 'a 66.7 b 33.3'],
    ['what has no limit takes what has no room', [[a70, b30(dead)], [at('c', { cap: 0.1 })]], 'a 90 c 10 | last: b'],
    ['no capacity left anywhere', [[at('a', { cap: 0 })], [at('b', { cap: 0 })]], 'a 100 | b'],
    ['nobody', [], ''],
  ])('%s', (_, tiers, expected) => expect(textOf(spread(tiers, facts))).toBe(expected))

  test('tiers stand as they are only where nobody is limited', () => {
    const same = (...tiers: Candidate[][]) => spread(tiers, facts).sameAsTiers
    expect(same([a70, b30()], [at('c')])).toBe(true)
    expect(same([at('a', dead)], [at('b', dead)])).toBe(true)
    expect(same([a70, b30({ percent: 90 })], [at('c')])).toBe(false)
    expect(same([at('a')], [at('c', { percent: 90 })])).toBe(false)
    expect(same([at('a')], [at('c', dead)])).toBe(false)
    expect(same([at('a', { ready: 1 })], [at('c')])).toBe(false)
  })
})

describe('a member of a tier', () => {
  const member = { cluster: 'b' as ClusterName, weight: 30 }
  const of = (spillByReadiness: boolean, ready: number | undefined, total: number, peak?: number) => {
    const counted = { ready, total, ...(peak === undefined ? {} : { peak }) }
    const { weight, pods } = candidateOf(member, counted, { spillByReadiness, percent: 100 })
    return [weight, pods]
  }
  test.each([
    ['without a policy the ready part scales the weight', of(false, 2, 4), [15, 2]],
    ['with one it is a loss', of(true, 2, 4, 4), [30, 4]],
    ['pods that start are nobody’s loss', of(true, 2, 10, 2), [30, 2]],
    ['pods that were taken away are nobody’s loss', of(true, 3, 3, 10), [30, 3]],
    ['some of each', of(true, 3, 5, 10), [30, 5]],
    ['no history: no loss', of(true, 2, 4), [30, 2]],
    ['not heard: as one pod', of(true, undefined, 0, 4), [30, 1]],
  ])('%s', (_, found, expected) => expect(found).toEqual(expected))
})

/** Tiers of up to six clusters, named by their place. */
const anyTiers = (limits: boolean) =>
  fc
    .array(
      fc.array(
        fc.record({
          weight: fc.integer({ min: 1, max: 1000 }),
          pods: fc.integer({ min: 1, max: 50 }),
          lost: fc.constantFrom(0, 0, 0.5, 1),
          percent: limits ? fc.constantFrom(100, 100, 90, 50, 10, 0) : fc.constant(100),
          cap: limits ? fc.option(fc.constantFrom(0, 0.01, 0.3, 0.6, 1), { nil: undefined }) : fc.constant(undefined),
          dead: fc.constantFrom(false, false, false, true),
        }),
        { minLength: 1, maxLength: 3 },
      ),
      { minLength: 1, maxLength: 4 },
    )
    .map((tiers) =>
      tiers.map((tier, t) =>
        tier.map(({ weight, pods, lost, percent, cap, dead: isDead }, m): Candidate => {
          const ready = Math.ceil(pods * (1 - lost))
          const limited = { percent: isDead ? 0 : percent, ...(cap === undefined ? {} : { cap }) }
          return at(`t${t}m${m}`, { weight, pods, ready, ...limited, ...(isDead ? { dead: true } : {}) })
        }),
      ),
    )

const anyFacts = fc.record({ factor: fc.constantFrom(100, 140, 200, 1000), spillByReadiness: fc.constant(true) })
const sumOf = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)
const sharesOf = (found: Spread) => new Map(found.priorities.flat().map((p) => [p.cluster as string, p.share]))

describe('for any tiers', () => {
  test('shares are of the first priority and sum to 1; every cluster with a ready pod is somewhere, once', () => {
    fc.assert(
      fc.property(anyTiers(true), anyFacts, (tiers, f) => {
        const { priorities } = spread(tiers, f)
        const all = priorities.flat()
        expect(sumOf((priorities[0] ?? []).map((p) => p.share))).toBeCloseTo(1, 3)
        expect(all.filter((p) => !(p.weight > 0) || !(p.share >= 0))).toEqual([])
        expect(
          priorities
            .slice(1)
            .flat()
            .filter((p) => p.share > 0),
        ).toEqual([])
        const names = all.map((p) => p.cluster).toSorted()
        const ready = tiers.flat().filter((c) => c.ready !== 0)
        const wanted = (ready.length > 0 ? ready : tiers.flat()).map((c) => c.cluster).toSorted()
        expect(names).toEqual(wanted)
        const alive = tiers.flat().some((c) => !c.dead && c.percent > 0 && c.ready !== 0)
        expect(
          priorities
            .slice(0, -1)
            .flat()
            .some((p) => p.last),
        ).toBe(false)
        if (alive) expect(priorities[0]?.some((p) => p.last)).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })

  test('the order of tiers is kept: among those that have a share, and among those that wait', () => {
    fc.assert(
      fc.property(anyTiers(true), anyFacts, (tiers, f) => {
        const { priorities } = spread(tiers, f)
        const tierAt = (p: { readonly cluster: string }) => Number(p.cluster[1])
        const waiting = priorities.slice(1).filter((level) => !level.some((p) => p.last))
        for (const level of waiting) expect(new Set(level.map(tierAt)).size).toBe(1)
        const order = waiting.map((level) => tierAt(level[0] ?? { cluster: '' }))
        expect(order).toEqual(order.toSorted((a, b) => a - b))
      }),
      { numRuns: 500 },
    )
  })

  test('nobody is above a limit while another has room', () => {
    fc.assert(
      fc.property(anyTiers(true), anyFacts, (tiers, f) => {
        const shares = sharesOf(spread(tiers, f))
        const takers = tiers.flat().filter((c) => (shares.get(c.cluster) ?? 0) > 0)
        const isFree = (c: Candidate) => c.cap === undefined && c.percent === 100
        if (!takers.some(isFree)) return
        for (const c of takers) expect(shares.get(c.cluster)).toBeLessThan((c.cap ?? 1) + 0.001)
      }),
      { numRuns: 1000 },
    )
  })

  test('more of a cluster is never less for it', () => {
    fc.assert(
      fc.property(anyTiers(true), anyFacts, fc.nat(), (tiers, f, pick) => {
        const one = tiers.flat()[pick % tiers.flat().length]
        if (one === undefined || one.dead) return
        let before = 0
        for (const percent of [0, 10, 20, 50, 90, 99, 100]) {
          const changed = tiers.map((tier) => tier.map((c) => (c === one ? { ...c, percent } : c)))
          const others = tiers.flat().some((c) => c !== one && !c.dead && c.percent > 0 && c.ready !== 0)
          const share = sharesOf(spread(changed, f)).get(one.cluster) ?? 0
          if (percent === 0 && !others) continue // everybody is out: nothing changes
          expect(share).toBeGreaterThanOrEqual(before - 0.001)
          before = share
        }
      }),
      { numRuns: 500 },
    )
  })

  test('deaths and lost pods give what Envoy’s own formula gives for the tiers', () => {
    fc.assert(
      fc.property(anyTiers(false), anyFacts, (tiers, f) => {
        const up = (c: Candidate) => (c.dead ? 0 : (c.ready ?? 0))
        if (tiers.flat().every((c) => up(c) === 0)) return
        const health = tiers.map((tier) => (f.factor * sumOf(tier.map(up))) / sumOf(tier.map((c) => c.pods)) / 100)
        const total = Math.min(1, sumOf(health.map((h) => Math.min(1, h))))
        let left = 1
        const loads = health.map((h) => {
          const load = Math.min(left, Math.min(1, h) / total)
          left -= load
          return load
        })
        const shares = sharesOf(spread(tiers, f))
        const found = tiers.map((tier) => sumOf(tier.map((c) => shares.get(c.cluster) ?? 0)))
        found.forEach((share, t) => {
          expect(share).toBeCloseTo(loads[t] ?? 0, 3)
        })
      }),
      { numRuns: 2000 },
    )
  })
})
