// Chromium, in which the tour of the README is taken: the user's own, the cached one, or the pinned package of the registry.
// Fetched by the one suite that needs it, when it runs; nothing else here waits for it.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress } from 'node:zlib'
import { run } from './child.js'
import { cacheDir } from './envoy.js'
import { makeDirectory } from './make-directory.js'
import { npmCommand } from './packages.js'
import { SetupError, say, since } from './say.js'

/** The npm package `@sparticuz/chromium`: a headless Chromium 147 that needs no system libraries. No install script is run. */
const pinned = {
  name: '@sparticuz/chromium',
  version: '147.0.2',
  arch: 'x64',
  sha256: '3abf8e491155e0030d375427f4383a1b363cb1782d0b0ce8545c19b40efb1ba4',
  bytes: 196676728,
}
const ownChromium = 'set CHROMIUM to the path of a Chromium or Chrome'
const what = 'Chromium (in which the tour of the README is tested)'

const cachedDir = (env) => join(cacheDir(env), `chromium-${pinned.version}-${pinned.sha256.slice(0, 8)}`)

/**
 * A Chromium that is already here, and the environment to start it with, or undefined: `$CHROMIUM`, then the cache.
 *
 * @param {Record<string, string | undefined>} env
 * @returns {Promise<{ path: string, env: Record<string, string | undefined> } | undefined>}
 */
export async function findChromium(env = process.env) {
  if (env.CHROMIUM) {
    if (await runs(env.CHROMIUM, env)) return { path: env.CHROMIUM, env }
    throw new SetupError(`CHROMIUM=${env.CHROMIUM} does not run here: ${ownChromium}, or unset it to have one fetched.`)
  }
  const dir = cachedDir(env)
  const path = join(dir, 'chromium')
  return statSync(path, { throwIfNoEntry: false })?.size === pinned.bytes ? await startable(dir, env) : undefined
}

/**
 * Fetches the pinned package by npm, checks its digest, unpacks it, tries the program and renames it into the cache; gives
 * back what `findChromium` does. Whatever goes wrong, nothing but the finished program stays behind.
 *
 * @param {{ env?: Record<string, string | undefined>, abort?: AbortSignal, npm?: string[] }} how
 * @returns {Promise<{ path: string, env: Record<string, string | undefined> }>}
 */
export async function fetchChromium({ env = process.env, abort, npm = npmCommand() } = {}) {
  if (process.arch !== pinned.arch)
    throw new SetupError(`${what} is missing, and there is no pinned one for ${process.arch}: ${ownChromium}.`)
  const start = performance.now()
  const target = cachedDir(env)
  const work = join(cacheDir(env), `fetch-${process.pid}`)
  try {
    makeDirectory(work)
    say(`chromium ${pinned.version}: downloading 68 MB from the npm registry (${pinned.name}, once per user) …`)
    const file = await download(work, npm, { env, abort })
    await checkDigest(file)
    say(`chromium ${pinned.version}: digest is right, unpacking …`)
    const dir = await unpack(file, work, abort)
    await startable(dir, env)
    rmSync(target, { recursive: true, force: true })
    renameSync(dir, target)
  } catch (error) {
    if (error.code === 'ENOSPC')
      throw new SetupError(`${what} is missing, and the disk of ${work} is full: make room (400 MB).`)
    // Another process may have put the same there meanwhile.
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  say(`chromium ${pinned.version}: ready in ${since(start)}, ${target}`)
  return await startable(target, env)
}

async function download(work, [command, ...first], { env, abort }) {
  const args = [
    'pack',
    `${pinned.name}@${pinned.version}`,
    '--ignore-scripts',
    '--pack-destination',
    work,
    '--loglevel=error',
  ]
  const { code, stderr } = await run(command, [...first, ...args], { cwd: work, env, abort })
  abort?.throwIfAborted()
  const name = readdirSync(work).find((one) => one.endsWith('.tgz'))
  if (code === 0 && name) return join(work, name)
  throw new SetupError(
    `${what} is missing and could not be downloaded, npm ended with ${code}: ` +
      `with a network that reaches the registry try again, or ${ownChromium}. npm said: ${lastLine(stderr)}`,
  )
}

async function checkDigest(file) {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  const digest = hash.digest('hex')
  if (digest === pinned.sha256) return
  throw new SetupError(
    `the Chromium that the registry served is not the pinned one (SHA-256 ${digest}, expected ${pinned.sha256}) and was ` +
      `thrown away: look for a proxy or mirror that changes files, then try again, or ${ownChromium}.`,
  )
}

/** The program, libraries for machines that lack them (`lib`), and fonts for those that have none. */
async function unpack(file, work, abort) {
  await untar(file, work, abort)
  const bin = join(work, 'package/bin')
  const dir = join(work, 'chromium')
  mkdirSync(dir)
  const inflate = (from, to) =>
    pipeline(createReadStream(join(bin, from)), createBrotliDecompress(), createWriteStream(to), { signal: abort })
  await inflate('chromium.br', join(dir, 'chromium'))
  chmodSync(join(dir, 'chromium'), 0o755)
  for (const name of ['al2023.tar', 'fonts.tar']) {
    await inflate(`${name}.br`, join(work, name))
    await untar(join(work, name), dir, abort)
  }
  writeFileSync(join(dir, 'fonts.conf'), '<fontconfig><dir prefix="relative">fonts</dir></fontconfig>\n')
  return dir
}

async function untar(file, into, abort) {
  const { code, stderr } = await run('python3', ['-m', 'tarfile', '-e', file, into], { abort })
  abort?.throwIfAborted()
  if (code !== 0)
    throw new SetupError(`${what} could not be unpacked (${lastLine(stderr)}): try again, or ${ownChromium}.`)
}

/** With what this Chromium starts here: nothing more, or its own libraries; its own fonts where the machine has none. */
async function startable(dir, base) {
  const path = join(dir, 'chromium')
  const env = existsSync('/usr/share/fonts') ? base : { ...base, FONTCONFIG_PATH: dir }
  if (await runs(path, env)) return { path, env }
  const withLibraries = { ...env, LD_LIBRARY_PATH: join(dir, 'lib') }
  if (await runs(path, withLibraries)) return { path, env: withLibraries }
  throw new SetupError(`the Chromium ${pinned.version} from the registry does not run on this machine: ${ownChromium}.`)
}

const runs = async (path, env) => /Chrom/.test((await run(path, ['--version'], { env })).stdout)
const lastLine = (text) => text.trim().split('\n').at(-1) ?? ''
