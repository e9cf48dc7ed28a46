import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  missingFor,
  nextStep,
  type RelayTrust,
  type RotationFacts,
  type RotationStep,
  rotationSteps,
} from '#mesh/trust/plan-rotation.ts'

const bundle = { seq: 7, digest: 'd7' }
type Said = NonNullable<RelayTrust['said']>
const ready: Said = {
  ...{ seq: 7, digest: 'd7', proxies: 3, acked: 3, missing: [], missingCount: 0, pinned: ['old', 'new'] },
  ...{ issuing: { root: 'new', notAfter: 9, trustDomain: 't' }, serving: { ca: 'new', notAfter: 9 } },
  ...{ proxyCas: { all: 3, current: 3 }, leaves: { old: 0, oldestNotAfter: 0 } },
}
const relay = (said: Partial<Said> = {}): RelayTrust => ({ cluster: 'east', said: { ...ready, ...said } })
const facts = (...relays: RelayTrust[]): RotationFacts => ({ bundle, relays, to: ['new'], door: 'new' })

describe('a step waits', () => {
  type Case = readonly [what: string, kind: 'root' | 'control-plane', step: RotationStep, RelayTrust, missing: string[]]
  const cases: readonly Case[] = [
    ['for nobody who is ready', 'root', 'published', relay(), []],
    [
      'for one that is silent, whatever it said',
      'root',
      'published',
      { ...relay(), silent: 'since noon' },
      ['unreachable'],
    ],
    ['for one that says nothing of trust', 'root', 'published', { cluster: 'east' }, ['bundle']],
    ['for one that holds an earlier bundle', 'root', 'published', relay({ seq: 6, digest: 'd6' }), ['bundle']],
    ['for one that holds another bundle of that number', 'root', 'published', relay({ digest: 'x' }), ['bundle']],
    ['for one that holds a later bundle than the centre', 'root', 'published', relay({ seq: 8 }), ['bundle']],
    [
      'for one that refuses the bundle',
      'root',
      'published',
      relay({ fault: { reason: 'Forked', detail: 'f' } }),
      ['bundle'],
    ],
    ['for a proxy without acknowledgement', 'root', 'published', relay({ acked: 2 }), ['proxies']],
    ['for a pod that is not connected', 'root', 'published', relay({ missingCount: 1 }), ['proxies']],
    ['for no certificate before the new one signs', 'root', 'published', relay({ issuing: null, serving: null }), []],
    [
      'for an issuing CA of the old root',
      'root',
      'active',
      relay({ issuing: { root: 'old', notAfter: 1, trustDomain: 't' } }),
      ['issuing'],
    ],
    ['for leaves of the old', 'root', 'active', relay({ leaves: { old: 1, oldestNotAfter: 5 } }), ['leaves']],
    ['for the active bundle too', 'root', 'active', relay({ acked: 0 }), ['proxies']],
    ['for nothing once nothing of the old is in use', 'root', 'tainted', relay({ seq: 1 }), []],
    ['for the bundle without the old', 'root', 'revoked', relay({ seq: 6 }), ['bundle']],
    [
      'for a relay that does not believe the new CA',
      'control-plane',
      'published',
      relay({ pinned: ['old'] }),
      ['pinned'],
    ],
    ['for proxies that do not', 'control-plane', 'published', relay({ proxyCas: { all: 3, current: 2 } }), ['pinned']],
    [
      'for a relay that serves under the old CA',
      'control-plane',
      'active',
      relay({ serving: { ca: 'old', notAfter: 1 } }),
      ['serving'],
    ],
    [
      'for no leaf when only the control plane changes',
      'control-plane',
      'active',
      relay({ leaves: { old: 9, oldestNotAfter: 5 } }),
      [],
    ],
  ]
  test.each(cases)('%s', (_, kind, step, one, missing) => {
    expect(missingFor(kind, step, facts(one)).map(({ what }) => what)).toEqual(missing)
    expect(nextStep({ kind, step }, facts(one)).kind === 'wait').toBe(missing.length > 0)
  })

  test("for the centre's own door", () => {
    const missing = missingFor('control-plane', 'active', { ...facts(relay()), door: 'old' })
    expect(missing).toMatchObject([{ cluster: 'centre', what: 'serving' }])
    expect(missingFor('control-plane', 'active', { ...facts(relay()), door: undefined })).toEqual([])
    expect(missingFor('root', 'active', { ...facts(relay()), door: 'old' })).toEqual([])
  })
})

/** Whatever the relays say, in whatever order they come and fall back: what a step takes away, nobody lacks. */
test('no step is made while any relay lacks what it needs', () => {
  const digest = fc.constantFrom('d6', 'd7')
  const someSaid = fc.record({
    ...{ seq: fc.integer({ min: 6, max: 8 }), digest, proxies: fc.nat(3), acked: fc.nat(3), missingCount: fc.nat(1) },
    ...{ missing: fc.constant([]), pinned: fc.subarray(['old', 'new']) },
    issuing: fc.option(
      fc.record({ root: fc.constantFrom('old', 'new'), notAfter: fc.nat(), trustDomain: fc.constant('t') }),
    ),
    serving: fc.option(fc.record({ ca: fc.constantFrom('old', 'new'), notAfter: fc.nat() })),
    proxyCas: fc.record({ all: fc.nat(3), current: fc.nat(3) }),
    leaves: fc.record({ old: fc.nat(2), oldestNotAfter: fc.nat() }),
  })
  const anyRelay = fc.record(
    { cluster: fc.string(), silent: fc.constant('long'), said: fc.oneof(someSaid, fc.constant(ready)) },
    { requiredKeys: ['cluster'] },
  )
  const kinds = fc.constantFrom('root' as const, 'control-plane' as const)
  fc.assert(
    fc.property(
      kinds,
      fc.constantFrom(...rotationSteps),
      fc.array(anyRelay, { maxLength: 4 }),
      (kind, step, relays) => {
        const verdict = nextStep({ kind, step }, facts(...(relays as RelayTrust[])))
        if (step === 'prepared' || step === 'tainted') {
          expect(verdict.kind).toBe('step')
          return
        }
        const lacks = relays.some(({ silent, said }) => {
          if (silent !== undefined || !said || said.seq !== 7 || said.digest !== 'd7') return true
          if (said.acked < said.proxies || said.missingCount > 0) return true
          if (step === 'published' && kind === 'control-plane')
            return !said.pinned.includes('new') || said.proxyCas.current < said.proxyCas.all
          if (step !== 'active') return false
          return kind === 'root' ? said.issuing?.root !== 'new' || said.leaves.old > 0 : said.serving?.ca !== 'new'
        })
        expect(verdict.kind === 'wait').toBe(lacks)
      },
    ),
    { numRuns: 2000 },
  )
})
