import fc from 'fast-check'
import { expect, test } from 'vitest'
import { broughtNothing, broughtOf } from '#gateway/relay/brought.ts'
import { nextResponse, onSent } from '#gateway/relay/next-response.ts'
import { type Mode, onRequest, onTarget, openStream, type StreamState } from '#gateway/relay/stream-state.ts'
import type { Judge } from '#gateway/relay/subscription.ts'
import { type ResourceSet, type TypeUrl, typeUrls, type XdsResource } from '#mesh/model/resource.ts'

const believer: Judge = {
  withheld: () => false,
  refusedHere: () => false,
  lastGood: () => undefined,
}
const limits = { names: 1000, responseBytes: 1 << 20, nacksInRow: 100, overdueMs: 1000 }
const wildcard = (type: string) => type === typeUrls.cluster || type === typeUrls.listener
const kinds = Object.values(typeUrls)

const resource = (type: TypeUrl, name: string, version: string): XdsResource => ({
  type,
  name,
  version,
  bytes: new TextEncoder().encode(`${name}=${version}`),
})
const versionIn = (r: XdsResource) => new TextDecoder().decode(r.bytes).split('=')[1] ?? ''
const setOf = (names: { readonly [type in TypeUrl]?: Readonly<Record<string, string>> }): ResourceSet =>
  Object.fromEntries(
    Object.entries(names).map(([type, entries]) => [
      type,
      new Map(Object.entries(entries).map(([name, version]) => [name, resource(type as TypeUrl, name, version)])),
    ]),
  )

/** A client that keeps the protocol's rules, with one message in flight each way per type. */
function client(stream: StreamState, mode: Mode, refuses: (r: XdsResource) => boolean, says: 'names' | 'nothing') {
  const held = new Map<string, Map<string, string>>(kinds.map((type) => [type, new Map()]))
  const names = new Map<string, Set<string>>()
  const seen: string[] = []
  const inFlight: { type: string; nonce: string; resources: readonly XdsResource[]; removed: readonly string[] }[] = []
  let nonces = 0
  const request = (type: string, more: object) =>
    onRequest(stream, { type, nonce: '', subscribe: [], unsubscribe: [], brought: broughtNothing, ...more }, 0)

  return {
    held,
    seen,
    inFlight,
    request,
    ask(type: TypeUrl, wanted: readonly string[], nonce = '') {
      const before = names.get(type) ?? new Set()
      names.set(type, new Set(wanted))
      const dropped = [...before].filter((n) => !wanted.includes(n))
      for (const n of dropped) held.get(type)?.delete(n)
      if (mode === 'sotw') return request(type, { subscribe: wanted, nonce })
      return request(type, { subscribe: wanted.filter((n) => !before.has(n)), unsubscribe: dropped })
    },
    /** The relay writes all that it may. */
    pump() {
      for (let plan = nextResponse(stream, 0); plan; plan = nextResponse(stream, 0)) {
        const { type } = plan.subscription
        expect(inFlight.filter((r) => r.type === type)).toEqual([])
        const nonce = `n${nonces++}`
        onSent(stream, plan, nonce, 0)
        inFlight.push({ type, nonce, resources: plan.resources, removed: plan.removed })
        seen.push(
          `${type.split('.').at(-1)}:${plan.resources.map((r) => `${r.name}=${r.version}`)}${plan.removed.map((n) => `-${n}`)}`,
        )
        expect(seen.length).toBeLessThan(2000)
      }
    },
    /** The client reads the oldest message and answers it. */
    read() {
      const message = inFlight.shift()
      if (!message) return false
      const { type, nonce } = message
      const mine = held.get(type) ?? new Map()
      const whole = mode === 'sotw' && (type === typeUrls.cluster || type === typeUrls.listener)
      const bad = message.resources.filter(refuses)
      const wanted = names.get(type)
      for (const r of message.resources)
        if (!refuses(r) && (wildcard(type) || wanted?.has(r.name))) mine.set(r.name, versionIn(r))
      if (mode === 'delta') for (const n of message.removed) mine.delete(n)
      if (whole) for (const n of [...mine.keys()]) if (!message.resources.some((r) => r.name === n)) mine.delete(n)
      const error = bad.length === 0 ? {} : { error: says === 'names' ? `bad: ${bad.map((r) => r.name)}` : 'no' }
      const subscribe = mode === 'sotw' ? [...(names.get(type) ?? [])] : []
      request(type, { nonce, subscribe, ...error })
      return true
    },
  }
}

const settle = (c: ReturnType<typeof client>) => {
  do c.pump()
  while (c.read())
}

