import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { broughtNothing } from '#gateway/relay/brought.ts'
import { nextResponse, onSent } from '#gateway/relay/next-response.ts'
import { type Mode, onRequest, onTarget, openStream } from '#gateway/relay/stream-state.ts'
import type { Judge } from '#gateway/relay/subscription.ts'
import { staleIn, typesOf } from '#gateway/relay/type-status.ts'
import { type ResourceSet, type TypeUrl, typeUrls, type XdsResource } from '#mesh/model/resource.ts'

const limits = { names: 100, responseBytes: 1 << 20, nacksInRow: 10, overdueMs: 1000 }
const { cluster, endpoint, listener, route, secret } = typeUrls
const resource = (type: TypeUrl, name: string, version = '1'): XdsResource => ({
  type,
  name,
  version,
  bytes: new Uint8Array(10),
})
const setOf = (...list: readonly XdsResource[]): ResourceSet =>
  Object.fromEntries(
    [...Map.groupBy(list, (r) => r.type)].map(([type, all]) => [type, new Map(all.map((r) => [r.name, r]))]),
  )

function open(mode: Mode, target: ResourceSet, more: Partial<Judge> & { readonly responseBytes?: number } = {}) {
  const judge = {
    withheld: () => false,
    refusedHere: () => true,
    lastGood: () => undefined,
    ...more,
  }
  const state = openStream(mode, { ...limits, ...(more.responseBytes && { responseBytes: more.responseBytes }) }, judge)
  onTarget(state, target, 0)
  let serial = 0
  return {
    state,
    ask: (type: string, subscribe: readonly string[] = [], more: object = {}) =>
      onRequest(state, { type, nonce: '', subscribe, unsubscribe: [], brought: broughtNothing, ...more }, 0),
    /** What may leave at `now`, as text. */
    send: (now = 0) => {
      const plan = nextResponse(state, now)
      if (!plan) return undefined
      serial += 1
      onSent(state, plan, `n${serial}`, now)
      return [...plan.resources.map((r) => `${r.name}=${r.version}`), ...plan.removed.map((n) => `-${n}`)].join()
    },
    answer: (type: string, error?: string) =>
      onRequest(
        state,
        {
          ...{
            type,
            nonce: state.subscriptions.get(type)?.lastNonce ?? '',
            unsubscribe: [],
            brought: broughtNothing,
          },
          subscribe: mode === 'sotw' ? [...(state.subscriptions.get(type)?.names ?? [])] : [],
          ...(error !== undefined && { error }),
        },
        0,
      ),
  }
}

describe('secrets', () => {
  test.each(['delta', 'sotw'] as const)('%s: one that is waited for holds for nothing', (mode) => {
    const { ask, send } = open(mode, setOf(resource(cluster, 'c'), resource(listener, 'l'), resource(secret, 's')))
    ask(cluster)
    ask(listener)
    expect([send(), send()]).toEqual(['c=1', undefined])
    ask(secret, ['s', 'none'])
    expect(send()).toBe(mode === 'delta' ? 's=1,-none' : 's=1')
  })

  test.each(['delta', 'sotw'] as const)('%s: a changed one alone is sent alone', (mode) => {
    const [s, t] = [resource(secret, 's'), resource(secret, 't')]
    const { state, ask, send, answer } = open(mode, setOf(resource(route, 'r'), s, t))
    ask(route, ['r'])
    ask(secret, ['s', 't'])
    expect([send(), send()]).toEqual(['s=1,t=1', 'r=1'])
    answer(route)
    answer(secret)
    onTarget(state, setOf(resource(route, 'r'), resource(secret, 's', '2'), t), 0)
    expect([send(), send()]).toEqual(['s=2', undefined])
  })

  test('a changed one goes after changed routes were taken, and not later than they are overdue', () => {
    for (const isTaken of [true, false]) {
      const { state, ask, send, answer } = open('delta', setOf(resource(route, 'r'), resource(secret, 's')))
      ask(route, ['r'])
      ask(secret, ['s'])
      expect([send(), send()]).toEqual(['s=1', 'r=1'])
      answer(route)
      answer(secret)
      onTarget(state, setOf(resource(route, 'r', '2'), resource(secret, 's', '2')), 0)
      expect([send(), send()]).toEqual(['r=2', undefined])
      if (isTaken) answer(route)
      expect(send(isTaken ? 0 : 1000)).toBe('s=2')
    }
  })

  test('a changed one does not wait for clusters that warm while no route is to change', () => {
    const target = setOf(resource(route, 'r'), resource(secret, 's'))
    const { state, ask, send, answer } = open('delta', target)
    ask(cluster)
    ask(route, ['r'])
    ask(secret, ['s'])
    expect([send(), send()]).toEqual(['', 's=1'])
    answer(cluster)
    answer(secret)
    expect(send()).toBe('r=1')
    answer(route)
    onTarget(state, setOf(resource(cluster, 'c'), resource(route, 'r'), resource(secret, 's', '2')), 0)
    expect([send(), send()]).toEqual(['c=1', 's=2'])
  })
})

