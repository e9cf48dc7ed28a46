import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { supervisorIn } from './left-behind.ts'
import { startOf } from './process-facts.ts'
import { supervisorMark, supervisorOf } from './supervisor.ts'

let dir = ''
const children: ChildProcess[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'supervisor-'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

/** A program that sleeps, and says whose it is. */
async function sleeper(by?: string, command = 'exec sleep 60'): Promise<ChildProcess & { readonly pid: number }> {
  const env = { PATH: process.env['PATH'], ISTHMUS_SANDBOX_RUN: dir, ...(by ? { ISTHMUS_SANDBOX_BY: by } : {}) }
  const child = spawn('sh', ['-c', `echo; ${command}`], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  children.push(child)
  await once(child.stdout, 'data')
  if (child.pid === undefined) throw new Error('sh did not start')
  return Object.assign(child, { pid: child.pid })
}

test('a program tells which living process runs its sandbox, until that one ends', async () => {
  const owner = await sleeper()
  const started = startOf(owner.pid) ?? ''
  const program = await sleeper(`${owner.pid} ${started}`)
  expect(supervisorOf(program.pid)).toEqual({ pid: owner.pid, started })
  expect(supervisorIn(dir)).toEqual({ pid: owner.pid, started })
  owner.kill('SIGKILL')
  await once(owner, 'exit')
  expect(supervisorOf(program.pid)).toBeUndefined()
  expect(supervisorIn(dir)).toBeUndefined()
})

test('a process that only has the number of one that ended, and this process itself, are nobody', async () => {
  const owner = await sleeper()
  expect(supervisorOf((await sleeper(`${owner.pid} 1`)).pid)).toBeUndefined()
  expect(supervisorOf((await sleeper(supervisorMark()['ISTHMUS_SANDBOX_BY'])).pid)).toBeUndefined()
  expect(supervisorOf((await sleeper('nonsense')).pid)).toBeUndefined()
})

test('a program without an environment belongs where its parent does', async () => {
  const owner = await sleeper()
  const mark = `${owner.pid} ${startOf(owner.pid)}`
  const parent = spawn('sh', ['-c', 'env -i sleep 60 & echo $!; wait'], {
    env: { PATH: process.env['PATH'], ISTHMUS_SANDBOX_BY: mark },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  children.push(parent)
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(line.toString())
  try {
    expect(supervisorOf(pid)).toMatchObject({ pid: owner.pid })
  } finally {
    process.kill(pid, 'SIGKILL')
  }
})
