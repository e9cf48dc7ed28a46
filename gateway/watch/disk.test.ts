import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { patientDisk, promptDisk } from '#gateway/watch/disk.ts'

const dir = mkdtempSync(join(tmpdir(), 'isthmus-disk-'))
afterAll(() => rmSync(dir, { recursive: true }))
const written = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text)
  return join(dir, name)
}

describe.each([
  ['patient', patientDisk],
  ['prompt', promptDisk],
])('%s', (name, disk) => {
  test.each([
    ['of its known size', 'hello', 100, 5, 'hello'],
    ['that grew since, by one byte more', 'hello', 100, 3, 'hell'],
    ['that shrank since', 'hello', 100, 9, 'hello'],
    ['of a size that is not known', 'hello', 100, undefined, 'hello'],
    ['past the bound, by one byte more', 'hello', 3, 5, 'hell'],
    ['that is empty', '', 100, 0, ''],
  ])('a file %s', async (_what, text, bytesMax, known, read) => {
    const file = written(name, text)
    const { bytes, after } = await disk.read(file, { bytesMax, known })
    expect(bytes.toString()).toBe(read)
    expect(after).toEqual(statSync(file, { bigint: true }))
    expect(await disk.look(file)).toMatchObject({ ino: after.ino, size: after.size })
  })

  test('what is not there, or no file, is refused with its code', async () => {
    await expect(disk.look(join(dir, 'none'))).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(disk.read(join(dir, 'none'), { bytesMax: 9, known: 1 })).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(disk.read(dir, { bytesMax: 9, known: 1 })).rejects.toMatchObject({ code: 'EISDIR' })
  })
})

test('a pipe that took the place of a file holds nobody up', async () => {
  execFileSync('mkfifo', [join(dir, 'pipe')])
  expect((await promptDisk.read(join(dir, 'pipe'), { bytesMax: 9, known: 5 })).bytes).toHaveLength(0)
})
