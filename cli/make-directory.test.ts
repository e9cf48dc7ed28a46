import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeDirectory } from '#cli/make-directory.ts'

test('every part that is missing is made, for its owner alone; what is there stays', () => {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-make-'))
  try {
    const deep = join(dir, 'a/b/c')
    makeDirectory(deep)
    makeDirectory(deep)
    expect(statSync(join(dir, 'a')).mode & 0o777).toBe(0o700)
    expect(statSync(deep).isDirectory()).toBe(true)
    writeFileSync(join(dir, 'file'), '')
    expect(() => makeDirectory(join(dir, 'file/x'))).toThrow(/EEXIST/)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a file system that says that nothing is there where something is ends in an error, not in a loop', () => {
  expect(() => makeDirectory('/proc/isthmus/deeper')).toThrow(/ENOENT/)
})