for (const mode of ['delta', 'sotw'] as const) {
  test(`${mode}: a first wildcard request is answered even when there is nothing`, () => {
    const stream = openStream(mode, limits, believer)
    const c = client(stream, mode, () => false, 'names')
    c.ask(typeUrls.listener, [])
    c.pump()
    expect(c.seen).toEqual([])
    onTarget(stream, {}, 0)
    c.pump()
    expect(c.seen).toEqual(['Listener:'])
  })

  test(`${mode}: routes wait for new clusters and their endpoints; clusters go last`, () => {
    const stream = openStream(mode, limits, believer)
    const c = client(stream, mode, () => false, 'names')
    const before = setOf({
      [typeUrls.cluster]: { a: '1' },
      [typeUrls.endpoint]: { a: '1' },
      [typeUrls.listener]: { l: '1' },
      [typeUrls.route]: { r: '1' },
    })
    onTarget(stream, before, 0)
    c.ask(typeUrls.cluster, [])
    c.ask(typeUrls.endpoint, ['a'])
    c.ask(typeUrls.listener, [])
    c.ask(typeUrls.route, ['r'])
    settle(c)
    c.seen.length = 0
    onTarget(
      stream,
      setOf({
        [typeUrls.cluster]: { b: '1' },
        [typeUrls.endpoint]: { b: '1' },
        [typeUrls.listener]: { l: '2' },
        [typeUrls.route]: { r: '2' },
      }),
      0,
    )
    c.pump()
    expect(c.seen).toEqual([mode === 'delta' ? 'Cluster:b=1' : 'Cluster:b=1,a=1'])
    c.ask(typeUrls.endpoint, ['a', 'b'], stream.subscriptions.get(typeUrls.endpoint)?.lastNonce)
    settle(c)
    const wanted = {
      delta: [
        'Cluster:b=1',
        'ClusterLoadAssignment:b=1',
        'Listener:l=2',
        'RouteConfiguration:r=2',
        'ClusterLoadAssignment:-a',
        'Cluster:-a',
      ],
      sotw: ['Cluster:b=1,a=1', 'ClusterLoadAssignment:b=1', 'Listener:l=2', 'RouteConfiguration:r=2', 'Cluster:b=1-a'],
    }
    expect(c.seen).toEqual(wanted[mode])
  })

  test(`${mode}: a replaced cluster gets its endpoints again`, () => {
    const stream = openStream(mode, limits, believer)
    const c = client(stream, mode, () => false, 'names')
    onTarget(stream, setOf({ [typeUrls.cluster]: { a: '1', b: '1' }, [typeUrls.endpoint]: { a: '1', b: '1' } }), 0)
    c.ask(typeUrls.cluster, [])
    c.ask(typeUrls.endpoint, ['a', 'b'])
    settle(c)
    c.seen.length = 0
    onTarget(stream, setOf({ [typeUrls.cluster]: { a: '2', b: '1' }, [typeUrls.endpoint]: { a: '1', b: '1' } }), 0)
    settle(c)
    expect(c.seen).toEqual([mode === 'delta' ? 'Cluster:a=2' : 'Cluster:a=2,b=1', 'ClusterLoadAssignment:a=1'])
  })

  for (const says of ['names', 'nothing'] as const) {
    test(`${mode}: one bad cluster of forty, refused with ${says}: the others arrive, the old one stays`, () => {
      const stream = openStream(mode, limits, believer)
      const c = client(stream, mode, (r) => r.version === 'bad', says)
      const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`c${i}`, '1']))
      onTarget(stream, setOf({ [typeUrls.cluster]: { c7: '1' } }), 0)
      c.ask(typeUrls.cluster, [])
      settle(c)
      onTarget(stream, setOf({ [typeUrls.cluster]: { ...many, c7: 'bad' } }), 0)
      settle(c)
      expect(Object.fromEntries(c.held.get(typeUrls.cluster) ?? [])).toEqual(many)
      expect(c.seen.length).toBeLessThan(16)
      onTarget(stream, setOf({ [typeUrls.cluster]: { ...many, c7: '3' } }), 0)
      settle(c)
      expect(c.held.get(typeUrls.cluster)?.get('c7')).toBe('3')
    })
  }
}

test('a reconnect that holds everything is sent nothing; what differs is sent', () => {
  const stream = openStream('delta', limits, believer)
  const c = client(stream, 'delta', () => false, 'names')
  onTarget(stream, setOf({ [typeUrls.cluster]: { a: '1', b: '2' }, [typeUrls.endpoint]: { a: '1' } }), 0)
  c.request(typeUrls.cluster, {
    brought: broughtOf(
      new Map([
        ['a', '1'],
        ['b', '2'],
      ]),
    ),
  })
  c.request(typeUrls.endpoint, { subscribe: ['a'], brought: broughtOf(new Map([['a', '1']])) })
  c.pump()
  expect(c.seen).toEqual([])

  const again = openStream('delta', limits, believer)
  const d = client(again, 'delta', () => false, 'names')
  d.request(typeUrls.cluster, {
    brought: broughtOf(
      new Map([
        ['a', '1'],
        ['b', ''],
        ['gone', '1'],
      ]),
    ),
  })
  onTarget(again, setOf({ [typeUrls.cluster]: { a: '1', b: '2' } }), 0)
  settle(d)
  expect(d.seen).toEqual(['Cluster:b=2', 'Cluster:-gone'])
})

