import { expect, test } from 'vitest'
import { protocolOf } from '#mesh/model/service.ts'

test.each([
  ['http', 'http', true],
  ['http-web', 'http', true],
  ['HTTP2-api', 'http2', true],
  ['grpc-web', 'http', true],
  ['grpc-web-x', 'http', true],
  ['grpc-webhook', 'http', true],
  ['grpc-x', 'grpc', true],
  ['tcp-web', 'tcp', true],
  ['web', 'tcp', false],
  ['constructor', 'tcp', false],
  ['', 'tcp', false],
] as const)('a port named "%s" speaks %s', (name, protocol, declared) => {
  expect(protocolOf({ name })).toEqual({ protocol, declared })
})

test('what appProtocol says comes first', () => {
  expect(protocolOf({ name: 'http-web', appProtocol: 'kubernetes.io/h2c' }).protocol).toBe('http2')
})