describe('listeners that alone changed', () => {
  test('wait where clusters are on their way', () => {
    const before = setOf(resource(cluster, 'c'), resource(listener, 'l'))
    const { state, ask, send } = open('delta', before)
    ask(cluster)
    ask(listener)
    expect(send()).toBe('c=1')
    onTarget(state, { ...before, ...setOf(resource(listener, 'l', '2')) }, 0)
    expect(send()).toBeUndefined()
  })

  test('are not alone any more when the client asks for a cluster before they leave', () => {
    const before = setOf(resource(cluster, 'c'), resource(cluster, 'd'), resource(listener, 'l'))
    const { state, ask, send, answer } = open('delta', before)
    ask(cluster, ['c'])
    expect(send()).toBe('c=1')
    answer(cluster)
    ask(listener)
    expect(send()).toBe('l=1')
    answer(listener)
    expect(send()).toBeUndefined()
    onTarget(state, { ...before, ...setOf(resource(listener, 'l', '2')) }, 0)
    ask(cluster, ['d'])
    expect([send(), send()]).toEqual(['d=1', undefined])
    answer(cluster)
    expect(send()).toBe('l=2')
  })
})

test('what is gone is removed last, when nothing refers to it any more', () => {
  const { state, ask, send, answer } = open('delta', setOf(resource(endpoint, 'a'), resource(listener, 'l')))
  ask(endpoint, ['a'])
  ask(listener)
  expect([send(), send()]).toEqual(['a=1', undefined])
  answer(endpoint)
  expect(send()).toBe('l=1')
  answer(listener)
  onTarget(state, setOf(resource(listener, 'l', '2')), 0)
  expect([send(), send()]).toEqual(['l=2', undefined])
  answer(listener)
  expect(send()).toBe('-a')
})

describe('a version that others refused', () => {
  const withheld = (r: XdsResource) => r.version === '2'

  test('a client that has an older one keeps it', () => {
    const { state, ask, send, answer } = open('delta', setOf(resource(cluster, 'a')), { withheld })
    ask(cluster)
    expect(send()).toBe('a=1')
    answer(cluster)
    onTarget(state, setOf(resource(cluster, 'a', '2')), 0)
    expect(send()).toBeUndefined()
    onTarget(state, setOf(resource(cluster, 'a', '3')), 0)
    expect(send()).toBe('a=3')
  })

  test('a client that has none gets the last one that it took before', () => {
    const lastGood = (type: string, name: string) =>
      type === cluster && name === 'a' ? resource(cluster, 'a', '1') : undefined
    const { ask, send } = open('delta', setOf(resource(cluster, 'a', '2'), resource(cluster, 'b', '2')), {
      withheld,
      lastGood,
    })
    ask(cluster)
    expect(send()).toBe('a=1')
  })

  test('a client that waits for it is told that there is none', () => {
    const { ask, send } = open('delta', setOf(resource(endpoint, 'a', '2')), { withheld })
    ask(endpoint, ['a'])
    expect(send()).toBe('-a')
  })
})

describe('an answer that does not come', () => {
  const first = setOf(resource(cluster, 'a'), resource(listener, 'l'), resource(route, 'r'))
  const second = setOf(resource(cluster, 'a', '2'), resource(listener, 'l', '2'), resource(route, 'r'))

  test('holds listeners up until it is overdue', () => {
    const { state, ask, send, answer } = open('delta', first)
    ask(cluster)
    send()
    answer(cluster)
    ask(listener)
    send()
    answer(listener)
    onTarget(state, second, 0)
    expect([send(0), send(999), send(1000)]).toEqual(['a=2', undefined, 'l=2'])
  })

  test('is not waited for when there is something newer, and then both are unsure', () => {
    const { state, ask, send, answer } = open('delta', first)
    ask(cluster)
    send()
    answer(cluster)
    onTarget(state, second, 0)
    expect(send(0)).toBe('a=2')
    onTarget(state, first, 500)
    expect([send(999), send(1000)]).toEqual([undefined, 'a=1'])
  })
})

