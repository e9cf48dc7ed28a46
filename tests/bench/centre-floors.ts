import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openPglite } from '#control/store/pglite.ts'
import { centreClient } from '#gateway/uplink/centre-client.ts'
import { type SyncAnswer, type SyncRequest, syncAnswerSchema } from '#mesh/wire/sync.ts'
import type { Floor } from '#tests/bench/centre-figures.ts'
import { type Duration, loadFloor } from '#tests/bench/centre-sync.ts'
import { databaseTemplate } from '#tests/support/database-template.ts'

/** What the floor is asked to do: as many callers, and a request and an answer of the very point that was measured. */
export type FloorOf = {
  readonly callers: number
  readonly request: SyncRequest
  readonly answer: SyncAnswer
  readonly duration: Duration
}

/** A server of twenty lines in a process of its own, asked by the same clients over the same TLS. */
export async function measureHttpFloor({ callers, request, answer, duration }: FloorOf): Promise<Floor> {
  const child = fork(join(import.meta.dirname, 'centre-floor-server.ts'), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const clients: { close(): void }[] = []
  try {
    child.send({ answer })
    const { port, ca } = await answerOf<{ port: number; ca: string }>(child)
    const calls = Array.from({ length: callers }, () => {
      const client = centreClient({ url: `https://127.0.0.1:${port}`, ca: () => ca, version: '0.1.0' })
      clients.push(client)
      const body = request
      return () => client.call({ path: '/v1/clusters/x/sync', body, schema: syncAnswerSchema, token: 'x'.repeat(500) })
    })
    return await loadFloor(calls, duration)
  } finally {
    for (const client of clients) client.close()
    child.kill('SIGKILL')
  }
}

/** As many connections as callers, up to what the server's usual hundred leaves beside the centre's own; one insert is one commit. */
export async function measurePostgresFloor(url: string, of: FloorOf): Promise<Floor> {
  const clients = Array.from({ length: Math.min(of.callers, 64) }, () => new pg.Client({ connectionString: url }))
  await Promise.all(clients.map((client) => client.connect()))
  const [first] = clients
  if (!first) throw new Error('a floor without callers')
  try {
    await first.query(tableSql)
    const { text, values } = insertOf(of.request)
    return await loadFloor(
      clients.map((client) => () => client.query({ name: 'floor', text, values: [...values] })),
      of.duration,
    )
  } finally {
    await first.query('drop table if exists bench_floor')
    await Promise.all(clients.map((client) => client.end()))
  }
}

/** The embedded engine in its worker, with nothing but the insert: no transaction of several statements, no journal. */
export async function measureEmbeddedFloor(of: FloorOf): Promise<Floor> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-bench-floor-'))
  const engine = await openPglite(join(dir, 'database'), await databaseTemplate())
  try {
    await engine.run(tableSql, [], 'execute')
    const { text, values } = insertOf(of.request)
    const calls = Array.from({ length: of.callers }, () => () => engine.run(text, values, 'execute'))
    return await loadFloor(calls, of.duration)
  } finally {
    await engine.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

const tableSql = 'create table if not exists bench_floor (id bigserial primary key, key text, body text)'

function insertOf({ items }: SyncRequest): { readonly text: string; readonly values: readonly string[] } {
  const rows = items.map((_, n) => `($${2 * n + 1}, $${2 * n + 2})`)
  return {
    text: `insert into bench_floor (key, body) values ${rows.join(', ')}`,
    values: items.flatMap(({ k, v }) => [k, JSON.stringify(v)]),
  }
}

export async function answerOf<T>(child: ChildProcess): Promise<T> {
  const gone = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`${child.spawnargs.at(-1)} ended with ${code ?? signal} before it said anything`)
  })
  const [said] = await Promise.race([once(child, 'message'), gone])
  return said as T
}
