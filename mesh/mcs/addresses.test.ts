import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type AddressWish, parseRange, planAddresses, settledAddresses } from '#mesh/mcs/addresses.ts'
import { type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import type { OwnImport } from '#mesh/model/view.ts'

const key = (name: string): ServiceKey => serviceKey('shop', name)
const range = parseRange('241.0.0.0/24')
const wish = (name: string, parts: readonly string[] = []): AddressWish => ({ key: key(name), whole: true, parts })
const claim = (
  name: string,
  ip: string,
  createdAt = 1,
  parts: Record<string, string> = {},
): [ServiceKey, OwnImport] => [key(name), { key: key(name), ip, createdAt, parts }]

test('a range is read strictly, and says what is wrong with it', () => {
  expect(range).toEqual({ cidr: '241.0.0.0/24', first: 0xf1000001, size: 254 })
  for (const [text, fault] of [
    ['241.0.0.0', 'is not an IPv4 range'],
    ['241.0.0.1/24', 'write 241.0.0.0/24'],
    ['fd00::/64', 'is not an IPv4 range'],
    ['241.0.0.0/30', '/8 to /28'],
    ['256.0.0.0/16', 'is not an IPv4 range'],
  ] as const)
    expect(() => parseRange(text)).toThrow(fault)
})

test('what objects name stays, and nobody takes an address by writing it down', () => {
  const settled = settledAddresses(
    new Map([
      claim('young', '241.0.0.7', 9, { 'db-0.b': '241.0.0.9' }),
      claim('old', '241.0.0.7', 1),
      claim('thief', '10.96.0.1', 0),
      claim('edge', '241.0.0.255', 0),
    ]),
    range,
  )
  expect(Object.fromEntries(settled)).toEqual({
    'shop/old': { ip: '241.0.0.7', parts: {} },
    'shop/young': { parts: { 'db-0.b': '241.0.0.9' } },
    'shop/thief': { parts: {} },
    'shop/edge': { parts: {} },
  })
  const { addresses } = planAddresses([wish('old'), wish('young', ['db-0.b'])], settled, range)
  expect(addresses.get(key('old'))?.ip).toBe('241.0.0.7')
  expect(addresses.get(key('young'))?.parts).toEqual({ 'db-0.b': '241.0.0.9' })
  expect(addresses.get(key('young'))?.ip).not.toBe('241.0.0.7')
})

test('a headless one has no address as a whole', () => {
  const { addresses } = planAddresses([{ key: key('db'), whole: false, parts: ['db-0.b'] }], new Map(), range)
  expect(Object.keys(addresses.get(key('db')) ?? {})).toEqual(['parts'])
})

test('a range that is used up: those who have keep theirs, the others are named', () => {
  const small = parseRange('241.0.0.0/28')
  const first = planAddresses(
    Array.from({ length: 14 }, (_, n) => wish(`s${n}`)),
    new Map(),
    small,
  )
  expect(first.without.size).toBe(0)
  const more = planAddresses([wish('s3'), wish('late')], first.addresses, small)
  expect(more.addresses.get(key('s3'))).toEqual(first.addresses.get(key('s3')))
  expect([...more.without]).toEqual(['shop/late'])
})

test('whatever is wished for: within the range, no two the same, and the same again after a restart', () => {
  const anyWish = fc
    .record({
      n: fc.nat(60),
      whole: fc.boolean(),
      parts: fc.uniqueArray(fc.constantFrom('a.x', 'b.x', 'x'), { maxLength: 3 }),
    })
    .map(({ n, whole, parts }): AddressWish => ({ key: key(`s${n}`), whole, parts }))
  fc.assert(
    fc.property(fc.uniqueArray(anyWish, { selector: (one) => one.key, maxLength: 40 }), (wishes) => {
      const { addresses } = planAddresses(wishes, new Map(), range)
      const all = [...addresses.values()].flatMap(({ ip, parts }) => [...(ip ? [ip] : []), ...Object.values(parts)])
      expect(new Set(all).size).toBe(all.length)
      const kept = new Map([...addresses].map(([k, one]) => [k, { ...one, key: k, createdAt: 1 }]))
      const settled = settledAddresses(kept, range)
      expect(settled).toEqual(new Map([...addresses].toSorted(([a], [b]) => (a < b ? -1 : 1))))
      expect(planAddresses(wishes, settled, range).addresses).toEqual(addresses)
    }),
    { numRuns: 60 },
  )
})
