import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { exitCodeOf } from '#infra/setup/child.js'
import { root } from '#tests/support/parts.ts'

async function run(...args: readonly string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [join(root, 'infra/setup/run.js'), ...args], {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

test('passes arguments and the exit code through, and prints nothing of its own where the task prints', async () => {
  const { code, stdout } = await run('types', '--version')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^Version 7\.[\d.]+\n$/)
  expect((await run('types', '--no-such-option')).code).not.toBe(0)
})

test('an unknown task is named, with those there are', async () => {
  const { code, stderr } = await run('tset')
  expect(code).toBe(1)
  expect(stderr).toBe(
    'isthmus: "tset" is no task: say one of start, test, test:faults, test:crashes, test:fuzz, test:rotation, test:failover, test:kubernetes, golden, bench, build, lint, types.\n',
  )
})

test('a task that a signal ends gives the code a shell would give', () => {
  expect(exitCodeOf(null, 'SIGTERM', { SIGTERM: 15 })).toBe(143)
  expect(exitCodeOf(3, null, {})).toBe(3)
})
