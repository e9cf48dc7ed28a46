import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { anyPack, anyUnpack } from '@bufbuild/protobuf/wkt'
import { Client, credentials } from '@grpc/grpc-js'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { adminAt } from '#gateway/proxy/envoy-admin.ts'
import { type Listener, ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { RouterSchema } from '#gen/envoy/extensions/filters/http/router/v3/router_pb.js'
import { HttpConnectionManagerSchema } from '#gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { SecretSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js'
import { DiscoveryRequestSchema, DiscoveryResponseSchema } from '#gen/envoy/service/discovery/v3/discovery_pb.js'
import {
  type FakeCluster,
  type FakeRelay,
  type FakeRelayOptions,
  makeFakeCluster,
  startFakeRelay,
} from '#tests/support/fake-relay.ts'
import { envoyPath } from '#tests/support/parts.ts'

/** The whole program with a real Envoy, against a relay of this process. */
const root = fileURLToPath(new URL('../..', import.meta.url))
const uri = 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews'
let cluster: FakeCluster
let envoy: string
beforeAll(async () => {
  cluster = await makeFakeCluster('cluster-a')
  envoy = await envoyPath()
})

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const startRelay = async (more: Partial<FakeRelayOptions> = {}): Promise<FakeRelay> => {
  const relay = await startFakeRelay({ cluster, identityFor: (token) => (token === 'good' ? uri : undefined), ...more })
  cleanups.push(relay.stop)
  return relay
}

type Run = {
  readonly dir: string
  readonly process: ChildProcess
  readonly status: number
  readonly log: () => readonly Record<string, unknown>[]
  readonly ended: Promise<number | NodeJS.Signals>
  readonly envoyPid: () => number
}

async function startProxy(relayPort: number, more: Readonly<Record<string, string>> = {}): Promise<Run> {
  const home = mkdtempSync(join(tmpdir(), 'px-'))
  const dir = more['dir'] ?? join(home, 'run')
  const status = await freePort()
  writeFileSync(join(home, 'ca.pem'), cluster.controlPlane.pem)
  writeFileSync(join(home, 'token'), 'good\n')
  const settings = {
    relay: `127.0.0.1:${relayPort}`,
    relayUri: 'spiffe://cluster-a.mesh1/ns/isthmus-system/sa/relay',
    caFile: join(home, 'ca.pem'),
    tokenFile: join(home, 'token'),
    pod: 'reviews-1',
    namespace: 'shop',
    serviceAccount: 'reviews',
    instanceIps: '127.0.0.1',
    ...{ cluster: 'cluster-a', network: 'net-a', mesh: 'mesh1', labels: { app: 'reviews' } },
    ...{ envoy, dir, status: `127.0.0.1:${status}`, concurrency: '1', drainSecondsMin: '0', drainSecondsMax: '2' },
    ...more,
  }
  writeFileSync(join(home, 'settings.json'), JSON.stringify(settings))
  const child = spawn(
    process.execPath,
    ['gateway/proxy/main.ts', 'sidecar', '--settings', join(home, 'settings.json')],
    {
      cwd: root,
      env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let out = ''
  child.stdout?.on('data', (part) => (out += part))
  const ended = new Promise<number | NodeJS.Signals>((done) =>
    child.on('exit', (code, signal) => done(signal ?? code ?? 0)),
  )
  cleanups.push(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(home, { recursive: true, force: true })
  })
  const log = () =>
    out.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []))
  const envoyPid = () => Number(readFileSync(join(dir, 'envoy.pid'), 'utf8').split(' ')[0])
  return { dir, process: child, status, log, ended, envoyPid }
}

const get = async ({ status }: Run, path: string): Promise<{ code: number; body: string }> => {
  try {
    const answer = await fetch(`http://127.0.0.1:${status}${path}`)
    return { code: answer.status, body: await answer.text() }
  } catch {
    return { code: 0, body: '' }
  }
}

