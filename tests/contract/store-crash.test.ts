import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Database, embeddedClustersMax } from '#control/store/database.ts'
import { loadMesh, loadMeshes, saveMesh } from '#control/store/meshes.ts'
import { readMigrations } from '#control/store/migrate.ts'
import { append } from '#control/store/stream-writes.ts'
import { loadLive, loadStream } from '#control/store/streams.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import { type MeshName, parseMeshName } from '#mesh/model/id.ts'
import { emptyRoot, rootOf } from '#mesh/wire/root.ts'
import type { SyncRequest } from '#mesh/wire/sync.ts'
import { type Postgres, startPostgres } from '#tests/support/postgres.ts'
import { epochOf, exported, joined, openTestDatabase, Reporter, summary } from '#tests/support/stores.ts'

const log = () => {
  const said: string[] = []
  const say = (_: object, text: string) => void said.push(text)
  return { said, info: say, warn: say, error: say }
}

const add = (db: Database, name: string) => db.transact((tx) => saveMesh(tx, parseMeshName(name), 1))
const names = async (db: Database) => (await db.read((tx) => loadMeshes(tx, '', 10_000))).map((row) => row.name)

/** The stored root must be the root of what is stored. */
async function checkRoot(db: Database): Promise<number> {
  const ref = { mesh: 'crash', stream: 'adv/crash' }
  const row = await db.read((tx) => loadStream(tx, ref))
  const live = await db.read((tx) => loadLive(tx, ref))
  expect(row?.root ?? emptyRoot).toBe(rootOf(live.map((item) => [item.key, item.hash])))
  return row?.head ?? 0
}

