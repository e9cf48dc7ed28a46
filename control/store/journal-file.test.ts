import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { type JournalRecord, openJournalFile, readJournal, replaceJournal } from '#control/store/journal-file.ts'

const dir = mkdtempSync(join(tmpdir(), 'isthmus-journal-'))
const file = join(dir, 'journal')
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const record = (n: number): JournalRecord => ({
  n,
  changes: [{ table: 'meshes', put: { name: `m${n}`, createdAt: n } }],
})
const ends: number[] = []
let whole: Buffer
beforeEach(async () => {
  ends.length = 0
  ends.push(replaceJournal(file, [{ n: 0, base: true, schema: 's', changes: [] }]))
  const opened = await openJournalFile(file, ends[0] ?? 0)
  for (let n = 1; n <= 3; n++) {
    await opened.append(record(n))
    ends.push(opened.bytes)
  }
  await opened.close()
  whole = readFileSync(file)
})

const numbers = () => readJournal(file)?.records.map((r) => r.n)

test('what was appended is read back, in order', () => {
  expect(numbers()).toEqual([0, 1, 2, 3])
  expect(readJournal(file)).toMatchObject({ end: whole.length, torn: 0 })
})

test('no file is not an empty file', () => {
  rmSync(file)
  expect(readJournal(file)).toBeUndefined()
})

test('cut anywhere, the whole records before the cut remain', () => {
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(file, whole.subarray(0, length))
    const content = readJournal(file)
    expect(content?.records.length).toBe(ends.filter((end) => end <= length).length)
    expect((content?.end ?? 0) + (content?.torn ?? 0)).toBe(length)
  }
})

test('a torn end is cut off and written over', async () => {
  writeFileSync(file, whole.subarray(0, whole.length - 3))
  const opened = await openJournalFile(file, readJournal(file)?.end ?? 0)
  await opened.append(record(3))
  await opened.close()
  expect(readFileSync(file)).toEqual(whole)
})

test('zeros at the end, as a machine that died leaves them, are a torn end', () => {
  writeFileSync(file, Buffer.concat([whole, Buffer.alloc(4096)]))
  expect(readJournal(file)).toMatchObject({ end: whole.length, torn: 4096 })
})

describe('one bit flipped', () => {
  test('before the last record it is refused, naming the record that it is in', () => {
    const lastStart = ends[2] ?? 0
    for (let at = 0; at < lastStart; at++) {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8))
      writeFileSync(file, bytes)
      expect(() => readJournal(file), `byte ${at}`).toThrow(/damaged at byte \d+|has format/)
    }
  })

  test('in the last record it never gives a wrong record', () => {
    for (let at = ends[2] ?? 0; at < whole.length; at++) {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8))
      writeFileSync(file, bytes)
      let read: number[] | undefined
      try {
        read = numbers()
      } catch {
        continue
      }
      expect(read, `byte ${at}`).toEqual([0, 1, 2])
    }
  })
})

test('another format is refused and both are named', () => {
  writeFileSync(file, 'isthmus-journal/2\nwhatever')
  expect(() => readJournal(file)).toThrow('has format isthmus-journal/2, and this isthmus knows isthmus-journal/1')
})

test('a write that fails stores nothing, and the next one works', async () => {
  const opened = await openJournalFile(file, whole.length)
  const circular: { n: number; changes: never[]; self?: unknown } = { n: 4, changes: [] }
  circular.self = circular
  await expect(opened.append(circular)).rejects.toMatchObject({ kind: 'unavailable' })
  await opened.append(record(4))
  await opened.close()
  expect(numbers()).toEqual([0, 1, 2, 3, 4])
})

test('a probe leaves the file as it was', async () => {
  const opened = await openJournalFile(file, whole.length)
  await opened.probe()
  expect(readFileSync(file)).toEqual(whole)
  await opened.append(record(4))
  await opened.close()
  expect(numbers()).toEqual([0, 1, 2, 3, 4])
})
