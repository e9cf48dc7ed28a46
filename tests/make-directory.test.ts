import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { makeDirectory as ofCli } from '#cli/make-directory.ts'
import { makeDirectory as ofStore } from '#control/store/make-directory.ts'
import { makeDirectory as ofGateway } from '#gateway/make-directory.ts'
import { makeDirectory as ofSetup } from '#infra/setup/make-directory.js'
import { root } from '#tests/support/parts.ts'

const all = [
  ['cli/make-directory.ts', ofCli],
  ['control/store/make-directory.ts', ofStore],
  ['gateway/make-directory.ts', ofGateway],
  ['infra/setup/make-directory.js', ofSetup],
] as const

describe.each(all)('%s', (_, makeDirectory) => {
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
})

test('the four are one text, but for types', () => {
  const texts = all.map(([path]) =>
    readFileSync(join(root, path), 'utf8').replaceAll(/\(path: string\): \w+/g, '(path)'),
  )
  expect(new Set(texts).size).toBe(1)
})
