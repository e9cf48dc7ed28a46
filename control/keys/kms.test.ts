import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateAliasCommand, CreateKeyCommand, DisableKeyCommand, type KeySpec, KMSClient } from '@aws-sdk/client-kms'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type KmsAccess, kmsClient, kmsSigner, openKmsKey, regionOfArn } from '#control/keys/kms.ts'
import { type KeyRing, makeSigner, openSigner } from '#control/keys/open-signer.ts'
import { signerContract } from '#control/keys/testing/signer-contract.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parsePublicKey } from '#mesh/trust/public-key.ts'
import type { Signer } from '#mesh/trust/signer.ts'
import { type FaultProxy, startFaultProxy } from '#tests/support/fault-proxy.ts'
import { type Ministack, rootCredentials, startMinistack } from '#tests/support/ministack.ts'

/** A real client and real signatures, against an emulator that checks both who asks and what he may. */
let aws: Ministack
let proxy: FaultProxy
let admin: KMSClient
let access: KmsAccess
let p256: string
let p384: string
beforeAll(async () => {
  aws = await startMinistack()
  proxy = await startFaultProxy(aws.url)
  const region = 'us-east-1'
  admin = new KMSClient({ region, endpoint: aws.url, credentials: rootCredentials })
  access = { endpoint: proxy.url, credentials: rootCredentials, requestMs: 60_000 }
  p256 = await makeKey('ECC_NIST_P256')
  p384 = await makeKey('ECC_NIST_P384')
}, 300_000)
afterAll(async () => {
  admin?.destroy()
  await proxy?.stop()
  await aws?.stop()
})

async function makeKey(KeySpec: KeySpec, KeyUsage: 'SIGN_VERIFY' | 'ENCRYPT_DECRYPT' = 'SIGN_VERIFY'): Promise<string> {
  const { KeyMetadata } = await admin.send(new CreateKeyCommand({ KeySpec, KeyUsage }))
  return KeyMetadata?.Arn ?? ''
}

const warned: { readonly fields: object; readonly text: string }[] = []
const log = { warn: (fields: object, text: string) => void warned.push({ fields, text }) }
beforeEach(() => {
  warned.length = 0
})
/** Of a client that waits long for each attempt, so that a busy machine counts for nothing; `requestMs` where it should not. */
const signerOf = async (arn: string, requestMs = 60_000): Promise<Signer> =>
  kmsSigner({ client: await kmsClient(arn, { ...access, requestMs }), arn, log, deadlineMs: 100_000 })

signerContract('KMS, P-256', () => signerOf(p256))
signerContract('KMS, P-384', () => signerOf(p384))

const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'it was done',
    (error: unknown) => error,
  )