async function until<T>(what: string, look: () => T | Promise<T>, ms = 12_000): Promise<NonNullable<T>> {
  for (const end = Date.now() + ms; ; ) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`)
    await new Promise((done) => setTimeout(done, 50))
  }
}

const ready = (run: Run, ms?: number) => until('ready', async () => (await get(run, '/healthz/ready')).code === 200, ms)
const certs = async (run: Run): Promise<string> =>
  (await adminAt({ socket: join(run.dir, 'admin.sock') }).text('GET', '/certs')).toLowerCase()
const lives = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
const said = (run: Run, text: string) => run.log().find((line) => String(line['msg']).includes(text))

test('gets ready, shows the relay its own identity, and closes its directory to others', async () => {
  const relay = await startRelay()
  const run = await startProxy(relay.port)
  expect((await until('an answer', async () => (await get(run, '/healthz/ready')).body)).trim()).not.toBe('ready')
  await ready(run)
  expect(relay.asked.map(({ uri: shown }) => shown)).toContain(`URI:${uri}`)
  expect(relay.asked[0]?.request.node?.id).toBe('sidecar~127.0.0.1~reviews-1.shop~shop.svc.cluster.local')
  expect(statSync(run.dir).mode & 0o777).toBe(0o700)
  for (const name of ['sds.sock', 'admin.sock', 'bootstrap.json'])
    expect(statSync(join(run.dir, name)).mode & 0o077).toBe(0)
  expect((await get(run, '/metrics')).body).toMatch(/^isthmus_proxy_envoy_starts_total 1$/m)
  expect((await get(run, '/stats/prometheus')).body).toMatch(/envoy_cluster_upstream_cx_total\{[^}]*xds-grpc/)
})

test('the key is in no file, no argument, no environment and no log', async () => {
  const relay = await startRelay()
  const run = await startProxy(relay.port, { logLevel: 'trace', envoyLogLevel: 'debug' })
  await ready(run)
  const key = await keyServedBy(join(run.dir, 'sds.sock'))
  const [line = ''] = key.split('\n').slice(1)
  expect(line.length).toBeGreaterThan(40)
  const files = readdirSync(run.dir).filter((name) => statSync(join(run.dir, name)).isFile())
  expect(files).toContain('bootstrap.json')
  const texts = files.map((name) => readFileSync(join(run.dir, name), 'latin1'))
  for (const pid of [run.envoyPid(), run.process.pid])
    texts.push(...['cmdline', 'environ'].map((name) => readFileSync(`/proc/${pid}/${name}`, 'latin1')))
  texts.push(JSON.stringify(run.log()))
  for (const text of texts) expect(text.includes(line) || text.includes('PRIVATE KEY')).toBe(false)
})

test('Envoy may not dump core, and its environment is empty but for the path', async () => {
  const relay = await startRelay()
  const run = await startProxy(relay.port)
  await ready(run)
  expect(readFileSync(`/proc/${run.envoyPid()}/limits`, 'utf8')).toMatch(/Max core file size\s+0\s/)
  const variables = readFileSync(`/proc/${run.envoyPid()}/environ`, 'utf8').split('\0').filter(Boolean)
  expect(variables.filter((one) => !/^(PATH|PWD|OLDPWD|_|SHLVL)=/.test(one))).toEqual([])
})

test('a renewed certificate reaches Envoy, which is not restarted', async () => {
  const relay = await startRelay({ lifeSeconds: 8 })
  const run = await startProxy(relay.port)
  await ready(run)
  const serials = () =>
    run
      .log()
      .filter((line) => line['msg'] === 'certificate in use')
      .map((line) => String(line['serial']))
  const [first = ''] = serials()
  expect(await certs(run)).toContain(first)
  const second = await until('a second certificate', () => serials()[1])
  await until('Envoy has it', async () => (await certs(run)).includes(second))
  expect(await certs(run)).not.toContain(first)
  expect((await get(run, '/metrics')).body).toMatch(/^isthmus_proxy_envoy_starts_total 1$/m)
})

test('this program killed: no Envoy is left', async () => {
  const relay = await startRelay()
  const run = await startProxy(relay.port)
  await ready(run)
  const pid = run.envoyPid()
  expect(lives(pid)).toBe(true)
  run.process.kill('SIGKILL')
  await until('Envoy is gone', () => !lives(pid), 2_000)
})

test('Envoy killed: a new one is started and gets ready', async () => {
  const relay = await startRelay()
  const run = await startProxy(relay.port)
  await ready(run)
  const pid = run.envoyPid()
  process.kill(pid, 'SIGKILL')
  await until(
    'not ready',
    async () => (await get(run, '/healthz/ready')).code !== 200 || said(run, 'it is started again'),
  )
  await until(
    'another Envoy',
    () => said(run, 'it is started again') && existsSync(join(run.dir, 'envoy.pid')) && run.envoyPid() !== pid,
  )
  await ready(run)
  expect(said(run, 'Envoy was ended by SIGKILL')).toBeDefined()
})

describe('the relay', () => {
  test('away at the start: it is waited for, and the proxy comes up by itself', async () => {
    const port = await freePort()
    const run = await startProxy(port)
    await until('a named failure', () => said(run, `the relay 127.0.0.1:${port} cannot be reached`))
    expect(await get(run, '/healthz/ready')).toEqual({ code: 503, body: 'no certificate yet\n' })
    await startRelay({ port })
    await ready(run)
  })

  test('lost later: Envoy goes on serving; back again: Envoy says what it holds', async () => {
    const port = await freePort()
    const relay = await startRelay({ listeners: [helloAt(port)] })
    const run = await startProxy(relay.port)
    await ready(run)
    const hello = async () => (await fetch(`http://127.0.0.1:${port}/`)).text()
    expect(await hello()).toBe('hello')
    await relay.stop()
    await until('Envoy noticed', () => said(run, 'gRPC config stream to xds-grpc closed'))
    expect(await hello()).toBe('hello')
    expect((await get(run, '/healthz/ready')).code).toBe(200)
    const back = await startRelay({ port: relay.port })
    const again = await until('a redial', () => back.asked.find(({ request }) => request.typeUrl.endsWith('.Listener')))
    expect(again.request.initialResourceVersions).toEqual({ hello: '1' })
    expect(await hello()).toBe('hello')
  })

  test('under another control-plane CA: Envoy believes it once the file names that CA, and not before', async () => {
    const other = await makeFakeCluster('cluster-a')
    const next = { ...cluster, controlPlane: other.controlPlane, serving: other.serving }
    const relay = await startRelay()
    const run = await startProxy(relay.port)
    await ready(run)
    await relay.stop()
    const moved = await startRelay({ port: relay.port, cluster: next })
    await until('Envoy noticed', () => said(run, 'gRPC config stream to xds-grpc closed'))
    expect(moved.asked).toEqual([])
    writeFileSync(join(run.dir, '../ca.pem'), cluster.controlPlane.pem + next.controlPlane.pem)
    await until('the file was read', () => said(run, 'other control-plane CAs'))
    await until('Envoy is back on its line', () => moved.asked.length > 0)
    expect((await get(run, '/metrics')).body).toMatch(/^isthmus_proxy_envoy_starts_total 1$/m)
  })

  test('of another cluster: named, and Envoy is never started', async () => {
    const relay = await startRelay()
    const run = await startProxy(relay.port, { relayUri: 'spiffe://cluster-b.mesh1/ns/isthmus-system/sa/relay' })
    const line = await until('a refusal', () => said(run, 'shows a certificate for spiffe://cluster-a.mesh1/'))
    expect(line['msg']).toContain('expected is spiffe://cluster-b.mesh1/ns/isthmus-system/sa/relay')
    expect(relay.tokens).toEqual([])
    expect(existsSync(join(run.dir, 'bootstrap.json'))).toBe(false)
  })

  test('refuses the token: a new one in the file is enough', async () => {
    const relay = await startRelay({ identityFor: (token) => (token === 'renewed' ? uri : undefined) })
    const run = await startProxy(relay.port)
    await until('a refusal', () => said(run, 'refuses the token'))
    writeFileSync(join(run.dir, '../token'), 'renewed')
    await ready(run)
    expect(JSON.stringify(run.log())).not.toContain('renewed"')
  })

  test('gives the certificate of another service account: refused', async () => {
    const relay = await startRelay({ identityFor: () => 'spiffe://cluster-a.mesh1/ns/shop/sa/ratings' })
    const run = await startProxy(relay.port)
    await until('a refusal', () =>
      said(run, `it is for spiffe://cluster-a.mesh1/ns/shop/sa/ratings, expected is ${uri}`),
    )
    expect((await get(run, '/healthz/ready')).code).toBe(503)
  })
})

