import { X509Certificate } from 'node:crypto'
import { CreateKeyCommand, type KeySpec, KMSClient } from '@aws-sdk/client-kms'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { KeyWish } from '#control/keys/open-signer.ts'
import { stepRotations } from '#control/trust/rotate.ts'
import { csrOf, keyInHand } from '#tests/support/authorities.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { type FaultProxy, startFaultProxy } from '#tests/support/fault-proxy.ts'
import { type Ministack, rootCredentials, startMinistack } from '#tests/support/ministack.ts'
import { openTestDatabase } from '#tests/support/stores.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

/** Found where AWS's tools look for it, as in a deployment. */
const settings = {
  AWS_ACCESS_KEY_ID: rootCredentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: rootCredentials.secretAccessKey,
}
let aws: Ministack
let proxy: FaultProxy
let admin: KMSClient
const before = { ...process.env }
beforeAll(async () => {
  aws = await startMinistack()
  proxy = await startFaultProxy(aws.url)
  admin = new KMSClient({ region: 'us-east-1', endpoint: aws.url, credentials: rootCredentials })
  Object.assign(process.env, settings, { AWS_ENDPOINT_URL: proxy.url })
}, 300_000)
afterAll(async () => {
  for (const name of [...Object.keys(settings), 'AWS_ENDPOINT_URL']) delete process.env[name]
  Object.assign(process.env, before)
  admin?.destroy()
  await proxy?.stop()
  await aws?.stop()
})

let test_: TestCentre | undefined
afterEach(async () => {
  await test_?.close()
  test_ = undefined
})

async function keyIn(KeySpec: KeySpec): Promise<string> {
  const { KeyMetadata } = await admin.send(new CreateKeyCommand({ KeySpec, KeyUsage: 'SIGN_VERIFY' }))
  return KeyMetadata?.Arn ?? ''
}

async function meshOfOne(): Promise<{ readonly centre: TestCentre; readonly east: TrustingRelay }> {
  const centre = await openTestCentre()
  test_ = centre
  const east = await TrustingRelay.join(centre, 'east')
  await centre.settle()
  await east.keepUp()
  return { centre, east }
}

const authorities = async (centre: TestCentre, kind: string) =>
  ((await centre.admin('GET', '/v1/authorities')).body['items'] as Record<string, unknown>[])
    .filter((one) => one['kind'] === kind)
    .map(({ state, signer }) => `${state} ${signer}`)

/** Until the rotation waits for nobody any more. */
async function rotate(centre: TestCentre, east: TrustingRelay, asked: object): Promise<void> {
  const begun = await centre.admin('POST', '/v1/rotations', asked)
  expect([begun.status, begun.body['detail']]).toEqual([201, undefined])
  const state = async () => (await centre.admin('GET', `/v1/rotations/${begun.body['id']}`)).body['state']
  for (let rounds = 0; rounds < 6 && (await state()) !== 'done'; rounds++) {
    await east.keepUp()
    await stepRotations(centre.centre)
  }
  expect(await state()).toBe('done')
  expect(east.fault).toBeUndefined()
}

const certify = async (centre: TestCentre, { relay }: TrustingRelay) => {
  if (relay.bearer === '') await relay.authenticate()
  const body = { kind: 'issuing', csr: await csrOf(keyInHand()) }
  return await centre.call('POST', `/v1/clusters/${relay.id}/certificates`, { bearer: relay.bearer, body })
}

