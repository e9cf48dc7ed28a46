import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
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