test('a name that nothing has is answered as removed, and sent when it appears', () => {
  const stream = openStream('delta', limits, believer)
  const c = client(stream, 'delta', () => false, 'names')
  onTarget(stream, {}, 0)
  c.ask(typeUrls.endpoint, ['a'])
  settle(c)
  onTarget(stream, setOf({ [typeUrls.endpoint]: { a: '1', b: '1' } }), 0)
  settle(c)
  expect(c.seen).toEqual(['ClusterLoadAssignment:-a', 'ClusterLoadAssignment:a=1'])
})

test('state of the world: a stale nonce changes nothing', () => {
  const stream = openStream('sotw', limits, believer)
  const c = client(stream, 'sotw', () => false, 'names')
  onTarget(stream, setOf({ [typeUrls.endpoint]: { a: '1', b: '1' } }), 0)
  c.ask(typeUrls.endpoint, ['a'])
  settle(c)
  c.request(typeUrls.endpoint, { subscribe: ['a', 'b'], nonce: 'old' })
  c.pump()
  expect(c.seen).toEqual(['ClusterLoadAssignment:a=1'])
})

test('more names than a stream may have: the stream is to be closed', () => {
  const stream = openStream('delta', limits, believer)
  const c = client(stream, 'delta', () => false, 'names')
  expect(c.request(typeUrls.endpoint, { subscribe: Array.from({ length: 1001 }, (_, i) => `${i}`) })).toBe('too-many')
})

const names = ['a', 'b', 'c', 'd', 'e']
const entries = fc.dictionary(fc.constantFrom(...names), fc.constantFrom('1', '2', '3', 'bad'), {
  noNullPrototype: true,
})
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(entries, entries, entries, entries, entries).map((sets) => ({ kind: 'target' as const, sets })),
  },
  { weight: 4, arbitrary: fc.constant({ kind: 'pump' as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'read' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      type: fc.constantFrom(typeUrls.endpoint, typeUrls.route, typeUrls.secret),
      names: fc.subarray(names),
    }),
  },
)

for (const mode of ['delta', 'sotw'] as const) {
  test(`${mode}: whatever the order of changes, answers and refusals, at rest the client holds what it should`, () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.constantFrom('names' as const, 'nothing' as const),
        (steps, says) => {
          const stream = openStream(mode, { ...limits, responseBytes: 8 }, believer)
          const c = client(stream, mode, (r) => r.version === 'bad', says)
          let target: ResourceSet = {}
          onTarget(stream, target, 0)
          const asked = new Map<string, readonly string[]>()
          c.ask(typeUrls.cluster, [])
          c.ask(typeUrls.listener, [])
          for (const s of steps) {
            if (s.kind === 'pump') c.pump()
            else if (s.kind === 'read') c.read()
            else if (s.kind === 'ask') {
              const known = stream.subscriptions.get(s.type)
              // A client of this form answers what it was sent before it changes its mind.
              while (mode === 'sotw' && c.inFlight.some((m) => m.type === s.type)) c.read()
              c.ask(s.type, s.names, known?.lastNonce ?? '')
              asked.set(s.type, s.names)
            } else {
              target = setOf(Object.fromEntries(kinds.map((type, i) => [type, s.sets[i] ?? {}])))
              onTarget(stream, target, 0)
            }
          }
          settle(c)
          for (const type of kinds) {
            const should = target[type] ?? new Map<string, XdsResource>()
            const held = c.held.get(type) ?? new Map()
            for (const [name, r] of should) {
              if (
                asked.has(type)
                  ? !asked.get(type)?.includes(name)
                  : type !== typeUrls.cluster && type !== typeUrls.listener
              )
                continue
              if (r.version === 'bad') expect(held.get(name)).not.toBe('bad')
              else expect([type, name, held.get(name)]).toEqual([type, name, r.version])
            }
            const forgets = mode === 'delta' || type === typeUrls.cluster || type === typeUrls.listener
            if (forgets)
              for (const name of held.keys()) expect([type, should.has(name) ? name : undefined]).toEqual([type, name])
            expect(stream.subscriptions.get(type)?.outstanding).toBeUndefined()
          }
        },
      ),
      { numRuns: 2000 },
    )
  })
}

test('a client that asks for one more name each time has no large set copied each time', () => {
  const stream = openStream('delta', { ...limits, names: 10_000 }, believer)
  const ask = (...subscribe: string[]) =>
    onRequest(stream, { type: typeUrls.endpoint, nonce: '', subscribe, unsubscribe: [], brought: broughtNothing }, 0)
  const names = () => stream.subscriptions.get(typeUrls.endpoint)?.names
  ask(...Array.from({ length: 5000 }, (_, n) => `${n}`))
  ask('one more')
  const before = names()
  for (let n = 0; n < 10; n++) ask(`one more ${n}`)
  expect(names()).toBe(before)
  expect(names()?.size).toBe(5011)
})

test('a request that names the same thing over and over is refused before it is gone through', () => {
  const stream = openStream('delta', limits, believer)
  const subscribe = Array.from({ length: limits.names + 1 }, () => 'same')
  expect(
    onRequest(stream, { type: typeUrls.endpoint, nonce: '', subscribe, unsubscribe: [], brought: broughtNothing }, 0),
  ).toBe('too-many')
})