describe('embedded', () => {
  let template: string
  let dir: string
  const running: ChildProcess[] = []
  const opened: Database[] = []
  const open = async (more: Parameters<typeof openTestDatabase>[0] = {}) => {
    const db = await openTestDatabase({ dir, ...more })
    opened.push(db)
    return db
  }
  // Made as the centre makes it; the tests begin with copies.
  beforeAll(async () => {
    template = mkdtempSync(join(tmpdir(), 'isthmus-store-'))
    await (await openTestDatabase({ dir: template, template: undefined })).close()
  })
  afterAll(() => rmSync(template, { recursive: true, force: true }))
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'isthmus-store-'))
    cpSync(template, dir, { recursive: true })
  })
  afterEach(async () => {
    for (const child of running.splice(0)) await kill(child)
    for (const db of opened.splice(0)) await db.close()
    rmSync(dir, { recursive: true, force: true })
  })

  /** Starts the writer; `acknowledged` is the last number it said. */
  function startWriter(from: number) {
    const file = fileURLToPath(new URL('../support/store-writer.ts', import.meta.url))
    const child = spawn(process.execPath, [file, dir, String(from)], { stdio: ['ignore', 'pipe', 'inherit'] })
    running.push(child)
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (more: string) => {
      text = (text + more).slice(-10_000)
    })
    return { child, acknowledged: () => Number(text.split('\n').at(-2) ?? 0) }
  }
  async function kill(child: ChildProcess) {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  const machineDies = () =>
    writeFileSync(
      join(dir, 'centre.lock'),
      JSON.stringify({ pid: 1, start: '1', boot: 'another boot of this machine' }),
    )
  async function until(done: () => boolean) {
    while (!done()) await pause(10)
  }

  test('killed in the middle of writes, again and again: nothing acknowledged is lost and the roots are right', async () => {
    let last = 0
    for (let round = 0; round < 3; round++) {
      const writer = startWriter(last + 1)
      await until(() => writer.acknowledged() > last + 20)
      await pause(Math.random() * 150)
      await kill(writer.child)
      await pause(20)
      const acknowledged = writer.acknowledged()
      const db = await open()
      const head = await checkRoot(db)
      expect(await names(db)).toHaveLength(head)
      expect(head === acknowledged || head === acknowledged + 1).toBe(true)
      await opened.pop()?.close()
      last = head
    }
  })

  test('the directory of a live centre is refused with its pid; that of a killed one is taken over', async () => {
    const writer = startWriter(1)
    await until(() => writer.acknowledged() > 0)
    await expect(open()).rejects.toThrow(
      `the directory ${dir} is in use by another centre, process ${writer.child.pid}`,
    )
    await kill(writer.child)
    const db = await open()
    await expect(open()).rejects.toThrow(`process ${process.pid}`)
    expect(await names(db)).not.toEqual([])
  })

  test('the directory of the database deleted: what cannot be told again comes back from the journal', async () => {
    const db = await open()
    await joined(db, 'mesh1', 'east')
    await add(db, 'mesh2')
    const before = [await names(db), await db.read((tx) => loadMesh(tx, 'mesh1'))]
    await opened.pop()?.close()
    rmSync(join(dir, 'database'), { recursive: true })
    const said = log()
    const after = await open({ log: said })
    expect([await names(after), await after.read((tx) => loadMesh(tx, 'mesh1'))]).toEqual(before)
    expect(said.said.join()).toContain('brought forward')
    await add(after, 'mesh3')
    await opened.pop()?.close()
    expect(await names(await open())).toEqual(['mesh1', 'mesh2', 'mesh3'])
  })

  test('what clusters exported is known again before they report, and their next report begins anew', async () => {
    const db = await open()
    const east = await joined(db, 'mesh1', 'east')
    const relay = new Reporter()
    const sync = (to: Database, request: SyncRequest) => syncEndpoints(to, east, request, { now: 1, newId: randomUUID })
    const items = { 'export/ns/a': exported(), 'export/ns/b': exported(), 'summary/ns/a': summary(1) }
    await sync(db, relay.batch(items, { complete: true }))
    await sync(db, relay.batch({ 'export/ns/b': undefined }))
    await opened.pop()?.close()
    rmSync(join(dir, 'database'), { recursive: true })
    const after = await open()
    const live = async () =>
      (await after.read((tx) => loadLive(tx, { mesh: 'mesh1', stream: 'rep/east' }))).map((item) => item.key)
    expect(await live()).toEqual(['export/ns/a'])
    await expect(sync(after, relay.batch({}))).rejects.toMatchObject({ extra: { needSeq: 1 } })
    relay.restart(epochOf(2))
    const { answer } = await sync(after, relay.batch({ 'export/ns/c': exported() }, { complete: true }))
    expect(answer.resync).toBeUndefined()
    expect(await live()).toEqual(['export/ns/c'])
  })

  test('a journal that is behind is written anew from the database', async () => {
    const db = await open()
    await add(db, 'mesh1')
    const size = statSync(join(dir, 'journal')).size
    await add(db, 'mesh2')
    await opened.pop()?.close()
    truncateSync(join(dir, 'journal'), size + 5)
    const said = log()
    await open({ log: said })
    expect(said.said.join()).toContain('torn last record was cut off')
    await opened.pop()?.close()
    rmSync(join(dir, 'database'), { recursive: true })
    expect(await names(await open())).toEqual(['mesh1', 'mesh2'])
  })

  test('a flipped bit in the journal stops the start and names the byte', async () => {
    const db = await open()
    await add(db, 'mesh1')
    await add(db, 'mesh2')
    await opened.pop()?.close()
    const file = join(dir, 'journal')
    const bytes = readFileSync(file)
    bytes[60] = (bytes[60] ?? 0) ^ 4
    writeFileSync(file, bytes)
    await expect(open()).rejects.toThrow(/journal .* is damaged at byte \d+: restore it/)
    rmSync(file)
    expect(await names(await open())).toEqual(['mesh1', 'mesh2'])
  })

  test('the machine went down while it ran: the database is made anew from the journal', async () => {
    const db = await open()
    await add(db, 'mesh1')
    await db.transact((tx) => append(tx, { mesh: 'mesh1', stream: 'adv/crash' }, [{ key: 'a', body: 1 }], 1))
    await opened.pop()?.close()
    machineDies()
    const said = log()
    const after = await open({ log: said })
    expect(said.said.join()).toContain('the machine went down')
    expect(await names(after)).toEqual(['mesh1'])
    expect(await after.read((tx) => loadStream(tx, { mesh: 'mesh1', stream: 'adv/crash' }))).toBeUndefined()
  })

  test('the machine went down and the journal is damaged: the database stays where it is, until the journal is seen to', async () => {
    const db = await open()
    await add(db, 'mesh1')
    await opened.pop()?.close()
    const file = join(dir, 'journal')
    const good = readFileSync(file)
    const bad = Buffer.from(good)
    bad[60] = (bad[60] ?? 0) ^ 4
    writeFileSync(file, bad)
    machineDies()
    await expect(open()).rejects.toThrow(/journal .* is damaged at byte \d+/)
    expect(readdirSync(dir).filter((name) => name.startsWith('database'))).toEqual(['database'])

    writeFileSync(file, good)
    await add(await open(), 'mesh2')
    await opened.pop()?.close()
    machineDies()
    expect(await names(await open())).toEqual(['mesh1', 'mesh2'])
    const kept = ['database', 'database.distrusted', 'database.distrusted-2']
    expect(readdirSync(dir).filter((name) => name.startsWith('database'))).toEqual(kept)
    await opened.pop()?.close()

    rmSync(file)
    machineDies()
    expect(await names(await open())).toEqual(['mesh1', 'mesh2'])
  })

  test('a write without a word for the journal is rolled back', async () => {
    const db = await open()
    const { meshes } = await import('#control/store/schema/mesh.ts')
    await expect(db.transact((tx) => tx.insert(meshes).values({ name: 'm', createdAt: 1 }))).rejects.toThrow(
      'wrote to meshes without durable()',
    )
    expect(await names(db)).toEqual([])
  })

  test('more clusters than it is made for are refused with the way on', async () => {
    const db = await open()
    for (let n = 0; n < embeddedClustersMax; n++) await joined(db, 'mesh1', `c${n}`)
    await expect(joined(db, 'mesh1', 'one-more')).rejects.toThrow(/up to 200 clusters: .* DATABASE_URL/)
  })

  test('a database of a newer build is refused, naming both, and an edited migration too', async () => {
    const newer = [...readMigrations(), { tag: '9999_newer', steps: ['create table newer (x text primary key)'] }]
    await open({ migrations: newer })
    await opened.pop()?.close()
    await expect(open()).rejects.toThrow(/schema 9999_newer, and this isthmus knows up to 0/)
    rmSync(join(dir, 'database'), { recursive: true })
    await expect(open()).rejects.toThrow(/journal .* has schema 9999_newer/)
  })
})

