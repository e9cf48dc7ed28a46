// MiniStack, an emulator of AWS in Python: the key service that the suite of control/keys signs with. Fetched from PyPI by that
// suite, when it runs, pinned by the digests of ministack.txt; nothing else here waits for it.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './child.js'
import { cacheDir } from './envoy.js'
import { makeDirectory } from './make-directory.js'
import { SetupError, say, since } from './say.js'

const list = fileURLToPath(new URL('ministack.txt', import.meta.url))
const what = 'MiniStack (the emulator of AWS that the tests of the key service run against)'

/** What must be written last for a folder to count: an install that was cut off has none. */
const stamp = 'whole'

/** A folder for each list of packages and each Python: one of the packages is compiled for one of them. */
async function cachedDir(requirements, { env, python, abort }) {
  const { code, stdout } = await run(python, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'], {
    env,
    abort,
  })
  abort?.throwIfAborted()
  if (code !== 0)
    throw new SetupError(`${what} needs ${python}, which does not run here: install Python 3.10 or newer.`)
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 8)
  return join(cacheDir(env), `ministack-${digest}-python${stdout.trim()}-${process.arch}`)
}

/**
 * How MiniStack is started where it is here already, or undefined: the program, its arguments and what it needs set.
 *
 * @param {{ env?: Record<string, string | undefined>, python?: string, requirements?: string, abort?: AbortSignal }} how
 * @returns {Promise<{ command: string, args: string[], env: Record<string, string | undefined> } | undefined>}
 */
export async function findMinistack({ env = process.env, python = 'python3', requirements = list, abort } = {}) {
  const dir = await cachedDir(requirements, { env, python, abort })
  return existsSync(join(dir, stamp)) ? startable(dir, env, python) : undefined
}

/**
 * Has pip install the pinned packages into the cache (40 MB to download, 110 MB there); gives back what `findMinistack`
 * does. Whatever goes wrong, nothing but the whole folder stays behind.
 *
 * @param {{ env?: Record<string, string | undefined>, python?: string, requirements?: string, abort?: AbortSignal }} how
 */
export async function fetchMinistack({ env = process.env, python = 'python3', requirements = list, abort } = {}) {
  const start = performance.now()
  const dir = await cachedDir(requirements, { env, python, abort })
  const work = join(cacheDir(env), `fetch-${process.pid}`)
  try {
    makeDirectory(work)
    say('ministack: installing it from PyPI into the cache (40 MB, once per user) …')
    await install(join(work, 'lib'), requirements, { env, python, abort })
    writeFileSync(join(work, stamp), '')
    // Another process may have put the same there meanwhile, and be running it.
    if (!existsSync(join(dir, stamp))) {
      rmSync(dir, { recursive: true, force: true })
      renameSync(work, dir)
    }
  } catch (error) {
    if (error.code === 'ENOSPC') throw new SetupError(`${what} is missing, and the disk of ${work} is full: make room.`)
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  say(`ministack: ready in ${since(start)}, ${dir}`)
  return startable(dir, env, python)
}

async function install(target, requirements, { env, python, abort }) {
  const flags = [
    '--require-hashes',
    '--only-binary=:all:',
    '--no-deps',
    '--no-cache-dir',
    '--disable-pip-version-check',
  ]
  const args = ['-m', 'pip', 'install', '--quiet', ...flags, '--target', target, '-r', requirements]
  const { code, stderr } = await run(python, args, { env, abort })
  abort?.throwIfAborted()
  if (code === 0) return
  const mend = /do not match the hashes/i.test(stderr)
    ? 'what PyPI served is not what was pinned: look for a proxy or mirror that changes files'
    : /No module named pip/.test(stderr)
      ? `${python} has no pip: install it (on Debian: "apt-get install python3-pip")`
      : 'with a network that reaches PyPI, and Python 3.10 or newer, run the same again'
  throw new SetupError(`${what} is missing and could not be installed; ${mend}. pip said: ${lastLine(stderr)}`)
}

const startable = (dir, env, python) => ({
  command: python,
  args: ['-m', 'ministack'],
  env: { ...env, PYTHONPATH: join(dir, 'lib') },
})

const lastLine = (text) => text.trim().split('\n').at(-1) ?? ''
