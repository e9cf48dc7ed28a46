import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FirstSettings } from '#control/first-settings.ts'
import type { Database } from '#control/store/database.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

let db: Database
let dir: string
let first: TestCentre
beforeAll(async () => {
  db = await openTestDatabase()
  dir = mkdtempSync(join(tmpdir(), 'first-'))
  first = await openTestCentre({ db, dir })
})
afterAll(async () => {
  await db.close()
  rmSync(dir, { recursive: true, force: true })
})

const rootOf = async ({ centre }: TestCentre) => certificatePem((await centre.keys.active('root')).certificate)
const again = () => openTestCentre({ db, dir })

describe('a start', () => {
  test('makes keys and the first key of an administrator, all 0600', () => {
    const keys = readdirSync(join(dir, 'keys')).map((name) => join(dir, 'keys', name))
    for (const path of [...keys, join(dir, 'admin.key')])
      expect([path, statSync(path).mode & 0o777]).toEqual([path, 0o600])
    expect(keys.map((path) => readFileSync(path, 'utf8')).join('')).not.toContain('PRIVATE KEY')
    expect(readFileSync(join(dir, 'admin.key'), 'utf8')).toMatch(/^isthmus_key_[\w-]{43}\n$/)
  })

  test('after another finds the same mesh: authorities, tokens and keys still count', async () => {
    const relay = await new TestRelay(first, 'east').join()
    const second = await again()
    expect(await rootOf(second)).toBe(await rootOf(first))
    expect((await second.admin('GET', '/v1/operator-keys')).body['items']).toHaveLength(1)
    const body = { proto: 'mesh-sync/1.0', have: [] }
    expect((await second.call('POST', '/v1/pull', { bearer: relay.bearer, body })).status).toBe(200)
  })

  test('two at once on a new database agree on one root', async () => {
    const fresh = await openTestDatabase()
    const [one, two] = await Promise.all([1, 2].map(() => openTestCentre({ db: fresh, dir })))
    expect((await one?.admin('GET', '/v1/authorities'))?.body['items']).toHaveLength(2)
    expect((await two?.admin('GET', '/v1/authorities'))?.body['items']).toHaveLength(2)
    expect(one && (await rootOf(one))).toBe(two && (await rootOf(two)))
    await fresh.close()
  })

  test('cut off after the admin key was written takes the same key', async () => {
    const fresh = await openTestDatabase()
    const before = readFileSync(join(dir, 'admin.key'), 'utf8')
    const centre = await openTestCentre({ db: fresh, dir })
    expect(readFileSync(join(dir, 'admin.key'), 'utf8')).toBe(before)
    expect((await centre.admin('GET', '/v1/meshes')).status).toBe(200)
    await fresh.close()
  })
})

describe('what does not belong together is refused', () => {
  test('a database and the keys of another centre', async () => {
    const other = mkdtempSync(join(tmpdir(), 'other-'))
    await expect(openTestCentre({ db, dir: other })).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('is not the one'),
    })
    rmSync(other, { recursive: true })
  })

  test('keys without their passphrase file, and nothing is made in its place', async () => {
    const path = join(dir, 'keys/passphrase')
    const text = readFileSync(path)
    rmSync(path)
    await expect(again()).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining(path) })
    expect(() => statSync(path)).toThrow('ENOENT')
    writeFileSync(path, text, { mode: 0o600 })
    await again()
  })

  test('a secret that everybody may read', async () => {
    const path = join(dir, 'keys/answers.key')
    chmodSync(path, 0o644)
    await expect(again()).rejects.toMatchObject({ message: expect.stringContaining('mode 644') })
    chmodSync(path, 0o600)
  })
})

describe('what a mesh begins with', () => {
  const opened = async (first: FirstSettings, more: { db?: Database; dir?: string } = {}) => {
    const at = more.dir ?? mkdtempSync(join(tmpdir(), 'begins-'))
    const one = await openTestCentre({ dir: at, db: more.db ?? (await openTestDatabase()), first })
    ends.push(async () => {
      if (!more.db) await one.db.close()
      if (!more.dir) rmSync(at, { recursive: true, force: true })
    })
    return one
  }
  const ends: (() => Promise<void>)[] = []
  afterAll(async () => {
    for (const end of ends) await end()
  })

  test('a root of P-384; the certificates below it stay P-256', async () => {
    const one = await opened({ root: { where: 'file', curve: 'P-384' } })
    const { certificate, signer } = await one.centre.keys.active('root')
    expect([certificate.publicKey.kind, signer.algorithm]).toEqual(['P-384', 'ecdsa-sha384'])
    expect((await one.centre.keys.active('control-plane')).certificate.publicKey.kind).toBe('P-256')
  })

  test.each([
    [
      'a curve',
      { root: { where: 'file', curve: 'P-384' } },
      /^--root-curve is a setting of the first .* is P-256: a root/,
    ],
    [
      'a key service',
      { root: { where: 'kms:arn:aws:kms:eu-central-1:111122223333:key/a' } },
      /^--root-key is a setting .* has its key in file:root-1.key: a root is changed by rotation/,
    ],
    [
      'a shared trust domain',
      { sharedDomain: 'corp.example' },
      /^--shared-trust-domain corp.example .* began with a trust domain for each cluster: .*--trust-domain/,
    ],
  ] satisfies [string, FirstSettings, RegExp][])(
    'at a later start, other than it began: %s',
    async (_, asked, says) => {
      await expect(opened(asked, { db, dir })).rejects.toMatchObject({
        kind: 'conflict',
        message: expect.stringMatching(says),
      })
    },
  )

  test('at a later start, as it began: nothing is said', async () => {
    const begun = { root: { where: 'file', curve: 'P-384' }, sharedDomain: 'corp.example' } as const
    const one = await opened(begun)
    for (const asked of [begun, {}, { sharedDomain: 'corp.example' }]) await opened(asked, { db: one.db, dir: one.dir })
    await expect(opened({ sharedDomain: 'b.example' }, { db: one.db, dir: one.dir })).rejects.toThrow(
      'began with the shared trust domain corp.example',
    )
  })

  test.each([
    ['mesh1', /above those of single clusters/],
    ['a.mesh1', /has the form of those/],
    ['Corp.example', /capitals/],
    ['corp_x.example', /label/],
    ['10.1.2.3', /digits only/],
  ])('a shared trust domain that is refused: %s', async (sharedDomain, says) => {
    await expect(opened({ sharedDomain })).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(says),
    })
  })
})
