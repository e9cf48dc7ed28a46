import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openLogFile, tailOf } from './log-file.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'log-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test('a program that writes without end keeps two files of bounded size, with the newest lines', () => {
  const path = join(dir, 'a/b.log')
  const log = openLogFile(path, 1000)
  for (let n = 0; n < 500; n++) log.write(Buffer.from(`line ${n}\n`))
  log.close()
  expect(statSync(path).size).toBeLessThanOrEqual(1000)
  expect(statSync(`${path}.1`).size).toBeLessThanOrEqual(1000)
  expect(readFileSync(path, 'utf8')).toMatch(/line 499\n$/)
  expect(tailOf(path, 2)).toBe('    line 498\n    line 499')
})

test('what an earlier run wrote is kept until the file is full', () => {
  const path = join(dir, 'c.log')
  writeFileSync(path, 'before\n')
  const log = openLogFile(path)
  log.write(Buffer.from('after\n'))
  expect(readFileSync(path, 'utf8')).toBe('before\nafter\n')
})

test('a log that cannot be written costs lines, never the program', () => {
  writeFileSync(join(dir, 'file'), '')
  const log = openLogFile(join(dir, 'file/x.log'))
  expect(() => log.write(Buffer.from('lost\n'))).not.toThrow()
  expect(tailOf(join(dir, 'file/x.log'))).toContain('no log')
})
