import { create, toBinary } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { parseRequest } from '#gateway/relay/request.ts'
import { DeltaDiscoveryRequestSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'

const version = '0123456789abcdef'
const brings = (versions: Record<string, string>) => {
  const request = create(DeltaDiscoveryRequestSchema, { initialResourceVersions: versions })
  return parseRequest('delta', toBinary(DeltaDiscoveryRequestSchema, request)).brought
}
const serves = (...names: readonly string[]) => new Map(names.map((name) => [name, { name, version }]))

test.each([3, 20, 45, 200])('an entry that differs in one byte of %i is another one', (length) => {
  const name = 'n'.repeat(length)
  const served = serves(name)
  expect(brings({ [name]: version }).isJust(served, 1)).toBe(true)
  for (let at = 0; at < length; at += 1) {
    const other = `${name.slice(0, at)}x${name.slice(at + 1)}`
    expect([at, brings({ [other]: version }).isJust(served, 1)]).toEqual([at, false])
  }
  for (let at = 0; at < version.length; at += 1) {
    const other = `${version.slice(0, at)}x${version.slice(at + 1)}`
    expect([at, brings({ [name]: other }).isJust(served, 1)]).toEqual([at, false])
  }
  expect(brings({ [name]: version }).isJust(served, 1)).toBe(true)
})

test('what one is known by is not taken for what another is served', () => {
  const all = serves('a', 'b')
  const brought = brings({ a: version })
  expect(brought.isJust(all, 1)).toBe(true)
  expect(brought.isJust(all, 1, new Set(['a']))).toBe(true)
  expect(brought.isJust(all, 1, new Set(['b']))).toBe(false)
  expect(brought.isJust(all, 2)).toBe(false)
  expect(brought.isJust(serves('b'), 1)).toBe(false)
  expect(brought.isJust(new Map([['a', { name: 'a', version: 'fedcba9876543210' }]]), 1)).toBe(false)
})
