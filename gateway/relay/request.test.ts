import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseRequest } from '#gateway/relay/request.ts'
import { DeltaDiscoveryRequestSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'

const text = fc.string({ maxLength: 200, unit: 'grapheme' })

test('whatever a delta request holds is read, acknowledgements among them', () => {
  fc.assert(
    fc.property(
      text,
      text,
      fc.array(text, { maxLength: 2 }),
      fc.option(text, { nil: undefined }),
      (typeUrl, responseNonce, resourceNamesSubscribe, message) => {
        const errorDetail = message === undefined ? {} : { errorDetail: { code: 13, message } }
        const request = create(DeltaDiscoveryRequestSchema, {
          ...{ typeUrl, responseNonce, resourceNamesSubscribe, ...errorDetail },
        })
        const read = parseRequest('delta', toBinary(DeltaDiscoveryRequestSchema, request))
        expect(read).toMatchObject({ type: typeUrl, nonce: responseNonce, subscribe: resourceNamesSubscribe })
        expect(read.error).toBe(message === undefined ? undefined : message || 'code 13')
      },
    ),
  )
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
