import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Brought, broughtOf } from '#gateway/relay/brought.ts'
import { parseRequest } from '#gateway/relay/request.ts'
import { subscribeAll, subscribeNames, subscription } from '#gateway/relay/subscription.ts'
import { DeltaDiscoveryRequestSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'

const known = Array.from({ length: 20 }, (_, n) => `service-${n}`)
const baseOf = (): Map<string, XdsResource> =>
  new Map(known.map((name) => [name, { type: typeUrls.endpoint, name, version: '1', bytes: new Uint8Array() }]))

const name = fc.constantFrom(...known.slice(0, 18), 'unknown')
const names = fc.oneof(fc.constant(known), fc.array(name, { minLength: 1, maxLength: 25 }))
const version = fc.oneof({ arbitrary: fc.constant('1'), weight: 30 }, fc.constantFrom('0', ''))
const coming = fc
  .tuple(names, fc.array(version, { minLength: 25, maxLength: 25 }), fc.option(name), fc.option(name))
  .map(([asked, versions, more, less]) => {
    const brought = new Map(asked.map((one, n) => [one, versions[n] ?? '1']))
    if (more !== null) brought.set(more, '1')
    if (less !== null) brought.delete(less)
    return { asked, brought }
  })

/** As a message brings it, in its own order. */
const sent = (versions: ReadonlyMap<string, string>): Brought => {
  const request = create(DeltaDiscoveryRequestSchema, { initialResourceVersions: Object.fromEntries(versions) })
  return parseRequest('delta', toBinary(DeltaDiscoveryRequestSchema, request)).brought
}
/** Read name by name, whoever came before. */
const oneByOne = (versions: ReadonlyMap<string, string>): Brought => ({ ...broughtOf(versions), isJust: () => false })

test('a client that comes back after others is taken as if it were the first', () => {
  fc.assert(
    fc.property(fc.array(coming, { minLength: 1, maxLength: 8 }), (clients) => {
      const shared = baseOf()
      for (const { asked, brought } of clients) {
        const [after, first] = [subscription(typeUrls.endpoint, shared), subscription(typeUrls.endpoint, baseOf())]
        const isAll = subscribeNames(after, asked, sent(brought))
        subscribeNames(first, asked, oneByOne(brought))
        expect([...after.names]).toEqual([...first.names])
        expect([...after.own]).toEqual([...first.own])
        if (isAll) expect([...brought.keys()].filter((one) => !after.names.has(one))).toEqual([])
      }
    }),
  )
})

test('what a client brings that wants everything is taken the same way', () => {
  fc.assert(
    fc.property(fc.array(coming, { minLength: 1, maxLength: 8 }), (clients) => {
      const base = baseOf()
      for (const { brought } of [...clients, { brought: new Map(known.toReversed().map((one) => [one, '1'])) }]) {
        const [quick, slow] = [subscription(typeUrls.cluster, base), subscription(typeUrls.cluster, base)]
        subscribeAll(quick, sent(brought))
        subscribeAll(slow, oneByOne(brought))
        expect([quick.wildcard, ...quick.own]).toEqual([slow.wildcard, ...slow.own])
      }
    }),
  )
})

test('a name that is said twice does not stand for another', () => {
  const base = baseOf()
  const [a, b] = known.slice(0, 2).map((one) => sent(new Map([[one, '1']])))
  expect(a?.isJust(base, 1)).toBe(true)
  expect(b?.isJust(base, 1)).toBe(true)
  const once = toBinary(
    DeltaDiscoveryRequestSchema,
    create(DeltaDiscoveryRequestSchema, { initialResourceVersions: { [known[0] as string]: '1' } }),
  )
  const twice = parseRequest('delta', Buffer.concat([once, once])).brought
  expect(twice.isJust(base, 2)).toBe(false)
  expect([...twice.versions()]).toEqual([[known[0], '1']])
})

test.each([3, 20])('of two that come back with the same %i names neither gets a name more of the other', (count) => {
  const base = baseOf()
  const asked = known.slice(0, count)
  const brought = sent(new Map(asked.map((one) => [one, '1'])))
  const [one, other] = [subscription(typeUrls.endpoint, base), subscription(typeUrls.endpoint, base)]
  expect(subscribeNames(one, asked, brought)).toBe(false)
  expect(subscribeNames(other, asked, brought)).toBe(count > 16)
  expect(other.names === one.names).toBe(count > 16)
  subscribeNames(other, ['more'])
  expect([...one.names]).toEqual(asked)
  expect([...other.names]).toEqual([...asked, 'more'])
})
