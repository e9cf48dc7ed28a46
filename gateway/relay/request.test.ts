import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseRequest } from '#gateway/relay/request.ts'
import { DeltaDiscoveryRequestSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'

const requestOf = (text: fc.Arbitrary<string>) =>
  fc.record({
    typeUrl: text,
    responseNonce: text,
    resourceNamesSubscribe: fc.array(text, { maxLength: 3 }),
    resourceNamesUnsubscribe: fc.array(text, { maxLength: 3 }),
    initialResourceVersions: fc.dictionary(text, text, { maxKeys: 3 }),
    node: fc.option(fc.record({ id: text, cluster: text, userAgentName: text }), { nil: undefined }),
    errorDetail: fc.option(fc.record({ code: fc.integer({ min: 1, max: 16 }), message: text }), { nil: undefined }),
  })
// Messages that are ASCII throughout are read another way.
const request = fc.oneof(
  requestOf(fc.string({ maxLength: 200, unit: 'grapheme' })),
  requestOf(fc.string({ maxLength: 200 })),
)

test('whatever a delta request holds is read as the general reader reads it', () => {
  fc.assert(
    fc.property(request, ({ node, errorDetail, ...fields }) => {
      const said = create(DeltaDiscoveryRequestSchema, {
        ...fields,
        ...(node && { node }),
        ...(errorDetail && { errorDetail }),
      })
      const read = parseRequest('delta', toBinary(DeltaDiscoveryRequestSchema, said))
      expect(read).toMatchObject({ type: said.typeUrl, nonce: said.responseNonce })
      expect([read.subscribe, read.unsubscribe]).toEqual([said.resourceNamesSubscribe, said.resourceNamesUnsubscribe])
      expect(Object.fromEntries(read.brought.versions())).toEqual(said.initialResourceVersions)
      expect(read.brought.size).toBe(Object.keys(said.initialResourceVersions).length)
      expect(read.node).toEqual(said.node)
      expect(read.error).toBe(errorDetail && (errorDetail.message || `code ${errorDetail.code}`))
    }),
  )
})

test('fields that are not known are stepped over', () => {
  const unknown = [0x78, 0x96, 0x01, 0x7d, 1, 2, 3, 4, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7a, 2, 0xff, 0xff]
  const known = toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, { typeUrl: 'type' }))
  expect(parseRequest('delta', new Uint8Array([...unknown, ...known, ...unknown])).type).toBe('type')
  expect(() => parseRequest('delta', new Uint8Array([0x7b, ...known]))).toThrow()
})

test('bytes that are no request throw', () => {
  const bytes = toBinary(
    DeltaDiscoveryRequestSchema,
    create(DeltaDiscoveryRequestSchema, { typeUrl: 'type', responseNonce: 'nonce' }),
  )
  for (let cut = 1; cut < bytes.length; cut++)
    if (cut !== 'type'.length + 2) expect(() => parseRequest('delta', bytes.subarray(0, cut))).toThrow()
  expect(() => parseRequest('delta', new Uint8Array([0x12, 1, 0xff, 0x32, 1, 0xff]))).toThrow()
})
