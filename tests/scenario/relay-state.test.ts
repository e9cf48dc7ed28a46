import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { loadRelaySettings } from '#gateway/settings.ts'
import { startRelay } from '#gateway/start-relay.ts'
import { loadMembership, saveMembership } from '#gateway/uplink/membership.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { openProxy } from '#tests/support/ads-client.ts'
import { joinMember, reportOn, startTestCentre, type TestCentre, type TestMember } from '#tests/support/channel.ts'
import { writeService } from '#tests/support/fault-manifests.ts'
import { freePort } from '#tests/support/flaky-line.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'
import { makeTokenIssuer, tokenIssuer } from '#tests/support/workload-tokens.ts'

const address = `127.98.${process.pid % 250}.1`
const kube = makeTokenIssuer('k1')

let centre: TestCentre
let east: TestMember
let home = ''
let dir = ''
let logged: string[] = []
let statusPort = 0
const stops: (() => Promise<void>)[] = []

/** A cluster that joined, knows `reviews` of east, and has its certificates: each test works on a copy. */
beforeAll(async () => {
  centre = await startTestCentre()
  east = await joinMember(centre, 'east')
  east.uplink().start()
  east.uplink().report(reportOn('east', { reviews: 2 }))
  home = join(centre.dir, 'west-home')
  await makeHome(home)
  const relay = await start(home, await centre.token('west'))
  await eventually(20_000, 'west knows reviews', async () => JSON.stringify(await status()).includes('"ep/east/all":'))
  await eventually(20_000, 'west serves', async () => (await status()).state === 'serving')
  await eventually(5000, 'west has its config', async () => (await status()).config.revision !== undefined)
  await relay.stop()
  stops.length = 0
  centre.line.fault({ refuse: true })
  centre.line.cut()
}, 60_000)
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})
afterAll(async () => {
  east?.end()
  await centre?.end()
})

async function makeHome(at: string): Promise<void> {
  mkdirSync(join(at, 'manifests'), { recursive: true })
  const [port, status] = [await freePort(), await freePort()]
  statusPort = status
  const relay = { address, port, statusAddress: '127.0.0.1', statusPort }
  const settings = { cluster: 'west', region: 'eu-1', network: 'net-west', relay, tokens: { issuer: tokenIssuer } }
  writeFileSync(join(at, 'isthmus.yaml'), stringify(settings))
  writeFileSync(join(at, 'jwks.json'), JSON.stringify({ keys: [kube.jwk] }))
  writeService(join(at, 'manifests'), 'reviews', { pods: 1, ready: 1 })
}

let copies = 0
/** A fresh copy of the home, with its own ports. */
function copy(): string {
  dir = join(centre.dir, `west-${++copies}`)
  cpSync(home, dir, { recursive: true })
  return dir
}

async function start(at: string, token?: string) {
  logged = []
  const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) })
  const settings = loadRelaySettings(join(at, 'isthmus.yaml'))
  const relay = await startRelay({ dir: at, settings, log, ...(token === undefined ? {} : { token }) })
  stops.push(() => relay.stop())
  return relay
}

type Status = {
  readonly state: string
  readonly config: { readonly revision?: number }
  readonly centre?: { readonly state: string; readonly faults: readonly { readonly reason: string }[] }
}
async function status(): Promise<Status> {
  const asked = get({ host: '127.0.0.1', port: statusPort, path: '/status', agent: false })
  const [answer] = (await once(asked, 'response')) as [AsyncIterable<Buffer>]
  let text = ''
  for await (const part of answer) text += part.toString()
  return JSON.parse(text) as Status
}

