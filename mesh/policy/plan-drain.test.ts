import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { DrainKind, DrainState } from '#mesh/model/drain.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import { type DrainSight, type DrainStanding, type DrainStep, nextDrainStep } from '#mesh/policy/plan-drain.ts'

const fine: DrainSight = { behind: [], unheard: [], silent: [], quiet: { is: 'not-yet', why: 'b (3 left)' } }
const quiet: DrainSight = { ...fine, quiet: { is: 'proved', proof: '0 calls' } }
const [b, c] = ['b', 'c'].map(parseClusterName)
const ramping: DrainStanding = {
  ...{ kind: 'cluster', state: 'ramping', percent: 50, overMs: 50_000, graceMs: 60_000, stepAt: 0 },
}
const said = (step: DrainStep): string => (step.kind === 'wait' ? `wait: ${step.why}` : `${step.state} ${step.percent}`)
const matching = (text: string | RegExp) => (typeof text === 'string' ? text : expect.stringMatching(text))
const next = (change: Partial<DrainStanding>, at: number, sight: DrainSight = fine): string =>
  said(nextDrainStep({ ...ramping, ...change }, sight, at))

describe('what a drain does next', () => {
  test('its first step at once, each further one in its time', () => {
    expect(next({ percent: 100 }, 0)).toBe('ramping 75')
    expect(next({}, 9999)).toMatch(/^wait/)
    expect(next({}, 10_000)).toBe('ramping 25')
    expect(next({ percent: 10 }, 10_000)).toBe('ramping 0')
    expect(next({ kind: 'gateway', percent: 100 }, 0)).toBe('ramping 0')
    expect(next({ overMs: 0 }, 0)).toBe('ramping 25')
  })

  test('a relay that is heard and does not follow holds it; one that is not heard for half a minute', () => {
    const behind = { ...fine, behind: b ? [b] : [] }
    expect(next({}, 1_000_000, behind)).toBe('wait: b does not follow the last step yet')
    expect(next({ percent: 0 }, 1_000_000, behind)).toBe('wait: b does not follow the last step yet')
    const unheard = { ...fine, unheard: b && c ? [b, c] : [] }
    expect(next({}, 29_999, unheard)).toBe('wait: b, c are not heard; it is waited for 30 s')
    expect(nextDrainStep(ramping, unheard, 30_000)).toMatchObject({
      percent: 25,
      why: /without b, c, which are not heard/,
    })
  })

  test('one that never told what it follows is waited for once, and named from then on', () => {
    const silent = { ...fine, silent: c ? [c] : [] }
    expect(next({ percent: 75 }, 29_999, silent)).toBe('wait: c has never told what it follows; it is waited for 30 s')
    for (const [percent, at] of [[75, 30_000] as const, [50, 10_000] as const])
      expect(nextDrainStep({ ...ramping, percent }, silent, at)).toMatchObject({
        why: /without c, which has never told what it follows/,
      })
    const gateway = { kind: 'gateway', percent: 0, graceMs: 0 } as const
    expect([next(gateway, 29_999, silent), next(gateway, 30_000, silent)]).toEqual([/^wait/, 'closing 0'].map(matching))
    expect(nextDrainStep({ ...ramping, state: 'proving' }, { ...silent, quiet: quiet.quiet }, 0)).toMatchObject({
      ...{ state: 'done', why: '0 calls; without c, which has never told what it follows' },
    })
    // It cannot be waited for until it has opened: it would never say so.
    const back = (at: number) => next({ state: 'returning', percent: 0 }, at, silent)
    expect([back(29_999), back(30_000)]).toEqual([/^wait: c has never/, 'returning 50'].map(matching))
  })

  test('what is open has the grace period, its last 20 s with the gateways', () => {
    expect(next({ percent: 0 }, 39_999)).toMatch(/^wait/)
    expect(next({ percent: 0 }, 40_000)).toBe('closing 0')
    expect(next({ percent: 0, graceMs: 0 }, 0)).toBe('closing 0')
    expect(next({ state: 'closing', percent: 0 }, 19_999)).toMatch(/^wait/)
    expect(next({ state: 'closing', percent: 0 }, 20_000)).toBe('proving 0')
  })

  test('it is done when that is proved, never before', () => {
    expect(next({ state: 'proving', percent: 0 }, 1e9)).toBe('wait: b (3 left)')
    expect(next({ state: 'proving', percent: 0 }, 1, quiet)).toBe('done 0')
    // Who is away may be on his way back, and tells himself then.
    const unheard = { ...quiet, unheard: b ? [b] : [] }
    expect(next({ state: 'proving', percent: 0 }, 29_999, unheard)).toMatch(/^wait: b is not heard/)
    expect(next({ state: 'proving', percent: 0 }, 30_000, unheard)).toBe('done 0')
  })

  test('where callers fail its share stays', () => {
    const failing = { ...fine, failing: '9 of 100 calls of b failed' }
    expect(next({}, 1, failing)).toBe('stopped 50')
    expect(next({ state: 'stopped' }, 1e9)).toBe('wait: ')
    // The way back is never barred.
    expect(next({ state: 'returning' }, 5000, failing)).toBe('undone 100')
  })

  test('it comes back within ten seconds, and not before its gateways are open', () => {
    const back = (percent: number, at: number, sight = fine) => next({ state: 'returning', percent }, at, sight)
    expect(back(0, 1e9, { ...fine, behind: b ? [b] : [] })).toBe('wait: b has not opened its gateways yet')
    expect([back(0, 2999), back(0, 3000), back(50, 3000), back(75, 3000)]).toEqual([
      ...['wait: it comes back', 'returning 50', 'undone 100', 'undone 100'],
    ])
  })
})

test('whatever is seen, the share only falls while it is led out, and only rises while it comes back', () => {
  const sights = fc.record({
    behind: fc.constantFrom([], b ? [b] : []),
    unheard: fc.constantFrom([], c ? [c] : []),
    silent: fc.constantFrom([], c ? [c] : []),
    quiet: fc.constantFrom(fine.quiet, quiet.quiet),
  })
  const moments = fc.array(fc.record({ after: fc.nat(40_000), sight: sights, undo: fc.nat(30).map((n) => n === 0) }), {
    maxLength: 60,
  })
  fc.assert(
    fc.property(fc.constantFrom<DrainKind>('cluster', 'gateway', 'service'), moments, (kind, all) => {
      let [drain, now] = [{ ...ramping, kind, percent: 100 }, 0]
      const order: readonly DrainState[] = ['ramping', 'closing', 'proving', 'done', 'returning', 'undone']
      for (const { after, sight, undo } of all) {
        now += after
        if (undo && drain.state !== 'undone' && drain.state !== 'returning')
          drain = { ...drain, state: 'returning', stepAt: now }
        const step = nextDrainStep(drain, sight, now)
        if (step.kind === 'wait') continue
        expect(order.indexOf(step.state)).toBeGreaterThanOrEqual(order.indexOf(drain.state))
        const isBack = drain.state === 'returning'
        expect(isBack ? step.percent - drain.percent : drain.percent - step.percent).toBeGreaterThanOrEqual(0)
        if (['closing', 'proving', 'done'].includes(step.state)) expect(step.percent).toBe(0)
        drain = { ...drain, state: step.state, percent: step.percent, stepAt: now }
      }
    }),
    { numRuns: 500 },
  )
})
