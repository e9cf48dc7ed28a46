import { create, fromBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createFramer, type Frame } from '#gateway/relay/frame.ts'
import { DeltaDiscoveryResponseSchema, DiscoveryResponseSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'
import { typeUrls } from '#mesh/model/resource.ts'

const type = typeUrls.endpoint
const anyResource = fc.record({
  type: fc.constant(type),
  name: fc.string({ minLength: 1, maxLength: 300 }),
  version: fc.string({ maxLength: 20 }),
  bytes: fc.uint8Array({ maxLength: 20_000 }),
})

/** The message without the head of its frame. */
function bodyOf({ pieces, size }: Frame): Uint8Array {
  const bytes = Buffer.concat(pieces)
  expect(bytes.length).toBe(size)
  expect(bytes.readUInt32BE(1)).toBe(size - 5)
  return new Uint8Array(bytes.subarray(5))
}

describe('a frame', () => {
  test('is what the protocol compiler would have written', () => {
    fc.assert(
      fc.property(
        fc.array(anyResource, { maxLength: 5 }),
        fc.array(fc.string(), { maxLength: 3 }),
        (resources, removed) => {
          const framer = createFramer('boot')
          const any = (r: (typeof resources)[number]) => ({ typeUrl: r.type, value: new Uint8Array(r.bytes) })
          const delta = framer.frame({ mode: 'delta', type, resources, removed }, undefined)
          const expected = create(DeltaDiscoveryResponseSchema, {
            systemVersionInfo: delta.nonce,
            resources: resources.map((r) => ({ version: r.version, resource: any(r), name: r.name })),
            typeUrl: type,
            nonce: delta.nonce,
            removedResources: removed,
          })
          expect(fromBinary(DeltaDiscoveryResponseSchema, bodyOf(delta))).toEqual(expected)
          const whole = framer.frame({ mode: 'sotw', type, resources, removed: [] }, undefined)
          const sotw = create(DiscoveryResponseSchema, {
            versionInfo: whole.nonce,
            resources: resources.map(any),
            typeUrl: type,
            nonce: whole.nonce,
          })
          expect(fromBinary(DiscoveryResponseSchema, bodyOf(whole))).toEqual(sotw)
        },
      ),
    )
  })

  const one = { type, name: 'a', version: '1', bytes: new Uint8Array(100) }
  const response = { mode: 'delta' as const, type, resources: [one], removed: [] }

  test('is one buffer for all streams that need it', () => {
    const framer = createFramer('boot')
    expect(framer.frame(response, undefined).pieces).toBe(framer.frame(response, undefined).pieces)
    expect(framer.frame({ ...response, removed: ['b'] }, undefined).pieces).not.toBe(
      framer.frame(response, undefined).pieces,
    )
  })

  test('never carries a nonce that its stream has seen', () => {
    const framer = createFramer('boot')
    const seen = framer.frame(response, undefined).nonce
    expect(framer.frame(response, seen).nonce).not.toBe(seen)
  })

  test.each([
    ['large', 20, 1 << 20],
    ['small', 300, 10],
  ])('is forgotten when many others came: %s ones', (_what, count, size) => {
    const framer = createFramer('boot')
    const first = framer.frame(response, undefined).pieces
    for (let i = 0; i < count; i += 1)
      framer.frame({ ...response, resources: [{ ...one, name: `${i}`, bytes: new Uint8Array(size) }] }, undefined)
    expect(framer.frame(response, undefined).pieces).not.toBe(first)
  })
})
