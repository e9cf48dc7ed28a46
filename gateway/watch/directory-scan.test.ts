import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type DirectoryState, emptyDirectory, scanDirectory } from '#gateway/watch/directory-scan.ts'
import { promptDisk } from '#gateway/watch/disk.ts'
import { readObjects } from '#gateway/watch/list-directory.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'isthmus-scan-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const pod = (name: string): string => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\n`
const write = (name: string, text: string): void => writeFileSync(join(dir, name), text)
const ids = (state: DirectoryState): string =>
  [...state.files.values()]
    .flatMap((file) => [...file.live, ...file.stale])
    .map((placed) => placed.id.replace('Pod default/', ''))
    .toSorted()
    .join()
/** A scan `upMs` after the first one, at a time at which every file looks just written, or long written. */
const scan = (before: DirectoryState, upMs: number, files: 'fresh' | 'old' = 'fresh'): Promise<DirectoryState> =>
  scanDirectory(before, {
    dir,
    settleMs: 50,
    upMs,
    nowMs: files === 'fresh' ? Date.now() - 60_000 : Date.now() + 60_000,
  })

test('old files are read at the first look', async () => {
  write('a.yaml', pod('a'))
  const state = await scan(emptyDirectory, 0, 'old')
  expect([ids(state), state.isSettled]).toEqual(['a', true])
})

test('a fresh file is read once it looks the same for the settle time', async () => {
  write('a.yaml', pod('a'))
  const first = await scan(emptyDirectory, 0)
  expect([ids(first), first.isSettled]).toEqual(['', false])
  write('a.yaml', pod('b'))
  const second = await scan(first, 49)
  expect(ids(second)).toBe('')
  expect(ids(await scan(second, 98))).toBe('')
  expect(ids(await scan(second, 99))).toBe('b')
})

test('a file that never rests is read as it is after a second', async () => {
  let state = await scan(emptyDirectory, 0)
  for (let up = 0; up < 1000; up += 40) {
    write('a.yaml', pod(`a${up}`))
    state = await scan(state, up)
    expect(ids(state)).toBe('')
  }
  write('a.yaml', pod('last'))
  expect(ids(await scan(state, 1000))).toBe('last')
})

test('a write that keeps mtime and size is seen', async () => {
  write('a.yaml', pod('a'))
  utimesSync(join(dir, 'a.yaml'), 1000, 1000)
  const state = await scan(emptyDirectory, 0, 'old')
  await new Promise((resolve) => setTimeout(resolve, 20)) // the clock of the file system ticks
  write('a.yaml', pod('b'))
  utimesSync(join(dir, 'a.yaml'), 1000, 1000)
  expect(ids(await scan(state, 10, 'old'))).toBe('b')
})

test('a file that is read within a tick of its last write is read once more', async () => {
  write('a.yaml', pod('a'))
  const at = (before: DirectoryState, upMs: number, afterMs: number) =>
    scanDirectory(before, { dir, settleMs: 5, upMs, nowMs: statSync(join(dir, 'a.yaml')).ctimeMs + afterMs })
  const early = await at(emptyDirectory, 0, 15)
  expect([ids(early), early.isSettled]).toEqual(['a', false])
  const late = await at(early, 25, 40)
  expect([ids(late), late.isSettled]).toEqual(['a', true])
})

test('nothing changed: the very same files', async () => {
  write('a.yaml', pod('a'))
  const state = await scan(emptyDirectory, 0, 'old')
  expect((await scan(state, 2000, 'old')).files).toBe(state.files)
})

test('a file goes only when it is missing for the settle time', async () => {
  write('a.yaml', pod('a'))
  write('b.yaml', pod('b'))
  let state = await scan(emptyDirectory, 0, 'old')
  rmSync(join(dir, 'b.yaml'))
  state = await scan(state, 10, 'old')
  expect([ids(state), state.isSettled]).toEqual(['a,b', false])
  expect(ids(await scan(state, 59, 'old'))).toBe('a,b')
  state = await scan(state, 60, 'old')
  expect([ids(state), state.isSettled]).toEqual(['a', true])
})

test('a directory that is away takes nothing with it, for any time', async () => {
  write('a.yaml', pod('a'))
  let state = await scan(emptyDirectory, 0, 'old')
  renameSync(dir, `${dir}-away`)
  for (const up of [10, 100, 1000, 100_000]) state = await scan(state, up, 'old')
  expect([ids(state), state.isSettled, state.faults[0]?.at]).toEqual(['a', true, '.'])
  mkdirSync(dir)
  state = await scan(await scan(state, 100_010, 'old'), 100_100, 'old')
  expect([ids(state), state.faults]).toEqual(['', []])
  rmSync(`${dir}-away`, { recursive: true })
})

test('a file that is read again is parsed again only where it says something else', async () => {
  write('a.yaml', pod('a'))
  const first = await readObjects(dir, 'a.yaml', { disk: promptDisk })
  expect(await readObjects(dir, 'a.yaml', { disk: promptDisk })).toBe(first)
  write('a.yaml', pod('b'))
  expect(await readObjects(dir, 'a.yaml', { disk: promptDisk })).toMatchObject({ objects: [{ id: 'Pod default/b' }] })
})
