import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withTurn } from '#infra/setup/turn.js'

let dir = ''
const never = new AbortController().signal
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-turn-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

test('two set-ups of one clone run one after the other', async () => {
  const seen: string[] = []
  const work = (name: string) => async () => {
    seen.push(`${name} starts`)
    await new Promise((resolve) => setTimeout(resolve, 50))
    seen.push(`${name} ends`)
  }
  await Promise.all([withTurn(dir, never, work('first')), withTurn(dir, never, work('second'))])
  expect(seen).toEqual(['first starts', 'first ends', 'second starts', 'second ends'])
})

test('the turn of a dead process is taken over, and none is left behind', async () => {
  await writeFile(join(dir, 'setup.pid'), '999999999')
  expect(await withTurn(dir, never, async () => 'done')).toBe('done')
  expect(await readdir(dir)).toEqual([])
})

test('work that fails gives its turn back', async () => {
  const failing = withTurn(dir, never, async () => {
    throw new Error('no')
  })
  await expect(failing).rejects.toThrow('no')
  expect(await readdir(dir)).toEqual([])
})

test('Ctrl-C ends the waiting', async () => {
  await writeFile(join(dir, 'setup.pid'), String(process.pid))
  await expect(withTurn(dir, AbortSignal.timeout(20), async () => 'done')).rejects.toThrow(/abort/i)
})

test('a clone that cannot be written is named', async () => {
  await writeFile(join(dir, 'a-file'), '')
  await expect(withTurn(join(dir, 'a-file/.isthmus'), never, async () => 'done')).rejects.toThrow(
    /the clone's folder must be writable/,
  )
})
