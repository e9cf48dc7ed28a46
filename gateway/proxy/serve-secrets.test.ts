import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { anyUnpack } from '@bufbuild/protobuf/wkt'
import { Client, credentials } from '@grpc/grpc-js'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Log } from '#gateway/proxy/log.ts'
import { type SecretServer, serveSecrets } from '#gateway/proxy/serve-secrets.ts'
import { SecretSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js'
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
} from '#gen/envoy/service/discovery/v3/discovery_pb.js'
import { Problem } from '#mesh/model/problem.ts'
import { buildTrustSecret } from '#mesh/translate/secret.ts'

/** grpc-js as the client: a second opinion on frames and trailers written by hand. */
const path = '/envoy.service.secret.v3.SecretDiscoveryService/'
const dir = mkdtempSync(join(tmpdir(), 'sds-'))
const socket = join(dir, 's.sock')
const refusals: unknown[] = []
const log = { error: (facts: unknown) => refusals.push(facts), debug: () => undefined } as unknown as Log
let server: SecretServer
let client: Client
beforeEach(async () => {
  refusals.length = 0
  server = await serveSecrets(socket, log)
  client = new Client(`unix:${socket}`, credentials.createInsecure())
})
afterEach(() => {
  client.close()
  server.close()
  rmSync(socket, { force: true })
})

const publish = (text: string) =>
  server.publish(new Map(['default', 'ROOTCA'].map((name) => [name, buildTrustSecret(name, text)])))

function sotw() {
  const stream = client.makeBidiStreamRequest(
    `${path}StreamSecrets`,
    (one: MessageInitShape<typeof DiscoveryRequestSchema>) =>
      Buffer.from(toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, one))),
    (bytes) => fromBinary(DiscoveryResponseSchema, bytes),
  )
  return { stream, answers: answersOf<DiscoveryResponse>(stream) }
}

function delta() {
  const stream = client.makeBidiStreamRequest(
    `${path}DeltaSecrets`,
    (one: MessageInitShape<typeof DeltaDiscoveryRequestSchema>) =>
      Buffer.from(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, one))),
    (bytes) => fromBinary(DeltaDiscoveryResponseSchema, bytes),
  )
  return { stream, answers: answersOf<DeltaDiscoveryResponse>(stream) }
}

/** Answers in order, waited for at most 2 s. */
function answersOf<T>(stream: Readable) {
  const ready: T[] = []
  const waiting: ((one: T) => void)[] = []
  stream.on('data', (one: T) => {
    const take = waiting.shift()
    if (take) take(one)
    else ready.push(one)
  })
  stream.on('error', () => undefined)
  return {
    ready,
    next: () =>
      new Promise<T>((done, fail) => {
        const one = ready.shift()
        if (one) return done(one)
        waiting.push(done)
        setTimeout(() => fail(new Error('no answer in 2 s')), 2_000).unref()
      }),
  }
}

const secretsIn = (answer: DiscoveryResponse): readonly string[] =>
  answer.resources.map((one) => {
    const secret = anyUnpack(one, SecretSchema)
    const context = secret?.type.case === 'validationContext' ? secret.type.value.trustedCa?.specifier : undefined
    return `${secret?.name}=${context?.case === 'inlineBytes' ? Buffer.from(context.value).toString() : ''}`
  })

test('the socket is its owner’s alone', () => {
  expect(statSync(socket).mode & 0o777).toBe(0o600)
})

test('state of the world: asked before there is a secret, answered when there is; a new one is pushed', async () => {
  const { stream, answers } = sotw()
  stream.write({ resourceNames: ['default'] })
  await new Promise((done) => setTimeout(done, 50))
  expect(answers.ready).toEqual([])
  publish('one')
  const first = await answers.next()
  expect(secretsIn(first)).toEqual(['default=one'])
  stream.write({ resourceNames: ['default'], versionInfo: first.versionInfo, responseNonce: first.nonce })
  publish('two')
  expect(secretsIn(await answers.next())).toEqual(['default=two'])
  expect(answers.ready).toEqual([])
  stream.end()
})

test('one answer is outstanding: what came meanwhile is skipped, the newest is sent', async () => {
  publish('one')
  const { stream, answers } = sotw()
  stream.write({ resourceNames: ['ROOTCA'] })
  const first = await answers.next()
  publish('two')
  publish('three')
  stream.write({ resourceNames: ['ROOTCA'], versionInfo: first.versionInfo, responseNonce: first.nonce })
  expect(secretsIn(await answers.next())).toEqual(['ROOTCA=three'])
  stream.end()
})

test('a refusal is logged, and the same is not sent again', async () => {
  publish('bad')
  const { stream, answers } = sotw()
  stream.write({ resourceNames: ['default'] })
  const { nonce } = await answers.next()
  stream.write({ resourceNames: ['default'], responseNonce: nonce, errorDetail: { code: 3, message: 'no PEM' } })
  publish('good')
  expect(secretsIn(await answers.next())).toEqual(['default=good'])
  expect(refusals).toEqual([{ reason: 'no PEM' }])
  stream.end()
})

test('delta: each secret with its version, an unknown name removed, nothing again after a reconnect', async () => {
  publish('one')
  const first = delta()
  first.stream.write({ resourceNamesSubscribe: ['default', 'nobody'] })
  const answer = await first.answers.next()
  expect(answer.resources.map((one) => one.name)).toEqual(['default'])
  expect(answer.removedResources).toEqual(['nobody'])
  first.stream.cancel()

  const again = delta()
  const version = answer.resources[0]?.version ?? ''
  again.stream.write({ resourceNamesSubscribe: ['default'], initialResourceVersions: { default: version } })
  again.stream.write({ resourceNamesSubscribe: ['ROOTCA'] })
  expect((await again.answers.next()).resources.map((one) => one.name)).toEqual(['ROOTCA'])
  again.stream.cancel()
})

test('delta: a name that is no longer wanted is no longer sent', async () => {
  publish('one')
  const { stream, answers } = delta()
  stream.write({ resourceNamesSubscribe: ['default', 'ROOTCA'] })
  const { nonce } = await answers.next()
  stream.write({ responseNonce: nonce, resourceNamesUnsubscribe: ['default'] })
  stream.write({ resourceNamesSubscribe: ['other'] })
  expect((await answers.next()).removedResources).toEqual(['other'])
  stream.end()
})

test('garbage resets its stream and no other', async () => {
  publish('one')
  const good = sotw()
  const bad = client.makeBidiStreamRequest(
    `${path}StreamSecrets`,
    (one: Buffer) => one,
    (bytes) => bytes,
  )
  const ended = new Promise((done) => bad.on('error', done))
  bad.write(Buffer.from([0x1a, 0xff, 0xff, 0x01]))
  await ended
  good.stream.write({ resourceNames: ['default'] })
  expect(secretsIn(await good.answers.next())).toEqual(['default=one'])
  good.stream.end()
})

test('another method is unimplemented', async () => {
  const stream = client.makeBidiStreamRequest(
    `${path}FetchSecrets`,
    (one: Buffer) => one,
    (bytes) => bytes,
  )
  const error = await new Promise((done) => stream.on('error', done))
  expect(error).toMatchObject({ code: 12 })
})

test('a socket that cannot be opened is named', async () => {
  const refused = serveSecrets(join(dir, 'none/s.sock'), log)
  await expect(refused).rejects.toThrow(Problem)
  await expect(refused).rejects.toMatchObject({ extra: { on: join(dir, 'none/s.sock') } })
})
