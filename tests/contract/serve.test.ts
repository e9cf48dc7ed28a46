import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { connect as connectPlain, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { gunzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { issueServing } from '#control/serving-certificate.ts'
import { type ServedCentre, type ServeSettings, serveCentre } from '#functions/serve-centre.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { parseJoinToken } from '#mesh/wire/join-token.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import type { TestRelay } from '#tests/support/centre.ts'
import { giveDatabase } from '#tests/support/database-template.ts'
import { callServed as call, relayOf, watchServed as watch } from '#tests/support/served.ts'
import { exported, facts, silentLog, summary } from '#tests/support/stores.ts'

const dir = mkdtempSync(join(tmpdir(), 'serve-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const settings = (more: Partial<ServeSettings> = {}): ServeSettings => ({
  listen: { host: '127.0.0.1', port: 0 },
  data: join(dir, 'data'),
  mesh: 'mesh1',
  version: '0.1.0',
  log: silentLog,
  env: {},
  scryptCost: 2 ** 14,
  ...more,
})

const metricsOf = (served: ServedCentre): Promise<string> =>
  new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${readFileSync(served.keyFile, 'utf8').trim()}` }
    const outgoing = request(
      new URL('/metrics', served.url),
      { agent: false, ca: readFileSync(served.caFile), headers },
      (answer) => {
        let text = ''
        answer.on('data', (part) => {
          text += part
        })
        answer.on('end', () => resolve(text))
      },
    )
    outgoing.on('error', reject)
    outgoing.end()
  })

describe('one process', () => {
  let served: ServedCentre
  let east: TestRelay
  let west: TestRelay
  beforeAll(async () => {
    await giveDatabase(join(dir, 'data'))
    served = await serveCentre(settings())
    east = await relayOf(served, 'east').join()
    west = await relayOf(served, 'west').join()
  })
  afterAll(() => served.stop())

  test('is ready, and keeps the first key and the CA where it says', async () => {
    await expect.poll(async () => (await call(served, 'GET', '/readyz')).status).toBe(200)
    expect(statSync(served.keyFile).mode & 0o777).toBe(0o600)
    expect(statSync(join(dir, 'data')).mode & 0o777).toBe(0o700)
  })

  test('speaks TLS 1.2 and later, never plain HTTP', async () => {
    const { hostname, port } = new URL(served.url)
    const version = (max: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
      new Promise<string>((resolve) => {
        const socket = connect(
          {
            host: hostname,
            port: Number(port),
            rejectUnauthorized: false,
            minVersion: max,
            maxVersion: max,
            ciphers: 'DEFAULT@SECLEVEL=0',
          },
          () => {
            resolve(socket.getProtocol() ?? '')
            socket.destroy()
          },
        )
        socket.on('error', () => resolve('refused'))
      })
    expect(await Promise.all([version('TLSv1.1'), version('TLSv1.2'), version('TLSv1.3')])).toEqual([
      'refused',
      'TLSv1.2',
      'TLSv1.3',
    ])
    const plain = connectPlain(Number(port), hostname)
    let text = ''
    plain.on('data', (part) => {
      text += part
    })
    plain.on('error', () => undefined)
    plain.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(plain, 'close')
    expect(text).not.toContain('200')
  })

  test('a hint line begins with all heads, then tells each change with its delta, frames counted', async () => {
    const line = await watch(served, west.bearer)
    await line.frameWith('trust/mesh1')
    await east.sync(
      { cluster: facts('net-east'), 'export/shop/a': exported(), 'summary/shop/a': summary(1) },
      { complete: true },
    )
    await line.frameWith('ep/east/all')
    await line.frameWith('cfg/west')
    expect(line.frames.map(({ n }) => n)).toEqual(line.frames.map((_, i) => i))
    const told = line.frames.find((f) => f.heads.some(([name]) => name === 'ep/east/all'))
    const deltas: StreamDelta[] = JSON.parse(gunzipSync(Buffer.from(told?.delta ?? '', 'base64')).toString('utf8'))
    expect(deltas.map(({ stream }) => stream)).toContain('ep/east/all')
    expect(JSON.stringify(line.frames)).not.toContain('cfg/east')
    line.socket.close()
  })

  test('a pull that waits is answered by the change it waits for', async () => {
    // The test before ends with a frame; the config that follows from it may come a moment later.
    await expect
      .poll(async () => {
        await west.pull()
        return west.held.get('cfg/west')?.items.has('import/shop/a')
      })
      .toBe(true)
    const have = [...west.held].map(([stream, { epoch, rev }]) => [stream, epoch, rev])
    const started = performance.now()
    const waiting = call(served, 'POST', '/v1/pull', {
      bearer: west.bearer,
      body: { proto: meshSyncText, have, waitMs: 15_000 },
    })
    await east.sync({ 'summary/shop/a': summary(7) })
    const { body } = await waiting
    expect((body['streams'] as { stream: string }[]).map(({ stream }) => stream)).toEqual(['ep/east/all'])
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  test.each([
    ['a hello of another major', JSON.stringify({ proto: 'mesh-sync/2.0' }), 4409, 'upgrade the centre first'],
    ['no hello but noise', '{"n":', 1008, 'hello'],
    ['a frame too large', 'x'.repeat(10_000), 1009, ''],
  ])('%s ends the line and says why', async (_, hello, code, reason) => {
    const ended = await (await watch(served, west.bearer, hello)).closed
    expect([ended.code, ended.reason]).toEqual([code, expect.stringContaining(reason)])
  })

  test('who is no relay gets no line', async () => {
    const operator = readFileSync(served.keyFile, 'utf8').trim()
    expect([(await watch(served, 'nobody')).opened, (await watch(served, operator)).opened]).toEqual([401, 403])
  })

  test('a line ends when its cluster is removed', async () => {
    const leaving = await relayOf(served, 'leaving').join()
    const line = await watch(served, leaving.bearer)
    await line.frameWith('trust/mesh1')
    await call(served, 'DELETE', '/v1/clusters/leaving', { bearer: readFileSync(served.keyFile, 'utf8').trim() })
    expect(await line.closed).toMatchObject({ code: 4401 })
  })

  test('a reader that never reads costs bounded memory, finds the gap by the numbers, and holds up nobody', async () => {
    const [slow, quick] = [await watch(served, west.bearer), await watch(served, west.bearer)]
    await Promise.all([slow.frameWith('trust/mesh1'), quick.frameWith('trust/mesh1')])
    slow.socket.pause()
    const rounds = 1500
    const pad = Array.from({ length: 100 }, (_, i) => `ep/far-${i}/${'0'.repeat(120)}`)
    for (let rev = 1; rev <= rounds; rev++) {
      const changes = pad.map((stream) => ({ stream, epoch: 'e', rev }))
      served.centre.bus.announce({ kind: 'streams', changes })
      // The quick one keeps up: what is not read at all is what must not pile up.
      if (rev % 10 === 0)
        await expect.poll(() => quick.frames.length, { timeout: 15_000, interval: 5 }).toBeGreaterThanOrEqual(rev)
    }
    const dropped = Number(/hints_dropped_total (\d+)/.exec(await metricsOf(served))?.[1])
    expect(dropped).toBeGreaterThan(0)
    slow.socket.resume()
    await east.sync({ 'summary/shop/a': summary(9) })
    await slow.frameWith('ep/east/all')
    expect(slow.frames.some(({ n }, i) => i > 0 && n !== (slow.frames[i - 1]?.n ?? 0) + 1)).toBe(true)
    for (const line of [slow, quick]) line.socket.close()
  })

  test('a taken port is named, with its owner and the setting', async () => {
    const port = Number(new URL(served.url).port)
    const second = serveCentre(settings({ listen: { host: '127.0.0.1', port }, data: join(dir, 'second') }))
    await expect(second).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringMatching(new RegExp(`port ${port}.*pid ${process.pid}.*--listen`)),
    })
  })

  test('a second centre on the same directory is refused, and leaves nothing open', async () => {
    await expect(serveCentre(settings())).rejects.toMatchObject({ kind: 'conflict' })
  })

  test('an end is graceful: lines are told, and the next start resumes the same state', async () => {
    const line = await watch(served, west.bearer)
    await line.frameWith('trust/mesh1')
    const before = await call(served, 'GET', '/v1/authorities', { bearer: readFileSync(served.keyFile, 'utf8').trim() })
    const port = Number(new URL(served.url).port)
    await served.stop()
    expect(await line.closed).toMatchObject({ code: 1001 })
    served = await serveCentre(settings({ listen: { host: '127.0.0.1', port } }))
    const admin = readFileSync(served.keyFile, 'utf8').trim()
    const after = await call(served, 'GET', '/v1/authorities', { bearer: admin })
    // Each start has a certificate of its own made for its door.
    const lasting = ({ body }: typeof after) =>
      (body['items'] as Record<string, unknown>[]).map(({ issuedUnder: _, ...rest }) => rest)
    expect(lasting(after)).toEqual(lasting(before))
    const moved = await call(served, 'POST', '/v1/pull', {
      bearer: west.bearer,
      body: { proto: meshSyncText, have: [...west.held].map(([s, { epoch, rev }]) => [s, epoch, rev]) },
    })
    expect(moved).toMatchObject({ status: 200, body: { gone: [] } })
    expect((await west.sync({ cluster: facts('net-west') }, { complete: true })).status).toBe(200)
  })
})

describe('settings that cannot work', () => {
  afterEach(() => rmSync(join(dir, 'bad'), { recursive: true, force: true }))
  test.each([
    ['a URL without https', { url: 'http://centre.test' }, 'must be https'],
    ['a URL with a path', { url: 'https://centre.test/x' }, 'must be https'],
    ['every address and no URL', { listen: { host: '0.0.0.0', port: 0 } }, 'give --url'],
    ['a mesh that is no name', { mesh: 'My Mesh' }, 'mesh'],
    [
      'TLS files that are not there',
      { url: 'https://centre.test', tls: { cert: '/nonexistent', key: '/nonexistent' } },
      '/nonexistent',
    ],
  ] as [string, Partial<ServeSettings>, string][])('%s', async (_, more, text) => {
    const attempt = serveCentre(settings({ data: join(dir, 'bad'), ...more }))
    await expect(attempt).rejects.toMatchObject({ kind: 'invalid', message: expect.stringContaining(text) })
  })

  test.each([
    ['a data directory', { data: '/proc/isthmus/centre' }, /^the directory \/proc\/isthmus\/centre cannot .* --data$/],
    [
      'a place for the first key',
      { data: join(dir, 'no-key'), keyFile: '/proc/isthmus/admin.key' },
      /^\/proc\/isthmus cannot be made: .* --key-file$/,
    ],
  ] as [string, Partial<ServeSettings>, RegExp][])('%s that cannot be made', async (_, more, text) => {
    if (more.data?.startsWith(dir)) await giveDatabase(more.data)
    const attempt = serveCentre(settings(more))
    await expect(attempt).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringMatching(text) })
  })
})

describe("with the operator's own certificate", () => {
  test('it is shown, join tokens name the CA it ends in, and relays are given that CA too', async () => {
    for (const name of ['other', 'own']) await giveDatabase(join(dir, name))
    const other = await serveCentre(settings({ data: join(dir, 'other') }))
    const made = await issueServing(other.centre, ['127.0.0.1'])
    const { certificate } = await other.centre.keys.active('control-plane')
    await other.stop()
    const tls = { cert: join(dir, 'own.pem'), key: join(dir, 'own.key') }
    writeFileSync(tls.cert, made.chain)
    writeFileSync(tls.key, made.key, { mode: 0o600 })
    const port = await freePort()
    const listen = { host: '127.0.0.1', port }
    const data = join(dir, 'own')
    const wrongHost = serveCentre(settings({ listen, data, url: 'https://centre.test:7400', tls }))
    await expect(wrongHost).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringContaining('is not for "centre.test"'),
    })
    const served = await serveCentre(settings({ listen, data, url: `https://127.0.0.1:${port}`, tls }))
    const admin = readFileSync(served.keyFile, 'utf8').trim()
    await call(served, 'POST', '/v1/clusters', { bearer: admin, body: { name: 'east' } })
    const token = await call(served, 'POST', '/v1/clusters/east/join-tokens', { bearer: admin })
    const ca = certificatePem(certificate)
    const digest = sha256Hex(certificate.der)
    expect(parseJoinToken(String(token.body['token'])).caSha256).toBe(digest)
    const relay = relayOf(served, 'east')
    const answer = await relay.redeem(await relay.invite())
    expect(String(answer.body['controlPlaneCa']).replace(/\s/g, '')).toContain(ca.replace(/\s/g, ''))
    expect(String(answer.body['controlPlaneCa']).match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
    await served.stop()
  })
})

