import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readDeltaRequest, readRequest, writeDeltaResponse, writeResponse } from '#gateway/proxy/discovery.ts'
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '#gen/envoy/service/discovery/v3/discovery_pb.js'

const name = fc.string({ minLength: 1, maxLength: 30 })
const names = fc.array(name, { maxLength: 5 })
const answer = fc.record({
  version: name,
  nonce: name,
  resources: fc.array(fc.record({ name, version: name, bytes: fc.uint8Array({ maxLength: 400 }) }), { maxLength: 4 }),
  removed: names,
})
const node = { id: 'sidecar~1.1.1.1~a.b~b', metadata: { CLUSTER_ID: 'a' } }

test('a state-of-the-world request says the same to us as to the generated types', () => {
  fc.assert(
    fc.property(names, fc.string(), fc.option(fc.string()), (resourceNames, responseNonce, message) => {
      const errorDetail = message === null ? {} : { errorDetail: { code: 3, message } }
      const request = create(DiscoveryRequestSchema, {
        node,
        versionInfo: '7',
        resourceNames,
        responseNonce,
        ...errorDetail,
      })
      const asked = readRequest(toBinary(DiscoveryRequestSchema, request))
      expect(asked).toMatchObject({ subscribe: resourceNames, unsubscribe: [], nonce: responseNonce })
      expect(asked.refused).toBe(message === null ? undefined : message || 'without a reason')
    }),
  )
})

test('a delta request says the same to us as to the generated types', () => {
  fc.assert(
    fc.property(names, names, fc.dictionary(name, name), (subscribe, unsubscribe, held) => {
      const request = create(DeltaDiscoveryRequestSchema, {
        node,
        resourceNamesSubscribe: subscribe,
        resourceNamesUnsubscribe: unsubscribe,
        initialResourceVersions: held,
        responseNonce: 'n',
      })
      const asked = readDeltaRequest(toBinary(DeltaDiscoveryRequestSchema, request))
      expect(asked).toMatchObject({ subscribe, unsubscribe, nonce: 'n' })
      expect(new Map(asked.held)).toEqual(new Map(Object.entries(held)))
    }),
  )
})

test('a response reads back by the generated types', () => {
  fc.assert(
    fc.property(answer, (given) => {
      const whole = fromBinary(DiscoveryResponseSchema, writeResponse(given))
      expect(whole).toMatchObject({ versionInfo: given.version, nonce: given.nonce })
      expect(whole.resources.map((one) => [...one.value])).toEqual(given.resources.map((one) => [...one.bytes]))
      const delta = fromBinary(DeltaDiscoveryResponseSchema, writeDeltaResponse(given))
      expect(delta).toMatchObject({
        systemVersionInfo: given.version,
        nonce: given.nonce,
        removedResources: given.removed,
      })
      expect(delta.resources.map((one) => [one.name, one.version, [...(one.resource?.value ?? [])]])).toEqual(
        given.resources.map((one) => [one.name, one.version, [...one.bytes]]),
      )
      for (const url of [whole.typeUrl, delta.typeUrl, ...whole.resources.map((one) => one.typeUrl)])
        expect(url).toBe('type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret')
    }),
  )
})

test('bytes that are no message are refused, never half read', () => {
  expect(() => readRequest(Uint8Array.of(0x1a, 0xff, 0x01))).toThrow()
})