describe('the end', () => {
  test('SIGTERM with nothing open: at once, in order, without an Envoy', async () => {
    const relay = await startRelay()
    const run = await startProxy(relay.port)
    await ready(run)
    const pid = run.envoyPid()
    run.process.kill('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(lives(pid)).toBe(false)
    expect(said(run, 'drained')).toBeDefined()
    expect(existsSync(join(run.dir, 'sds.sock'))).toBe(false)
  })

  test('an open connection is waited for, not longer than the grace; new requests are answered meanwhile', async () => {
    const port = await freePort()
    const relay = await startRelay({ listeners: [helloAt(port)] })
    const run = await startProxy(relay.port, { drainSecondsMax: '8' })
    await ready(run)
    const open = connect(port, '127.0.0.1').on('error', () => undefined)
    await new Promise((done) => open.on('connect', done))
    cleanups.push(() => open.destroy())
    run.process.kill('SIGTERM')
    await until('not ready', async () => (await get(run, '/healthz/ready')).code === 503)
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
    expect(await answer.text()).toBe('hello')
    expect(await run.ended).toBe(0)
    expect(said(run, 'drain time is over')).toMatchObject({ open: 1 })
  })

  test('a second signal ends the drain', async () => {
    const port = await freePort()
    const relay = await startRelay({ listeners: [helloAt(port)] })
    const run = await startProxy(relay.port, { drainSecondsMin: '60', drainSecondsMax: '60' })
    await ready(run)
    run.process.kill('SIGINT')
    await until('draining', () => said(run, 'draining'))
    run.process.kill('SIGINT')
    expect(await run.ended).toBe(0)
  })

  test('POST /quitquitquit from this machine', async () => {
    const relay = await startRelay()
    const run = await startProxy(relay.port)
    await ready(run)
    expect((await get(run, '/quitquitquit')).code).toBe(404)
    expect((await fetch(`http://127.0.0.1:${run.status}/quitquitquit`, { method: 'POST' })).status).toBe(200)
    expect(await run.ended).toBe(0)
  })

  test('before there is a certificate', async () => {
    const run = await startProxy(await freePort())
    await until('it is up', async () => (await get(run, '/healthz/ready')).code === 503)
    run.process.kill('SIGTERM')
    expect(await run.ended).toBe(0)
  })
})

describe('what cannot work is named, and nothing is started', () => {
  test('a directory in which another proxy lives; that one is not disturbed', async () => {
    const relay = await startRelay()
    const first = await startProxy(relay.port)
    await ready(first)
    const second = await startProxy(relay.port, { dir: first.dir })
    expect(await second.ended).toBe(1)
    expect(said(second, `another isthmus proxy runs in the working directory (${first.dir}); stop it`)).toBeDefined()
    expect((await get(first, '/healthz/ready')).code).toBe(200)
  })

  test('a status port that is taken', async () => {
    const taken = createServer()
    await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done))
    cleanups.push(() => taken.close())
    const { port } = taken.address() as AddressInfo
    const run = await startProxy(1, { status: `127.0.0.1:${port}` })
    expect(await run.ended).toBe(1)
    expect(said(run, `another program has it (127.0.0.1:${port}); stop that program, or give another`)).toBeDefined()
  })

  test('an Envoy that is not there', async () => {
    const run = await startProxy(1, { envoy: '/none/envoy' })
    expect(await run.ended).toBe(1)
    expect(said(run, 'Envoy cannot be run: it is not there (/none/envoy); name an Envoy')).toBeDefined()
  })

  test('at a terminal it is told as every command tells it, and the exit code says who is to blame', () => {
    // Python's standard library has what a test needs to be a terminal.
    const script = 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))'
    const told = (...args: string[]) => {
      const command = ['-c', script, process.execPath, join(root, 'gateway/proxy/main.ts'), ...args]
      const { stdout, status } = spawnSync('python3', command, { encoding: 'utf8', timeout: 20_000 })
      return `${stdout.replaceAll('\r\n', '\n')}(${status})`
    }
    expect(told('sidecar', '--frob')).toBe(
      'isthmus: proxy sidecar failed: there is no flag --frob\n' +
        '  on          isthmus proxy sidecar\n' +
        '  to mend it  npx --no -- isthmus proxy --help\n(2)',
    )
    expect(told('router', '--settings', '/none.json')).toBe(
      'isthmus: proxy router failed: the settings cannot be read: it is not there\n' +
        '  on          /none.json\n' +
        '  to mend it  mend that file, or name another with --settings\n(1)',
    )
  })

  test('a working directory that is a file', async () => {
    const home = mkdtempSync(join(tmpdir(), 'px-'))
    cleanups.push(() => rmSync(home, { recursive: true }))
    mkdirSync(join(home, 'x'))
    writeFileSync(join(home, 'x/file'), '')
    const run = await startProxy(1, { dir: join(home, 'x/file') })
    expect(await run.ended).toBe(1)
    expect(said(run, 'a part of its path is a file')).toBeDefined()
  })
})

