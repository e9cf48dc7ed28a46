import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { relayName } from '#gateway/proxy/relay-name.ts'
import { requestCertificate } from '#gateway/proxy/request-certificate.ts'
import { Problem } from '#mesh/model/problem.ts'
import { csrOf, keyInHand } from '#tests/support/authorities.ts'
import { type FakeCluster, type FakeRelay, makeFakeCluster, startFakeRelay } from '#tests/support/fake-relay.ts'

const dir = mkdtempSync(join(tmpdir(), 'request-'))
const caFile = join(dir, 'ca.pem')
const tokenFile = join(dir, 'token')
let cluster: FakeCluster
let relay: FakeRelay
let csr: string
beforeAll(async () => {
  cluster = await makeFakeCluster('cluster-a')
  const identityFor = (token: string) => (token === 'good' ? 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' : undefined)
  relay = await startFakeRelay({ cluster, identityFor })
  csr = await csrOf(keyInHand())
  writeFileSync(caFile, cluster.controlPlane.pem)
})
afterAll(async () => {
  await relay.stop()
  rmSync(dir, { recursive: true })
})

const from = (more: object = {}) => ({
  relay: { host: '127.0.0.1', port: relay.port },
  name: relayName('spiffe://cluster-a.mesh1/ns/isthmus-system/sa/relay', 'cluster-a'),
  caFile,
  tokenFile,
  cluster: 'cluster-a',
  ...more,
})
const problemOf = async (more: object = {}): Promise<Problem> => {
  const error: unknown = await requestCertificate(from(more), csr).then(
    () => undefined,
    (one: unknown) => one,
  )
  if (error instanceof Problem) return error
  throw new Error(`not refused, but ${String(error)}`)
}

test('the token is read again for every call', async () => {
  writeFileSync(tokenFile, 'old\n')
  expect(await problemOf()).toMatchObject({ kind: 'unauthenticated', message: expect.stringContaining(tokenFile) })
  writeFileSync(tokenFile, 'good\n')
  expect(await requestCertificate(from(), csr)).toHaveLength(3)
  expect(relay.tokens).toEqual(['old', 'good'])
})

test('a relay by name is dialled as well', async () => {
  writeFileSync(tokenFile, 'good')
  expect(await requestCertificate(from({ relay: { host: 'localhost', port: relay.port } }), csr)).toHaveLength(3)
})

describe('nothing is sent to a server that is not the expected relay', () => {
  test('the relay of another cluster, with a certificate of the same CA', async () => {
    const before = relay.tokens.length
    const found = await problemOf({
      name: relayName('spiffe://cluster-b.mesh1/ns/isthmus-system/sa/relay', 'cluster-b'),
    })
    expect(found.kind).toBe('forbidden')
    expect(found.message).toContain('shows a certificate for spiffe://cluster-a.mesh1/ns/isthmus-system/sa/relay')
    expect(found.message).toContain('expected is spiffe://cluster-b.mesh1/ns/isthmus-system/sa/relay')
    expect(relay.tokens).toHaveLength(before)
  })

  test('another CA', async () => {
    const before = relay.tokens.length
    const other = join(dir, 'other.pem')
    writeFileSync(other, (await makeFakeCluster('cluster-a')).controlPlane.pem)
    expect((await problemOf({ caFile: other })).message).toMatch(
      /cannot be reached \(.*certificate.*its CA is in .*other.pem\); see that it runs there/,
    )
    expect(relay.tokens).toHaveLength(before)
  })
})

test('nobody there, a web server, a connection that is cut: unavailable, with the address', async () => {
  const free = await listening(createServer())
  await free.close()
  expect(await problemOf({ relay: free.at })).toMatchObject({
    kind: 'unavailable',
    message: expect.stringContaining('ECONNREFUSED'),
  })
  const web = await listening(createHttp((_ask, reply) => reply.end('hello')))
  expect(await problemOf({ relay: web.at })).toMatchObject({
    kind: 'unavailable',
    message: expect.stringContaining(`${web.at.port}`),
  })
  await web.close()
  const cut = await listening(createServer((socket) => socket.destroy()))
  expect((await problemOf({ relay: cut.at })).kind).toBe('unavailable')
  await cut.close()
})

test.each([
  ['', 'is empty'],
  ['two words', 'something else than one token'],
  ['a\nb', 'something else than one token'],
  ['x'.repeat(20_000), 'something else than one token'],
])('a token file with %j', async (text, reason) => {
  writeFileSync(tokenFile, text)
  expect(await problemOf()).toMatchObject({ kind: 'invalid', message: expect.stringContaining(reason) })
})

test('a file that is not there is named, with its flag', async () => {
  expect((await problemOf({ tokenFile: '/none/token' })).message).toMatch(
    /no token at \/none\/token \(ENOENT\).*--token-file/,
  )
  expect((await problemOf({ caFile: '/none/ca' })).message).toMatch(
    /no control-plane CA at \/none\/ca \(ENOENT\).*--ca-file/,
  )
})

async function listening(server: ReturnType<typeof createServer>) {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  return { at: { host: '127.0.0.1', port }, close: () => new Promise((done) => server.close(done)) }
}
