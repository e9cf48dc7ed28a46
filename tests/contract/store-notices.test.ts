import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type NoticeLine, openNoticeLine } from '#control/store/notice-line.ts'
import { type ServedCentre, serveCentre } from '#functions/serve-centre.ts'
import type { Hint } from '#mesh/wire/hint.ts'
import type { TestRelay } from '#tests/support/centre.ts'
import { type Postgres, startPostgres } from '#tests/support/postgres.ts'
import { relayOf, watchServed } from '#tests/support/served.ts'
import { exported, facts, silentLog, summary } from '#tests/support/stores.ts'
import { eventually } from '#tests/support/until.ts'

// Processes of one centre on one PostgreSQL hear of each other's changes by LISTEN and NOTIFY, and need not.

let server: Postgres
const dir = mkdtempSync(join(tmpdir(), 'notices-'))
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(async () => {
  await server.stop()
  rmSync(dir, { recursive: true, force: true })
})

const patience = 20_000

/** Ends every listening connection, as a failing server or a firewall does. */
async function cutLines(): Promise<number> {
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  const { rows } = await client.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'isthmus-hints'",
  )
  await client.end()
  return rows.length
}

describe('a line', () => {
  const said: string[] = []
  const log = { ...silentLog, warn: (_: object, text: string) => void said.push(text) }
  const open = (texts: string[], url = server.url): NoticeLine => {
    const line = openNoticeLine({
      url,
      log,
      onText: (text) => texts.push(text),
      times: { retryMin: 20, retryMax: 200 },
    })
    onTestFinished(() => line.close())
    return line
  }
  const both = (one: NoticeLine, two: NoticeLine) =>
    eventually(patience, 'both are connected', () => one.connected() && two.connected())

  test('what one says all hear; cut, and its server killed, it comes back by itself, and one warning tells', async () => {
    const texts: string[] = []
    const [one, two] = [open([]), open(texts)]
    await both(one, two)
    one.send('first')
    await eventually(patience, 'it is heard', () => texts.includes('first'))
    expect(await cutLines()).toBe(2)
    await eventually(patience, 'it is noticed', () => !one.connected() || said.length > 0)
    one.send('lost or not')
    await both(one, two)
    one.send('after the cut')
    await eventually(patience, 'it is heard again', () => texts.includes('after the cut'))
    await server.kill9()
    await eventually(patience, 'it is noticed', () => !one.connected() && !two.connected())
    said.splice(0)
    one.send('lost')
    await server.restart()
    await both(one, two)
    one.send('after the restart')
    await eventually(patience, 'it is heard again', () => texts.includes('after the restart'))
    expect(texts).not.toContain('lost')
    expect(said).toEqual([])
  })

  test('an engine without LISTEN is asked once and never again', async () => {
    let asked = 0
    const engine = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => {
        socket.write(Buffer.concat([message('R', [0, 0, 0, 0]), message('Z', [73])]))
        socket.on('data', (data) => {
          if (data[0] !== 0x51) return
          asked++
          const fault = Buffer.from('SERROR\0C0A000\0Munimplemented\0\0')
          socket.write(Buffer.concat([message('E', [...fault]), message('Z', [73])]))
        })
      })
    })
    const port = await portOf(engine)
    onTestFinished(() => void engine.close())
    const line = open([], `postgres://u:p@127.0.0.1:${port}/d`)
    await eventually(patience, 'it was asked', () => asked > 0)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect([asked, line.connected()]).toEqual([1, false])
    line.send('nobody hears it')
  })
})

describe('two processes of one centre', () => {
  let one: ServedCentre
  let two: ServedCentre
  let east: TestRelay
  let west: TestRelay
  const start = (): Promise<ServedCentre> =>
    serveCentre({
      ...{
        listen: { host: '127.0.0.1', port: 0 },
        data: dir,
        databaseUrl: server.url,
        mesh: 'mesh1',
        version: '0.1.0',
      },
      ...{ log: silentLog, env: {}, scryptCost: 2 ** 14 },
    })
  beforeAll(async () => {
    one = await start()
    two = await start()
    east = await relayOf(one, 'east').join()
    west = await relayOf(two, 'west').join()
    await east.sync({ cluster: facts('net-east'), 'export/shop/a': exported() }, { complete: true })
    await west.sync({ cluster: facts('net-west') }, { complete: true })
  })
  afterAll(async () => {
    await one?.stop()
    await two?.stop()
  })
  const westSees = (ready: number, how: () => Promise<unknown>) =>
    eventually(patience, `west sees ${ready}`, async () => {
      await how()
      return new RegExp(`ready\\W+${ready}\\b`).test(west.text())
    })
  /** Revisions of a stream that a hint line was told of, but for those told when it was opened. */
  const hinted = (frames: readonly Hint[], stream: string): number[] =>
    frames.slice(1).flatMap(({ heads }) => heads.filter(([name]) => name === stream).map(([, , rev]) => rev))

  test('what is committed through one is a hint at the other, with no delta and only for those who may read it', async () => {
    const line = await watchServed(two, west.bearer)
    await eventually(patience, 'the line is greeted', () => line.frames.length > 0)
    await eventually(patience, 'a hint comes', async () => {
      await east.sync({ 'summary/shop/a': summary(1 + Math.floor(Math.random() * 1000)) })
      return hinted(line.frames, 'ep/east/all').length > 0
    })
    expect(line.frames.slice(1).filter(({ delta }) => delta !== undefined)).toEqual([])
    expect(hinted(line.frames, 'cfg/east')).toEqual([])
    one.centre.bus.announce({ kind: 'cluster-void', clusterId: west.id })
    expect(await line.closed).toMatchObject({ code: 4401 })
  })

  test('with every line cut again and again nothing is lost: a pull finds it, and hints come back', async () => {
    const cutting = setInterval(() => void cutLines().catch(() => undefined), 30)
    try {
      for (let ready = 2001; ready <= 2006; ready++) {
        expect((await east.sync({ 'summary/shop/a': summary(ready) })).status).toBe(200)
        await westSees(ready, () => west.pull())
      }
    } finally {
      clearInterval(cutting)
    }
    const line = await watchServed(two, west.bearer)
    let ready = 3000
    await eventually(patience, 'a hint comes', async () => {
      await east.sync({ 'summary/shop/a': summary(++ready) })
      return hinted(line.frames, 'ep/east/all').length > 0
    })
    line.socket.close()
  })
})

const message = (kind: string, body: readonly number[]): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length + 4)
  return Buffer.concat([Buffer.from(kind), length, Buffer.from(body)])
}

async function portOf(engine: Server): Promise<number> {
  engine.listen(0, '127.0.0.1')
  await once(engine, 'listening')
  const address = engine.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
