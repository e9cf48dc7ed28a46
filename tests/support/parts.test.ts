import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { envoyPath, type Postgres, root, startPostgres } from '#tests/support/parts.ts'

async function queryAt(url: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

describe('a real PostgreSQL', () => {
  let server: Postgres
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.stop())

  const query = (text: string) => queryAt(server.url, text)

  test('is PostgreSQL 18 in the C locale', async () => {
    const [row] = await query("select current_setting('server_version') v, datcollate c from pg_database limit 1")
    expect(row).toMatchObject({ v: expect.stringMatching(/^18\./), c: 'C' })
  })

  test('keeps what was committed over SIGKILL and over a restart in order', async () => {
    await query('create table kept (n int)')
    await query('insert into kept values (1)')
    await server.kill9()
    await expect(query('select 1')).rejects.toThrow(/ECONNREFUSED/)
    await server.restart()
    await query('insert into kept values (2)')
    await server.restart()
    expect(await query('select n from kept order by n')).toEqual([{ n: 1 }, { n: 2 }])
  })

  test('refuses a caller without the password', async () => {
    await expect(queryAt(server.url.replace(/:[0-9a-f]+@/, ':wrong@'), 'select 1')).rejects.toThrow(/password/)
  })
})

test('when the process that started it is killed, server and data go too', { timeout: 20_000 }, async () => {
  const program = `import { startPostgres } from '#tests/support/parts.ts'; console.log(JSON.stringify((await startPostgres()).url)); setInterval(() => {}, 1e6)`
  const starter = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(starter.stdout.setEncoding('utf8'), 'data')
  const url: string = JSON.parse(line)
  const [row] = await queryAt(url, "select current_setting('data_directory') dir")
  const dir = String(row?.['dir'])
  expect(existsSync(dir)).toBe(true)
  starter.kill('SIGKILL')
  for (let left = 100; left > 0 && existsSync(join(dir, '..')); left--) await pause(100)
  expect(existsSync(join(dir, '..'))).toBe(false)
  await expect(queryAt(url, 'select 1')).rejects.toThrow(/ECONNREFUSED/)
})

test('the Envoy for tests is one that runs here', async () => {
  const { stdout } = await promisify(execFile)(await envoyPath(), ['--version'])
  expect(stdout).toMatch(/\/1\.40\.\d+\//)
})