describe('as a program', () => {
  const data = join(dir, 'program')
  let running: { end(signal: NodeJS.Signals): Promise<number | null> } | undefined
  afterEach(async () => {
    await running?.end('SIGKILL')
  })

  /** Starts `isthmus serve`; comes back with its ready line. */
  async function start(port: number): Promise<{ url: string; log: () => string }> {
    const args = ['functions/server.ts', '--listen', `127.0.0.1:${port}`, '--data', data]
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] },
    })
    const exit = once(child, 'exit').then(([code]) => code as number | null)
    running = {
      end: async (signal) => {
        child.kill(signal)
        return exit
      },
    }
    let log = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (part: Buffer) => {
        log += part.toString()
      })
    await expect.poll(() => log, { timeout: 60_000 }).toMatch(/is ready at/)
    return { url: `https://127.0.0.1:${port}`, log: () => log }
  }

  test('killed outright it loses nothing that it answered, and SIGTERM ends it cleanly', async () => {
    const port = await freePort()
    const first = await start(port)
    const served = {
      url: first.url,
      caFile: join(data, 'control-plane-ca.pem'),
      keyFile: join(data, 'admin.key'),
    } as ServedCentre
    const relay = await relayOf(served, 'east').join()
    await relay.sync({ cluster: facts('net-east'), 'export/shop/a': exported() }, { complete: true })
    await running?.end('SIGKILL')
    const second = await start(port)
    expect(await relay.sync({ 'export/shop/a': exported(), 'export/shop/b': exported() })).toMatchObject({
      status: 200,
      body: { appliedSeq: 2 },
    })
    await expect
      .poll(
        async () => {
          await relay.pull()
          return relay.text()
        },
        { timeout: 20_000 },
      )
      .toContain('export/shop/b')
    expect(await running?.end('SIGTERM')).toBe(0)
    const admin = readFileSync(served.keyFile, 'utf8').trim()
    expect(first.log() + second.log()).not.toContain(admin)
    expect(first.log() + second.log()).not.toContain(relay.bearer)
  })
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
