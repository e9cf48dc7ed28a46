import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parsePassphraseSource, readPassphrase } from '#control/keys/passphrase.ts'
import { createSealedKey, fileSigner } from '#control/keys/sealed-file.ts'
import { signerContract } from '#control/keys/testing/signer-contract.ts'

const passphrase = Buffer.from('correct horse battery staple')
const random = (n: number): Uint8Array => new Uint8Array(randomBytes(n))
const cheap = { random, scryptCost: 2 ** 14 }

const forContract = mkdtempSync(join(tmpdir(), 'contract-'))
afterAll(() => rmSync(forContract, { recursive: true, force: true }))
for (const curve of ['P-256', 'P-384'] as const) {
  const path = join(forContract, `${curve}.key`)
  let made: Promise<unknown> | undefined
  signerContract(`sealed file, ${curve}`, async () => {
    made ??= createSealedKey({ path, passphrase, curve, ...cheap })
    await made
    return await fileSigner({ path, passphrase })
  })
}

let directory: string
let path: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sealed-'))
  path = join(directory, 'root.key')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

describe('a sealed file', () => {
  test('the usual cost opens with the passphrase, is 0600, and leaves nothing beside it', async () => {
    const signer = await createSealedKey({ path, passphrase, random })
    const again = await fileSigner({ path, passphrase })
    expect(Buffer.from(await again.publicKeySpki()).equals(await signer.publicKeySpki())).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory)).toEqual(['root.key'])
    expect(readFileSync(path, 'utf8')).toContain('"cost": 131072')
  })

  test('no key, no file: not-found', async () => {
    await expect(fileSigner({ path, passphrase })).rejects.toMatchObject({ kind: 'not-found', message: /root\.key/ })
  })

  test('another passphrase is told from damage', async () => {
    await createSealedKey({ path, passphrase, ...cheap })
    const other = fileSigner({ path, passphrase: Buffer.from('correct horse battery stapler') })
    await expect(other).rejects.toMatchObject({ kind: 'forbidden', message: /passphrase/ })
  })

  test.each([0o640, 0o604, 0o660, 0o644])('mode %o is refused', async (mode) => {
    await createSealedKey({ path, passphrase, ...cheap })
    chmodSync(path, mode)
    await expect(fileSigner({ path, passphrase })).rejects.toMatchObject({ kind: 'conflict', message: /chmod 600/ })
  })

  test('cut off anywhere, it is refused', async () => {
    await createSealedKey({ path, passphrase, ...cheap })
    const whole = readFileSync(path)
    for (let length = 0; length < whole.length - 1; length += 37) {
      writeFileSync(path, whole.subarray(0, length))
      await expect(fileSigner({ path, passphrase })).rejects.toMatchObject({ kind: 'conflict' })
    }
  })

  test('any flipped bit is refused, or changes nothing', async () => {
    const signer = await createSealedKey({ path, passphrase, ...cheap })
    const whole = readFileSync(path)
    const spki = Buffer.from(await signer.publicKeySpki())
    for (let at = 0; at < whole.length; at += 11) {
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
      writeFileSync(path, flipped)
      const outcome = await fileSigner({ path, passphrase }).then(
        async (opened) => spki.equals(await opened.publicKeySpki()),
        (fault: { kind: string }) => fault.kind === 'conflict',
      )
      expect(outcome, `byte ${at}`).toBe(true)
    }
  })

  test('a key that is there is never overwritten, not even by two that race', async () => {
    const races = await Promise.allSettled([1, 2].map(() => createSealedKey({ path, passphrase, ...cheap })))
    expect(races.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    const before = readFileSync(path)
    await expect(createSealedKey({ path, passphrase, ...cheap })).rejects.toMatchObject({ kind: 'conflict' })
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  test('neither key nor passphrase is in the file', async () => {
    await createSealedKey({ path, passphrase, ...cheap })
    const text = readFileSync(path, 'utf8')
    expect(text).not.toContain(passphrase.toString())
    expect(text).not.toContain(passphrase.toString('base64'))
    expect(text).not.toContain('PRIVATE KEY')
  })

  test('a directory that cannot be written is named', async () => {
    const lost = createSealedKey({ path: join(directory, 'no', 'root.key'), passphrase, ...cheap })
    await expect(lost).rejects.toMatchObject({ kind: 'unavailable', message: /root\.key/ })
  })
})

describe('the passphrase', () => {
  const secret = 'sixteen bytes or more'

  test('from a file, without its line end', () => {
    writeFileSync(join(directory, 'p'), `${secret}\r\n`, { mode: 0o600 })
    expect(readPassphrase(parsePassphraseSource(`file:${directory}/p`), {}).toString()).toBe(secret)
  })

  test('from a descriptor', () => {
    writeFileSync(join(directory, 'p'), `${secret}\n`)
    const fd = openSync(join(directory, 'p'), 'r')
    try {
      expect(readPassphrase(parsePassphraseSource(`fd:${fd}`), {}).toString()).toBe(secret)
    } finally {
      closeSync(fd)
    }
  })

  test('from the environment', () => {
    expect(readPassphrase(parsePassphraseSource('env:ROOT_PASS'), { ROOT_PASS: secret }).toString()).toBe(secret)
  })

  test.each(['', 'hunter2-hunter2-hunter2', 'file:relative', 'fd:x', 'env:A B', 'pass:word'])(
    'the setting "%s" is refused without being quoted',
    (setting) => {
      const attempt = (): unknown => parsePassphraseSource(setting)
      expect(attempt).toThrow('the passphrase setting must be file:<absolute path>')
      if (setting !== '') expect(attempt).not.toThrow(setting)
    },
  )

  test('absent, short, or in a file for everybody: refused and not quoted', () => {
    writeFileSync(join(directory, 'p'), secret, { mode: 0o600 })
    chmodSync(join(directory, 'p'), 0o644)
    const open = (): unknown => readPassphrase({ kind: 'file', path: join(directory, 'p') }, {})
    expect(open).toThrow('everybody may read it')
    expect(() => readPassphrase({ kind: 'env', name: 'X' }, {})).toThrow('it is not set')
    expect(() => readPassphrase({ kind: 'env', name: 'X' }, { X: 'short-one' })).toThrow('it has 9 bytes')
    expect(() => readPassphrase({ kind: 'env', name: 'X' }, { X: 'short-one' })).not.toThrow('short-one')
    expect(() => readPassphrase({ kind: 'file', path: '/nonexistent' }, {})).toThrow('/nonexistent')
  })
})