describe('KMS unwell, while it signs', () => {
  const tbs = Buffer.from('what is to be signed')
  let signer: Signer
  let hasty: Signer
  let before: number
  beforeEach(async () => {
    signer = await signerOf(p256)
    hasty = await signerOf(p256, 1000)
    before = proxy.seen()
    warned.length = 0
  })
  const calls = (): number => proxy.seen() - before

  test.each([
    ['throttled twice', 'throttle', 2],
    ['unavailable twice', 'unavailable', 2],
    ['cut off', 'reset', 1],
    ['hanging once', 'hang', 1],
    ['slow', 'slow', 1],
  ] as const)('%s: it signs all the same', async (_, fault, times) => {
    proxy.fail(fault, times)
    expect((await (fault === 'hang' ? hasty : signer).sign(tbs)).length).toBeGreaterThan(60)
    if (fault !== 'hang') expect(calls()).toBe(fault === 'slow' ? 1 : times + 1)
  })

  test.each([
    ['throttled for long', 'throttle', 3, 'throttled', /too many/],
    ['unavailable for long', 'unavailable', 3, 'unreachable', /could not be asked/],
    ['hanging for long', 'hang', 3, 'timeout', /did not answer kms:Sign/],
  ] as const)('%s: said to be tried later, and nothing is left over', async (_, fault, times, reason, says) => {
    proxy.fail(fault, times)
    const problem = await refusal((fault === 'hang' ? hasty : signer).sign(tbs))
    expect(problem).toMatchObject({ kind: 'unavailable', message: says, extra: { reason } })
    expect(problem instanceof Problem && problem.extra['retryAfterSeconds']).toBeGreaterThan(0)
    expect(calls()).toBe(3)
    expect(warned).toMatchObject([{ fields: { key: p256, action: 'kms:Sign', reason } }])
    expect((await signer.sign(tbs)).length).toBeGreaterThan(60)
  })

  test('hanging past the deadline of the whole: ended there, whatever the attempts would take', async () => {
    const key = { client: await kmsClient(p256, access), arn: p256, log, deadlineMs: 60_000 }
    const late = await kmsSigner(key)
    key.deadlineMs = 200
    proxy.fail('hang', 1)
    expect(await refusal(late.sign(tbs))).toMatchObject({ kind: 'unavailable', extra: { reason: 'timeout' } })
    expect(calls()).toBe(2)
  })

  test('denied: asked once, and what is missing is named; AWS’s own words stay in the log', async () => {
    proxy.fail('denied', 1)
    const problem = await refusal(signer.sign(tbs))
    expect(problem).toMatchObject({ kind: 'conflict', message: /kms:Sign and kms:GetPublicKey in the key's policy/ })
    expect(problem instanceof Problem && problem.message).not.toContain('assumed-role')
    expect(calls()).toBe(1)
  })

  test('gone altogether', async () => {
    const gone = await startFaultProxy(aws.url)
    const client = await kmsClient(p256, { ...access, endpoint: gone.url })
    const lost = await kmsSigner({ client, arn: p256, log })
    await gone.stop()
    expect(await refusal(lost.sign(tbs))).toMatchObject({ kind: 'unavailable', extra: { reason: 'unreachable' } })
  })

  test('its key disabled meanwhile', async () => {
    const arn = await makeKey('ECC_NIST_P256')
    const short = await signerOf(arn)
    await admin.send(new DisableKeyCommand({ KeyId: arn }))
    expect(await refusal(short.sign(tbs))).toMatchObject({ kind: 'conflict', message: /enable-key/ })
  })
})

describe('a key that is not taken', () => {
  test.each([
    ['another curve', 'ECC_NIST_P521', 'SIGN_VERIFY'],
    ['a curve of coins', 'ECC_SECG_P256K1', 'SIGN_VERIFY'],
    ['RSA', 'RSA_2048', 'SIGN_VERIFY'],
    ['RSA that encrypts', 'RSA_2048', 'ENCRYPT_DECRYPT'],
  ] as const)('%s', async (_, spec, usage) => {
    const arn = await makeKey(spec, usage)
    expect(await refusal(signerOf(arn))).toMatchObject({ kind: 'conflict', message: /ECC_NIST_P256/ })
  })

  test('one that is not there', async () => {
    const arn = p256.replace(/key\/.*/, 'key/00000000-0000-0000-0000-000000000000')
    expect(await refusal(signerOf(arn))).toMatchObject({ kind: 'not-found', message: /no KMS key/ })
  })

  test('credentials that AWS does not know', async () => {
    const credentials = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'canary-of-a-secret-key' }
    const client = await kmsClient(p256, { ...access, credentials })
    const problem = await refusal(kmsSigner({ client, arn: p256, log }))
    expect(problem).toMatchObject({ kind: 'unavailable', extra: { reason: 'credentials' } })
    expect(JSON.stringify([problem, warned])).not.toContain('canary')
  })

  test.each([
    '',
    'alias/root',
    '1234abcd-12ab-34cd-56ef-1234567890ab',
    'arn:aws:iam::111122223333:role/x',
    'arn:aws:kms:us-east-1:111122223333:key/a b',
    'arn:aws:kms:evil.example/:111122223333:key/a',
  ])('"%s", which is no ARN of a key', (arn) => {
    expect(() => regionOfArn(arn)).toThrow(/is no ARN of a KMS key/)
  })

  test('an ARN says its region, also of other partitions and aliases', () => {
    expect(regionOfArn('arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef')).toBe('eu-central-1')
    expect(regionOfArn('arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/isthmus/root')).toBe('us-gov-west-1')
    expect(regionOfArn('arn:aws-cn:kms:cn-north-1:111122223333:key/a')).toBe('cn-north-1')
  })
})

describe('a key by its reference', () => {
  const passphrase = Buffer.from('correct horse battery staple')
  let ring: KeyRing
  beforeEach(() => {
    const dir = mkdtempSync(join(tmpdir(), 'ring-'))
    ring = { dir, passphrase, random: (n) => new Uint8Array(n).fill(3), scryptCost: 2 ** 14, log, kms: access }
  })
  afterEach(() => rmSync(ring.dir, { recursive: true, force: true }))
  const spkiOf = async (signer: Signer): Promise<string> => Buffer.from(await signer.publicKeySpki()).toString('hex')

  test('in KMS: the named one is used, by its own ARN, and found again', async () => {
    const made = await makeSigner('root', 2, { where: `kms:${p384}` }, ring)
    expect(made.keyRef).toBe(`kms:${p384}`)
    expect(await spkiOf(await openSigner(made.keyRef, ring))).toBe(await spkiOf(made.signer))
    expect(made.signer.algorithm).toBe('ecdsa-sha384')
  })

  test('by an alias: the key behind it is what stays', async () => {
    await admin.send(new CreateAliasCommand({ AliasName: 'alias/isthmus-root', TargetKeyId: p256 }))
    const alias = p256.replace(/key\/.*/, 'alias/isthmus-root')
    expect((await makeSigner('root', 2, { where: `kms:${alias}` }, ring)).keyRef).toBe(`kms:${p256}`)
    expect((await openKmsKey({ client: await kmsClient(alias, access), arn: alias })).arn).toBe(p256)
  })

  test('of another curve than asked: refused', async () => {
    const asked = makeSigner('root', 2, { where: `kms:${p256}`, curve: 'P-384' }, ring)
    expect(await refusal(asked)).toMatchObject({ kind: 'conflict', message: /is P-256, and P-384 was asked for/ })
  })

  test('as a file: made once, on the curve that was asked for, and found again', async () => {
    const made = await makeSigner('root', 2, { where: 'file', curve: 'P-384' }, ring)
    expect(made.keyRef).toBe('file:root-2.key')
    expect(parsePublicKey(await made.signer.publicKeySpki()).kind).toBe('P-384')
    const again = await makeSigner('root', 2, { where: 'file', curve: 'P-384' }, ring)
    expect(await spkiOf(again.signer)).toBe(await spkiOf(made.signer))
  })

  test.each(['file:../root.key', 'file:', 'vault:x', 'kms:', 'kms:root'])('"%s" opens nothing', async (keyRef) => {
    expect(await refusal(openSigner(keyRef, ring))).toBeInstanceOf(Problem)
  })
})
