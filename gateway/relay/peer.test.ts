import { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { peerOf } from '#gateway/relay/peer.ts'
import { workload } from '#tests/support/ads-relay.ts'
import { makeFakeCluster } from '#tests/support/fake-relay.ts'

let certificate: X509Certificate
beforeAll(async () => {
  certificate = new X509Certificate((await workload(await makeFakeCluster('a'), 'shop', 'web')).pem)
})

const peer = (now: Date, shown: () => X509Certificate | undefined, authorization: readonly string[] = []) =>
  peerOf({ address: '127.0.0.1:1', certificate: shown, values: () => authorization }, now)

describe('a certificate proves its names', () => {
  test('while it is in its time, and not a second later: a connection is not verified again', () => {
    const end = Date.parse(certificate.validTo)
    const urisAt = (ms: number) => peer(new Date(ms), () => certificate).certificateUris
    expect(urisAt(end - 1000)).toEqual(['spiffe://a.mesh1/ns/shop/sa/web'])
    expect(urisAt(end)).toEqual([])
  })

  test('never where a name could be mistaken for two', () => {
    const subjectAltName = 'URI:spiffe://a/ns/shop/sa/web, DNS:"a, URI:spiffe://a/ns/shop/sa/admin"'
    const quoted = Object.create(certificate, {
      subjectAltName: { value: subjectAltName },
      validTo: { value: certificate.validTo },
    })
    expect(peer(new Date(0), () => quoted).certificateUris).toEqual([])
  })

  test('none is none', () => expect(peer(new Date(), () => undefined).certificateUris).toEqual([]))
})

test.each([
  ['one token', ['Bearer abc'], 'abc'],
  ['in small letters', ['bearer abc'], 'abc'],
  ['two headers are no token', ['Bearer abc', 'Bearer def'], undefined],
  ['another scheme', ['Basic abc'], undefined],
  ['no header', [], undefined],
])('a bearer token: %s', (_, headers, token) => {
  expect(peer(new Date(), () => undefined, headers).bearerToken).toBe(token)
})