describe('an authority whose key lies with a key service', () => {
  test('moving there and back is a rotation; what is certified is signed there, or told when to come again', async () => {
    const { centre, east } = await meshOfOne()
    await rotate(centre, east, { kind: 'root', where: `kms:${await keyIn('ECC_NIST_P384')}` })
    expect(await authorities(centre, 'root')).toEqual(['revoked file', 'active kms'])
    const { status, body } = await certify(centre, east)
    expect(status).toBe(200)
    const [root] = (body['roots'] as string[]).map((pem) => new X509Certificate(pem))
    const issuing = new X509Certificate(String(body['chain']))
    expect(root && issuing.verify(root.publicKey)).toBe(true)
    expect(root?.publicKey.asymmetricKeyDetails?.namedCurve).toBe('secp384r1')

    // Unwell when a cluster asks: it is told when to come again, and comes.
    proxy.fail('unavailable', 3)
    expect(await certify(centre, east)).toMatchObject({
      status: 503,
      body: { retryAfterSeconds: expect.any(Number), reason: 'unreachable' },
    })
    expect((await certify(centre, east)).status).toBe(200)

    // Gone at a start: the centre goes on without it, and uses it once it is back.
    proxy.fail('unavailable', 6)
    const again = await openTestCentre({ db: centre.db, dir: centre.dir })
    expect((await again.admin('GET', '/v1/authorities')).status).toBe(200)
    expect(await certify(again, east)).toMatchObject({ status: 503, body: { reason: 'unreachable' } })
    expect((await certify(again, east)).status).toBe(200)

    await rotate(centre, east, { kind: 'root', where: 'file' })
    expect(await authorities(centre, 'root')).toEqual(['revoked file', 'revoked kms', 'active file'])
  })

  test('unwell when a rotation begins: nothing has begun, and the next attempt is the first', async () => {
    const { centre } = await meshOfOne()
    const asked = { kind: 'root', where: `kms:${await keyIn('ECC_NIST_P256')}` }
    proxy.fail('throttle', 3)
    const throttled = await centre.admin('POST', '/v1/rotations', asked)
    expect(throttled).toMatchObject({ status: 503, body: { reason: 'throttled', retryAfterSeconds: 10 } })
    proxy.fail('denied', 1)
    const denied = await centre.admin('POST', '/v1/rotations', asked)
    expect(denied).toMatchObject({ status: 409, body: { detail: expect.stringContaining('kms:GetPublicKey') } })
    expect(await authorities(centre, 'root')).toEqual(['active file'])
    expect((await centre.admin('GET', '/v1/rotations')).body['items']).toEqual([])
    expect(await centre.admin('POST', '/v1/rotations', asked)).toMatchObject({
      status: 201,
      body: { step: 'published' },
    })
  })

  test('unwell at each step of a rotation: the step waits, and goes on once it is well', async () => {
    const { centre, east } = await meshOfOne()
    await rotate(centre, east, { kind: 'control-plane', where: `kms:${await keyIn('ECC_NIST_P256')}` })
    const begun = await centre.admin('POST', '/v1/rotations', { kind: 'control-plane', where: 'file' })
    const path = `/v1/rotations/${begun.body['id']}`
    for (const [step, next] of [
      ['published', 'active'],
      ['active', 'revoked'],
    ]) {
      await east.keepUp()
      const old = { ...((await centre.admin('GET', '/v1/trust')).body['bundle'] as object) }
      // By now the old one signs no more: only the step that puts the new one to use needs it.
      if (step === 'published') {
        proxy.fail('unavailable', 3)
        await stepRotations(centre.centre).catch(() => undefined)
        expect((await centre.admin('GET', path)).body).toMatchObject({ step, state: 'running' })
        expect((await centre.admin('GET', '/v1/trust')).body['bundle']).toEqual(old)
      }
      await stepRotations(centre.centre)
      expect((await centre.admin('GET', path)).body).toMatchObject({ step: next })
    }
  })

  test.each(['ECC_NIST_P256', 'ECC_NIST_P384'] as const)('from the first start on: %s', async (spec) => {
    const root = { where: `kms:${await keyIn(spec)}` } as const
    const centre = await openTestCentre({ first: { root } })
    test_ = centre
    expect(await authorities(centre, 'root')).toEqual(['active kms'])
    const east = await TrustingRelay.join(centre, 'east')
    const { status, body } = await certify(centre, east)
    expect(status).toBe(200)
    const [own] = (body['roots'] as string[]).map((pem) => new X509Certificate(pem))
    expect(own && new X509Certificate(String(body['chain'])).verify(own.publicKey)).toBe(true)
    await openTestCentre({ db: centre.db, dir: centre.dir, first: { root } })
    const other = openTestCentre({ db: centre.db, dir: centre.dir, first: { root: { where: 'file', curve: 'P-256' } } })
    await expect(other).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining(root.where) })
  })

  test('at a first start with a key that does not fit, or away: said, and the next start is the first', async () => {
    const db = await openTestDatabase()
    const begin = (root: KeyWish) => openTestCentre({ db, first: { root } })
    const where = `kms:${await keyIn('ECC_NIST_P256')}` as const
    await expect(begin({ where: `kms:${await keyIn('ECC_NIST_P521')}` })).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('ECC_NIST_P256'),
    })
    await expect(begin({ where, curve: 'P-384' })).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('is P-256, and P-384 was asked for'),
    })
    await expect(begin({ where: 'kms:alias/root' })).rejects.toMatchObject({ kind: 'invalid' })
    proxy.fail('unavailable', 3)
    await expect(begin({ where })).rejects.toMatchObject({ kind: 'unavailable' })
    expect(await authorities(await begin({ where }), 'root')).toEqual(['active kms'])
    await db.close()
  })
})