/** Everything that a proxy of pod reviews-0 is served, by name. */
async function served(at: string): Promise<readonly string[]> {
  const { relay } = loadRelaySettings(join(at, 'isthmus.yaml'))
  const proxy = openProxy({
    ...{ host: address, port: relay.port, mode: 'delta', relayRoots: centre.ca() },
    headers: { authorization: `Bearer ${kube.token()}` },
    node: {
      ...{ id: 'sidecar~10.0.0.1~reviews-0.shop~shop.svc.cluster.local', cluster: 'reviews.shop' },
      metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: 'reviews', CLUSTER_ID: 'west' },
    },
  })
  const late = setTimeout(() => proxy.close(), 5000)
  await Promise.race([proxy.ready, proxy.ended])
  clearTimeout(late)
  const names = Object.values(typeUrls).flatMap((type) => proxy.names(type))
  proxy.close()
  return names
}
const stateFile = (name: string) => join(dir, 'state', name)
const flip = (name: string, at = 0.6) => {
  const bytes = readFileSync(stateFile(name))
  const place = Math.floor(bytes.length * at)
  bytes[place] = (bytes[place] ?? 0) ^ 1
  writeFileSync(stateFile(name), bytes)
}
const cut = (name: string) => {
  const bytes = readFileSync(stateFile(name))
  writeFileSync(stateFile(name), bytes.subarray(0, bytes.length / 2))
}
const remoteCluster = 'outbound|9080||reviews.shop.svc.cluster.local'

describe('a relay that starts while there is no centre', () => {
  test('opens its port and serves all it knew before it calls anyone', async () => {
    copy()
    const { port } = loadRelaySettings(join(dir, 'isthmus.yaml')).relay
    const openAtCall: Promise<boolean>[] = []
    const listener = createServer((socket) => {
      openAtCall.push(isOpen(port))
      socket.on('error', () => undefined).resetAndDestroy()
    })
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const membership = loadMembership(join(dir, 'state'))
    if (!membership) throw new Error('west has not joined')
    const { port: called } = listener.address() as AddressInfo
    saveMembership(join(dir, 'state'), { ...membership, url: `https://127.0.0.1:${called}` })
    await start(dir)
    expect(await served(dir)).toContain(remoteCluster)
    expect(await status()).toMatchObject({ state: 'serving', config: { revision: expect.any(Number) } })
    await eventually(5000, 'the centre was called', () => openAtCall.length > 0)
    listener.close()
    expect(await Promise.all(openAtCall)).not.toContain(false)
    await eventually(5000, 'it says that the centre is away', async () => (await status()).centre?.state === 'away')
    expect(logged.filter((line) => line.includes('centre is away'))).toHaveLength(1)
  })

  test('follows its own cluster: an endpoint that goes reaches its proxies', async () => {
    copy()
    await start(dir)
    const names = await served(dir)
    writeService(join(dir, 'manifests'), 'fresh', { pods: 1, ready: 1 })
    await eventually(5000, 'the new service is served', async () =>
      (await served(dir)).some((n) => n.includes('|fresh.shop.')),
    )
    expect(names.some((n) => n.includes('|fresh.shop.'))).toBe(false)
  })
})

