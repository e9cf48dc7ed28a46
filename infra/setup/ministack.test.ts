import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fetchMinistack, findMinistack } from '#infra/setup/ministack.js'

let dir = ''
let env: Record<string, string> = {}
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-ministack-'))
  env = { PATH: '/usr/bin:/bin', HOME: dir, XDG_CACHE_HOME: join(dir, 'cache') }
})
afterEach(() => rm(dir, { recursive: true, force: true }))

/** A python3 that tells its version, and whose pip does what the test says; `$target` is where it should install. */
async function python(pip: string, version = '3.11'): Promise<string> {
  const path = join(dir, 'python3')
  const script = `#!/bin/sh
case "$1 $2" in
  "-c import"*) echo ${version}; exit 0 ;;
  "-m pip") while [ "$1" != --target ]; do echo "$1" >> ${dir}/asked; shift; done; target=$2; ${pip} ;;
esac
`
  await writeFile(path, script)
  await chmod(path, 0o755)
  return path
}
const good = 'mkdir -p "$target/ministack"'
const cached = () => readdir(join(dir, 'cache/isthmus')).catch(() => [])

describe('MiniStack', () => {
  test('nowhere: undefined, and nothing is made', async () => {
    expect(await findMinistack({ env, python: await python(good) })).toBeUndefined()
    expect(await cached()).toEqual([])
  })

  test('is installed by its digests, then found without pip', async () => {
    const made = await fetchMinistack({ env, python: await python(good) })
    const [name] = await cached()
    expect(name).toMatch(/^ministack-[0-9a-f]{8}-python3\.11-/)
    expect(made).toMatchObject({
      args: ['-m', 'ministack'],
      env: { PYTHONPATH: join(dir, 'cache/isthmus', `${name}`, 'lib') },
    })
    expect(await readFile(join(dir, 'asked'), 'utf8')).toContain('--require-hashes')
    expect(await findMinistack({ env, python: await python('exit 1') })).toEqual(made)
  })

  test('that another process has put there meanwhile is left alone', async () => {
    const own = await python(good)
    await fetchMinistack({ env, python: own })
    const [name] = await cached()
    await writeFile(join(dir, 'cache/isthmus', `${name}`, 'in-use'), '')
    await fetchMinistack({ env, python: own })
    expect(await readdir(join(dir, 'cache/isthmus', `${name}`))).toContain('in-use')
    expect(await cached()).toEqual([name])
  })

  test('of another Python is another one', async () => {
    await fetchMinistack({ env, python: await python(good) })
    expect(await findMinistack({ env, python: await python(good, '3.12') })).toBeUndefined()
  })

  test.each([
    ['other bytes', 'echo "THESE PACKAGES DO NOT MATCH THE HASHES" >&2', /not what was pinned/],
    ['no pip', 'echo "python3: No module named pip" >&2', /apt-get install python3-pip/],
    ['no network', 'echo "Could not find a version" >&2', /reaches PyPI/],
  ])('%s: said so, and nothing half done stays', async (_, says, message) => {
    const fetched = fetchMinistack({ env, python: await python(`${good}; ${says}; exit 1`) })
    await expect(fetched).rejects.toThrow(message)
    expect(await cached()).toEqual([])
  })

  test('no Python: said so', async () => {
    await expect(findMinistack({ env, python: join(dir, 'none') })).rejects.toThrow(/install Python/)
  })
})
