import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { takeTurn } from './one-at-a-time.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'turn-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test('a directory has one sandbox, and a second one hears its addresses', () => {
  const first = takeTurn(dir, 'Shop here')
  expect(first.kind).toBe('taken')
  expect(takeTurn(dir, 'Shop there')).toMatchObject({ kind: 'held', by: { pid: process.pid, addresses: 'Shop here' } })
  if (first.kind === 'taken') first.release()
  expect(takeTurn(dir, 'Shop there').kind).toBe('taken')
})

test.each([
  ['of a dead process', JSON.stringify({ pid: 2 ** 22 + 1, started: '1', addresses: '' })],
  ['of another process with the same number', JSON.stringify({ pid: process.pid, started: '1', addresses: '' })],
  ['cut off in the middle', '{"pid":'],
  ['empty', ''],
])('a claim %s is taken over, and nothing else is left', (_, text) => {
  writeFileSync(join(dir, 'running.json'), text)
  expect(takeTurn(dir, 'x').kind).toBe('taken')
  expect(readdirSync(dir)).toEqual(['running.json'])
  expect(JSON.parse(readFileSync(join(dir, 'running.json'), 'utf8'))).toMatchObject({ pid: process.pid })
})

test('a claim that another has taken over meanwhile is not released', () => {
  const first = takeTurn(dir, 'x')
  const other = JSON.stringify({ pid: process.pid + 1, started: '1', addresses: '' })
  writeFileSync(join(dir, 'running.json'), other)
  if (first.kind === 'taken') first.release()
  expect(readFileSync(join(dir, 'running.json'), 'utf8')).toBe(other)
})