describe('a server', () => {
  let server: Postgres
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())

  test('two that start at once on an empty server both come up', async () => {
    const both = await Promise.all([openTestDatabase({ url: server.url }), openTestDatabase({ url: server.url })])
    await add(both[0], 'first')
    expect(await names(both[1])).toEqual(['first'])
    for (const db of both) await db.close()
  })

  test('killed in the middle of writes: refused while away, nothing acknowledged lost, and it goes on by itself', async () => {
    const db = await openTestDatabase({ url: server.url })
    const acknowledged: MeshName[] = []
    let refused = 0
    let stop = false
    const writer = async (w: number) => {
      for (let n = 0; !stop; n++) {
        const name = parseMeshName(`w${w}-${n}`)
        try {
          await db.transact((tx) => saveMesh(tx, name, 1))
          acknowledged.push(name)
        } catch (error) {
          expect(error).toMatchObject({ kind: 'unavailable' })
          refused++
          await pause(20)
        }
      }
    }
    const writers = [0, 1, 2].map(writer)
    await pause(300)
    await server.kill9()
    const before = acknowledged.length
    await pause(200)
    await server.restart()
    while (acknowledged.length < before + 30) await pause(20)
    stop = true
    await Promise.all(writers)
    expect(refused).toBeGreaterThan(0)
    const stored = new Set(await names(db))
    expect(acknowledged.filter((name) => !stored.has(name))).toEqual([])
    await db.close()
  })
})
