import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Clock } from '#gateway/proxy/keep-certificate.ts'
import { type Envoy, keepEnvoy } from '#gateway/proxy/keep-envoy.ts'
import { noteEnvoy } from '#gateway/proxy/left-over.ts'
import type { Log } from '#gateway/proxy/log.ts'

/** Sham Envoys: shell scripts, so that crashes and deafness are at hand. The real one: `proxy.test.ts`. */
let dir: string
let envoy: Envoy | undefined
let lines: string[]
let waits: number[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sham-'))
  lines = []
  waits = []
})
afterEach(async () => {
  await envoy?.stop()
  envoy = undefined
  rmSync(dir, { recursive: true })
})

function start(script: string, clock: Partial<Clock> = {}): Envoy {
  const binary = join(dir, 'envoy')
  writeFileSync(binary, `#!/bin/sh\n${script}\n`)
  chmodSync(binary, 0o755)
  const say = (_facts: unknown, text?: string) => void lines.push(text ?? String(_facts))
  const log = { trace: say, debug: say, info: say, warn: say, error: say } as unknown as Log
  const quick: Clock = {
    now: () => new Date(),
    random: () => 1,
    wait: async (ms, signal) => {
      waits.push(ms)
      await delay(1, undefined, { signal }).catch(() => undefined)
    },
  }
  const command = { binary, bootstrap: join(dir, 'b.json'), pidFile: join(dir, 'pid'), concurrency: 3, logLevel: 'off' }
  envoy = keepEnvoy(command, log, { ...quick, ...clock })
  return envoy
}

async function until(look: () => unknown): Promise<void> {
  for (const end = Date.now() + 5_000; !look(); await delay(10)) if (Date.now() > end) throw new Error('in vain')
}

test('the command line: bootstrap, drain times, workers', async () => {
  start(`echo "$@" > ${dir}/args; exec sleep 20`)
  await until(() => existsSync(join(dir, 'args')) && readFileSync(join(dir, 'args'), 'utf8').endsWith('\n'))
  const args = readFileSync(join(dir, 'args'), 'utf8')
  expect(args).toContain(`-c ${dir}/b.json --disable-hot-restart --allow-unknown-static-fields`)
  expect(args).toContain('--drain-time-s 20 --drain-strategy immediate --concurrency 3')
})

test('one that crashes at once is started again for ever, ever more slowly, at most 10 s apart', async () => {
  const kept = start('exit 3')
  await until(() => waits.length >= 10)
  expect(waits.slice(0, 9)).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000])
  expect(lines).toContain('Envoy ended with code 3; it is started again')
  expect(kept.starts()).toBeGreaterThanOrEqual(10)
})

test('one that lived long before its crash is started again at once', async () => {
  let ms = 0
  const now = () => {
    ms += 40_000
    return new Date(ms)
  }
  start('exit 3', { now })
  await until(() => waits.length >= 4)
  expect(Math.max(...waits)).toBeLessThanOrEqual(100)
})

test('a program that is none is named', async () => {
  start('')
  rmSync(join(dir, 'envoy'))
  await until(() => waits.length >= 2)
  expect(lines.join()).toMatch(/Envoy (ended with code 12[67]|cannot be started)/)
})

test('one that does not hear SIGTERM is killed, and not started again', async () => {
  const kept = start('trap "" TERM; echo up > "$0.up"; while :; do sleep 0.1; done')
  await until(() => existsSync(join(dir, 'envoy.up')))
  const from = Date.now()
  await kept.stop()
  expect(Date.now() - from).toBeGreaterThan(2_500)
  expect(kept.running()).toBe(false)
  expect(kept.starts()).toBe(1)
  expect(existsSync(join(dir, 'pid'))).toBe(false)
})

test('an Envoy of an earlier run is ended first', async () => {
  const left = spawn('sh', ['-c', 'sleep 20; true', '-c', join(dir, 'b.json')], { stdio: 'ignore' })
  const ended = new Promise((done) => left.on('exit', (_code, signal) => done(signal)))
  await new Promise((done) => left.on('spawn', done))
  noteEnvoy(join(dir, 'pid'), left.pid ?? 0)
  start('exec sleep 20')
  expect(await ended).toBe('SIGKILL')
  expect(lines).toContain('an Envoy of an earlier run was still there; killed')
})