test('a long delta answer is cut, and goes on after its acknowledgement', () => {
  const all = Array.from({ length: 5 }, (_, i) => resource(cluster, `c${i}`))
  const { ask, send, answer } = open('delta', setOf(...all, resource(listener, 'l')), { responseBytes: 15 })
  ask(cluster)
  ask(listener)
  const sent: (string | undefined)[] = []
  for (let i = 0; i < 4; i += 1) {
    sent.push(send())
    answer(i < 3 ? cluster : listener)
  }
  expect(sent).toEqual(['c0=1,c1=1', 'c2=1,c3=1', 'c4=1', 'l=1'])
})

test('a refusal is blamed on what was named; what was good before is sent again', () => {
  const { state, ask, send, answer } = open('delta', setOf(resource(cluster, 'a'), resource(cluster, 'b')))
  ask(cluster)
  send()
  answer(cluster)
  onTarget(state, setOf(resource(cluster, 'a', '2'), resource(cluster, 'b', '2')), 0)
  expect(send()).toBe('a=2,b=2')
  expect(answer(cluster, 'Error adding/updating cluster(s) a: no')).toMatchObject([
    { kind: 'nack', names: ['a', 'b'] },
    { kind: 'rejected', resource: { name: 'a', version: '2' }, kept: { version: '1' } },
  ])
  expect(send()).toBe('a=1,b=2')
  answer(cluster)
  expect(send()).toBeUndefined()
})

test('unsubscribing everything and asking again answers again', () => {
  const { ask, send, answer } = open('delta', setOf(resource(cluster, 'a'), resource(cluster, 'b')))
  ask(cluster)
  expect(send()).toBe('a=1,b=1')
  answer(cluster)
  ask(cluster, ['b'], { unsubscribe: ['*'] })
  expect(send()).toBe('b=1')
  answer(cluster)
  ask(cluster, ['*'])
  expect(send()).toBe('a=1')
})

describe('a stream at rest', () => {
  const types = [cluster, endpoint, listener, route, secret]
  const versions = fc.array(fc.nat(2), { minLength: 3, maxLength: 3 })
  const one = fc.tuple(fc.constantFrom(...types), versions).map(([type, all]) => ({
    [type]: new Map(all.flatMap((v, name) => (v === 0 ? [] : [[`${name}`, resource(type, `${name}`, `${v}`)]]))),
  }))
  const target = fc.array(one, { minLength: 1, maxLength: 2 }).map((parts) => ({ change: Object.assign({}, ...parts) }))
  const answer = fc.record({ type: fc.constantFrom(...types), error: fc.constantFrom(undefined, undefined, 'no') })
  const steps = fc.array(fc.oneof(target, answer, fc.constant('all answer' as const)), { maxLength: 30 })

  test.each(['delta', 'sotw'] as const)('%s: is told the same as one of which nobody knows that it rests', (mode) => {
    let [rested, seenStale] = [0, 0]
    const hear = (
      script: readonly (typeof steps extends fc.Arbitrary<(infer S)[]> ? S : never)[],
      mayRest: boolean,
    ) => {
      const stream = open(mode, setOf())
      const heard: (string | undefined)[] = []
      const sendAll = () => {
        for (let said = stream.send(); said !== undefined; said = stream.send()) heard.push(said)
      }
      for (const type of types) stream.ask(type, type === cluster || type === listener ? [] : ['0', '1', '2'])
      sendAll()
      let now: ResourceSet = {}
      for (const step of script) {
        if (step === 'all answer')
          for (let round = 0; round < 4; round++) {
            for (const type of types) stream.answer(type)
            sendAll()
          }
        else if ('change' in step) {
          now = { ...now, ...step.change }
          rested += Number(mayRest && stream.state.atRest)
          if (!mayRest) stream.state.atRest = false
          onTarget(stream.state, now, 0)
        } else stream.answer(step.type, step.error)
        const stale = Object.values(typesOf(stream.state)).filter(({ state }) => state === 'STALE').length
        if (staleIn(stream.state) !== stale) heard.push(`${staleIn(stream.state)} stale instead of ${stale}`)
        seenStale += stale
        sendAll()
        heard.push('-')
      }
      return heard
    }
    fc.assert(
      fc.property(steps, (script) => {
        const heard = hear(script, true)
        expect(heard).toEqual(hear(script, false))
        expect(heard.filter((said) => said?.includes('stale'))).toEqual([])
      }),
      { numRuns: 300 },
    )
    expect(rested).toBeGreaterThan(100)
    expect(seenStale).toBeGreaterThan(100)
  })
})
