import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bundle } from '#infra/setup/bundle.js'

let root = ''
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'isthmus-bundle-'))
  await write('package.json', '{"type":"module","imports":{"#mesh/*":"./mesh/*"}}')
  await write('package-lock.json', '{}')
  await write('mesh/word.ts', `export const word: string = 'one'`)
  await write(
    'gateway/main.ts',
    `import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { word } from '#mesh/word.ts'
console.log(word, readFileSync(new URL('./page.txt', import.meta.url), 'utf8'))
new Worker(new URL('./relay/side.ts', import.meta.url))`,
  )
  await write('gateway/page.txt', 'a page')
  await write('gateway/relay/side.ts', `import { word } from '#mesh/word.ts'\nconsole.log('worker', word as string)`)
})
afterEach(() => rm(root, { recursive: true, force: true }))

async function write(path: string, text: string): Promise<void> {
  await mkdir(join(root, path, '..'), { recursive: true })
  await writeFile(join(root, path), text)
}
const run = (path: string | undefined) => execFileSync(process.execPath, [path ?? ''], { encoding: 'utf8' })

test('a bundle runs alone, with the worker and the files that lie beside its sources', async () => {
  const { relay, ...others } = await bundle(root)
  expect(others).toEqual({})
  await rm(join(root, 'mesh'), { recursive: true })
  expect(run(relay)).toBe('one a page\nworker one\n')
})

test('nothing is built again while nothing changed, all of it when a source did', async () => {
  const { relay = '' } = await bundle(root)
  const before = (await stat(relay)).mtimeMs
  await bundle(root)
  expect((await stat(relay)).mtimeMs).toBe(before)
  await write('mesh/word.ts', `export const word = 'two'`)
  await bundle(root)
  expect(run(relay)).toBe('two a page\nworker two\n')
})

test('a source that does not build leaves no old bundle that would pass for it', async () => {
  await bundle(root)
  await write('mesh/word.ts', 'export const word = (')
  await expect(bundle(root)).rejects.toThrow(/word\.ts/)
  expect((await readdir(root)).filter((name) => name.startsWith('dist'))).toEqual([])
})

test('says from which line of which source an error comes', async () => {
  await bundle(root)
  const map = JSON.parse(await readFile(join(root, 'dist/relay-program.js.map'), 'utf8'))
  expect(map.sources).toContain('../gateway/main.ts')
})

test('an import of node:http loads what is used of it, and not the undici that one of its exports would load', async () => {
  const text = `import { STATUS_CODES } from 'node:http'
console.log(STATUS_CODES[200], process.moduleLoadList.some((name) => name.includes('undici')))`
  await write('gateway/main.ts', text)
  expect(run((await bundle(root))['relay'])).toBe('OK false\n')
})

test('a program that is killed leaves behind what it compiled, for its next start', async () => {
  await write('gateway/main.ts', 'setInterval(() => undefined, 1000)')
  const { relay = '' } = await bundle(root)
  const child = spawn(process.execPath, [relay], {
    stdio: 'ignore',
    env: { ...process.env, NODE_COMPILE_CACHE: undefined },
  })
  try {
    const compiled = join(root, 'dist/compiled')
    await expect
      .poll(() =>
        readdir(compiled).then(
          (names) => names.filter((name) => /^relay-.*-\d+$/.test(name)).length,
          () => 0,
        ),
      )
      .toBe(1)
  } finally {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
})

test('a program of another text does not run what was compiled of one as long, nor one that is damaged', async () => {
  const say = (word: string) => write('gateway/main.ts', `console.log('${word}')`)
  await say('one')
  const { relay = '' } = await bundle(root)
  expect(run(relay)).toBe('one\n')
  const compiled = join(root, 'dist/compiled')
  const [kept = ''] = await readdir(compiled)
  const bytes = await readFile(join(compiled, kept))
  await say('two')
  await bundle(root)
  await mkdir(compiled)
  await writeFile(join(compiled, kept), bytes)
  expect(run(relay)).toBe('two\n')
  const names = await readdir(compiled)
  expect(names).toHaveLength(2)
  const fresh = join(compiled, names.find((name) => name !== kept) ?? '')
  const damaged = await readFile(fresh)
  for (let at = 100; at < damaged.length; at++) damaged[at] = 0
  await writeFile(fresh, damaged)
  expect(run(relay)).toBe('two\n')
  expect((await readFile(fresh)).equals(damaged)).toBe(false)
})

test('what a start compiled is taken by the next, which does not write it anew', async () => {
  await write('gateway/main.ts', `console.log('up')`)
  const { relay = '' } = await bundle(root)
  const compiled = join(root, 'dist/compiled')
  run(relay)
  const [kept = ''] = await readdir(compiled)
  const { mtimeMs } = await stat(join(compiled, kept))
  run(relay)
  expect(await readdir(compiled)).toEqual([kept])
  expect((await stat(join(compiled, kept))).mtimeMs).toBe(mtimeMs)
})