/** A listener that answers "hello" by itself. */
function helloAt(port: number): Listener {
  const route = {
    match: { pathSpecifier: { case: 'prefix', value: '/' } },
    action: {
      case: 'directResponse',
      value: { status: 200, body: { specifier: { case: 'inlineString', value: 'hello' } } },
    },
  } as const
  const manager = create(HttpConnectionManagerSchema, {
    statPrefix: 'hello',
    routeSpecifier: { case: 'routeConfig', value: { virtualHosts: [{ name: 'v', domains: ['*'], routes: [route] }] } },
    httpFilters: [
      { name: 'router', configType: { case: 'typedConfig', value: anyPack(RouterSchema, create(RouterSchema)) } },
    ],
  })
  const address = {
    case: 'socketAddress',
    value: { address: '127.0.0.1', portSpecifier: { case: 'portValue', value: port } },
  } as const
  return create(ListenerSchema, {
    name: 'hello',
    address: { address },
    filterChains: [
      {
        filters: [
          { name: 'http', configType: { case: 'typedConfig', value: anyPack(HttpConnectionManagerSchema, manager) } },
        ],
      },
    ],
  })
}

async function keyServedBy(socket: string): Promise<string> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure())
  const stream = client.makeBidiStreamRequest(
    '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
    (names: string[]) =>
      Buffer.from(toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, { resourceNames: names }))),
    (bytes) => fromBinary(DiscoveryResponseSchema, bytes),
  )
  stream.on('error', () => undefined)
  stream.write(['default'])
  const answer = await new Promise<ReturnType<typeof create<typeof DiscoveryResponseSchema>>>((done) =>
    stream.on('data', done),
  )
  stream.end()
  client.close()
  const secret = answer.resources[0] && anyUnpack(answer.resources[0], SecretSchema)
  const key = secret?.type.case === 'tlsCertificate' ? secret.type.value.privateKey?.specifier : undefined
  return key?.case === 'inlineBytes' ? Buffer.from(key.value).toString() : ''
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done))
  const { port } = probe.address() as AddressInfo
  await new Promise((done) => probe.close(done))
  return port
}
