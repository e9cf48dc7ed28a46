import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { killLeftOver, noteEnvoy, startTimeOf } from '#gateway/proxy/left-over.ts'

const dir = mkdtempSync(join(tmpdir(), 'left-'))
const note = join(dir, 'envoy.pid')
const bootstrap = join(dir, 'bootstrap.json')
let child: ChildProcess
let pid: number
beforeEach(() => {
  // A program that carries the bootstrap's path in its command line, as Envoy does.
  child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 20_000)', '-c', bootstrap], { stdio: 'ignore' })
  pid = child.pid ?? 0
})
afterEach(() => {
  child.kill('SIGKILL')
  rmSync(note, { force: true })
})

test('the noted process is killed', async () => {
  noteEnvoy(note, pid)
  const ended = new Promise((done) => child.on('exit', (_code, signal) => done(signal)))
  expect(killLeftOver(note, bootstrap)).toBe(pid)
  expect(await ended).toBe('SIGKILL')
  expect(existsSync(note)).toBe(false)
})

test.each([
  ['another start time: the pid is by now somebody else’s', () => `${pid} ${Number(startTimeOf(pid)) - 1}`],
  ['no start time', () => `${pid}`],
  ['a pid that is gone', () => '999999999 1'],
  ['text', () => 'hello'],
  ['nothing', () => ''],
])('spared: %s', (_name, text) => {
  writeFileSync(note, text())
  expect(killLeftOver(note, bootstrap)).toBeUndefined()
  expect(child.exitCode ?? child.signalCode).toBeNull()
})

test('spared: the noted process with another bootstrap', () => {
  noteEnvoy(note, pid)
  expect(killLeftOver(note, join(dir, 'other.json'))).toBeUndefined()
  expect(child.signalCode).toBeNull()
})

test('no note, nothing to do', () => {
  expect(killLeftOver(note, bootstrap)).toBeUndefined()
})