describe('a state directory', () => {
  test('in use: the second relay is refused with the pid of the first, which does not notice', async () => {
    copy()
    await start(dir)
    await expect(start(dir)).rejects.toThrow(
      `the state directory ${join(dir, 'state')} is in use by another relay, process ${process.pid}: end that one`,
    )
    const second = spawnSync(process.execPath, ['gateway/main.ts', '--dir', dir], { cwd: root, encoding: 'utf8' })
    expect(second.status).toBe(1)
    expect(second.stderr).toContain(`is in use by another relay, process ${process.pid}`)
    expect(await served(dir)).toContain(remoteCluster)
  })

  test('whose relay was killed: the next one takes it over', async () => {
    copy()
    const first = spawn(process.execPath, ['gateway/main.ts', '--dir', dir], { cwd: root, stdio: 'ignore' })
    await eventually(20_000, 'the first one serves', async () => (await status()).state === 'serving')
    first.kill('SIGKILL')
    await once(first, 'exit')
    expect(existsSync(stateFile('relay.lock'))).toBe(true)
    await start(dir)
    expect(await served(dir)).toContain(remoteCluster)
  })

  test.each([
    ['received.json.log cut off', 0, () => cut('received.json.log')],
    ['received.json.log flipped', 1, () => flip('received.json.log')],
    ['received.json no state at all', 1, () => writeFileSync(stateFile('received.json'), 'x')],
  ])('%s: the relay starts, serves what is whole, and says what is not', async (_, faults, damage) => {
    copy()
    damage()
    await start(dir)
    expect((await served(dir)).length).toBeGreaterThan(0)
    const { state, centre } = await status()
    expect([state, centre?.faults.length]).toEqual(['serving', faults])
  })

  test.each([
    ['cut off', () => cut('membership.json')],
    ['flipped', () => flip('membership.json')],
    ['empty', () => writeFileSync(stateFile('membership.json'), '')],
  ])('membership.json %s: the copy beside it takes its place', async (_, damage) => {
    copy()
    damage()
    await start(dir)
    expect(logged.join()).toContain('membership.json.1 takes its place')
    expect(await served(dir)).toContain(remoteCluster)
  })

  test('membership.json and its copy damaged: it ends with what to do', async () => {
    copy()
    flip('membership.json')
    flip('membership.json.1', 0.3)
    await expect(start(dir)).rejects.toThrow(
      /membership.json is damaged, and so is the copy beside it: put it back from a backup, or remove/,
    )
  })

  test.each([
    ['cut off', 'is damaged', () => cut('relay-key.pem')],
    ['flipped', 'is damaged', () => flip('relay-key.pem')],
    ['missing', 'is missing', () => rmSync(stateFile('relay-key.pem'))],
  ])('relay-key.pem %s: it ends, %s, and what to do', async (_, words, damage) => {
    copy()
    damage()
    await expect(start(dir)).rejects.toThrow(words)
    await expect(start(dir)).rejects.toThrow(
      /or remove relay-key.pem and membership.json from .* join again with a new token/,
    )
  })

  test.each(['issuing.key', 'serving.key'])(
    '%s damaged: set aside, and made anew as soon as the centre is there',
    async (name) => {
      copy()
      flip(name)
      centre.line.fault({})
      try {
        await start(dir)
        expect(logged.join()).toContain(`It was set aside as ${stateFile(name)}.damaged, and a new one is made.`)
        await eventually(10_000, 'it serves', async () => (await status()).state === 'serving')
        expect(await served(dir)).toContain(remoteCluster)
      } finally {
        centre.line.fault({ refuse: true })
        centre.line.cut()
      }
    },
  )

  test('a key that others may read is for a person to judge: it ends, and nothing is replaced', async () => {
    copy()
    chmodSync(stateFile('issuing.key'), 0o644)
    await expect(start(dir)).rejects.toThrow(/its mode is 644: others may have read it/)
    expect(existsSync(`${stateFile('issuing.key')}.damaged`)).toBe(false)
  })

  test('that cannot be made: named, with the setting', async () => {
    copy()
    rmSync(join(dir, 'state'), { recursive: true })
    writeFileSync(join(dir, 'state'), 'a file')
    await expect(start(dir)).rejects.toThrow(
      /the state directory .* cannot be made: EEXIST.*; make it, or set "state" in isthmus.yaml/,
    )
  })
})

describe('the settings of a relay', () => {
  const settings = (change: (text: string) => string) => {
    copy()
    const path = join(dir, 'isthmus.yaml')
    writeFileSync(path, change(readFileSync(path, 'utf8')))
    return start(dir)
  }

  test('missing, and not YAML: the file is named', async () => {
    copy()
    rmSync(join(dir, 'isthmus.yaml'))
    await expect(start(dir)).rejects.toThrow(/there are no relay settings at .*isthmus.yaml: write cluster, region/)
    writeFileSync(join(dir, 'isthmus.yaml'), 'cluster: [')
    await expect(start(dir)).rejects.toThrow(/isthmus.yaml is not YAML/)
  })

  test('every violation at once, each with its path', async () => {
    const wrong = settings((text) =>
      text.replace('region: eu-1', 'regiom: eu-1').replace(/statusPort: \d+/, 'statusPort: 99999'),
    )
    await expect(wrong).rejects.toThrow(/region: .*relay.statusPort: .*regiom/s)
  })

  test('another cluster than the one that joined here', async () => {
    await expect(settings((text) => text.replace('cluster: west', 'cluster: south'))).rejects.toThrow(
      'this directory joined as cluster "west", but its settings name "south": put the name back, or start from an empty',
    )
  })

  test('not joined and no token: how to make one', async () => {
    copy()
    rmSync(join(dir, 'state'), { recursive: true })
    await expect(start(dir)).rejects.toThrow(
      /has not joined yet and no join token was given: make one with "isthmus token create west"/,
    )
  })
})

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
