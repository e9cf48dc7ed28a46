import { createPublicKey, type JsonWebKey, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
  await new TestRelay(centre, 'east').join()
})
afterAll(() => centre.close())

const path = (trustDomain: string): string => `/v1/spiffe-bundles/${trustDomain}`
type Key = { readonly use: string; readonly kty: string; readonly crv: string; readonly x5c: readonly string[] }
const rootsOf = (keys: unknown): X509Certificate[] =>
  (keys as Key[]).map(({ x5c: [der = ''] }) => new X509Certificate(Buffer.from(der, 'base64')))

test('anybody reads the roots of a member’s trust domain as JSON Web Keys', async () => {
  const { status, body } = await centre.call('GET', path('east.mesh1'))
  expect(status).toBe(200)
  expect(body).toMatchObject({ spiffe_sequence: 1, spiffe_refresh_hint: 300, keys: [{ use: 'x509-svid', kty: 'EC' }] })
  const { certificate } = await centre.centre.keys.active('root')
  const [root] = rootsOf(body['keys'])
  expect(root?.raw.equals(certificate.der)).toBe(true)
  const [jwk] = body['keys'] as (Key & JsonWebKey)[]
  expect(root && createPublicKey({ key: { ...jwk }, format: 'jwk' }).equals(root.publicKey)).toBe(true)
})

test('while a root rotates, the next one is there too, under a higher number', async () => {
  expect((await centre.admin('POST', '/v1/rotations', { kind: 'root' })).status).toBe(201)
  const { body } = await centre.call('GET', path('east.mesh1'))
  expect(rootsOf(body['keys']).map(({ subject }) => subject.split('\n').at(-1))).toEqual([
    'CN=root 1 of mesh1',
    'CN=root 2 of mesh1',
  ])
  expect(body['spiffe_sequence']).toBeGreaterThan(1)
})

test.each(['west.mesh1', 'east', 'EAST.mesh1', 'mesh1', '%2e%2e', 'x'.repeat(300)])(
  '"%s" is nobody’s',
  async (name) => {
    const { status } = await centre.call('GET', path(name))
    expect([400, 404]).toContain(status)
  },
)

test('of a cluster that was revoked nothing is vouched for', async () => {
  await new TestRelay(centre, 'gone').join()
  expect((await centre.call('GET', path('gone.mesh1'))).status).toBe(200)
  const asked = { kind: 'cluster', subject: 'gone', reason: 'stolen' }
  expect((await centre.admin('POST', '/v1/revocations', asked)).status).toBe(201)
  expect((await centre.call('GET', path('gone.mesh1'))).status).toBe(404)
})
