import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { append } from '#control/store/stream-writes.ts'
import { loadMembership, saveMembership } from '#gateway/uplink/membership.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import { drainItem } from '#mesh/wire/advice.ts'
import { adviceStream } from '#mesh/wire/stream.ts'
import { writeService } from '#tests/support/fault-manifests.ts'
import { root } from '#tests/support/parts.ts'
import { type JoinedHome, openJoinedHome, type RelayHome, remoteCluster } from '#tests/support/relay-home.ts'
import { eventually } from '#tests/support/until.ts'

const address = `127.98.${process.pid % 250}.1`

let joined: JoinedHome
/** A copy of a directory whose relay has joined, for each test. */
let home: RelayHome
beforeAll(async () => {
  joined = await openJoinedHome(address)
}, 60_000)
beforeEach(async () => {
  home = await joined.copy()
})
afterEach(() => joined.endRelays())
afterAll(() => joined?.end())

describe('a relay that starts while there is no centre', () => {
  test('opens its port and serves all it knew before it calls anyone', async () => {
    const openAtCall: Promise<boolean>[] = []
    const listener = createServer((socket) => {
      openAtCall.push(isOpen(home.port))
      socket.on('error', () => undefined).resetAndDestroy()
    })
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const membership = loadMembership(home.file(''))
    if (!membership) throw new Error('west has not joined')
    const { port: called } = listener.address() as AddressInfo
    saveMembership(home.file(''), { ...membership, url: `https://127.0.0.1:${called}` })
    await home.start()
    expect(await home.served()).toContain(remoteCluster)
    expect(await home.status()).toMatchObject({ state: 'serving', config: { revision: expect.any(Number) } })
    await eventually(5000, 'the centre was called', () => openAtCall.length > 0)
    listener.close()
    expect(await Promise.all(openAtCall)).not.toContain(false)
    await eventually(
      5000,
      'it says that the centre is away',
      async () => (await home.status()).centre?.state === 'away',
    )
    expect(home.logged.filter((line) => line.includes('centre is away'))).toHaveLength(1)
  })

  test('in the middle of a drain goes on with the share that it heard last', async () => {
    const { db, mesh } = joined.centre.served().centre
    const item = drainItem({
      id: 'd1',
      kind: 'cluster',
      cluster: parseClusterName('east'),
      percent: 50,
      phase: 'ramping',
    })
    const write = (body: Json | undefined) =>
      db.transact((tx) => append(tx, { mesh, stream: adviceStream(mesh) }, [{ key: 'drain/d1', body }], Date.now()))
    const rev = (await write(item))?.to
    await joined.withCentre(async () => {
      await home.start()
      await eventually(20_000, 'west heard of the drain', async () =>
        JSON.stringify(await home.status()).includes(`"adv/${mesh}":${rev}`),
      )
    })
    await home.stop()
    await write(undefined)
    await home.start()
    expect(await home.served()).toContain(remoteCluster)
  })

  test('follows its own cluster: an endpoint that goes reaches its proxies', async () => {
    await home.start()
    const names = await home.served()
    writeService(join(home.dir, 'manifests'), 'fresh', { pods: 1, ready: 1 })
    await eventually(5000, 'the new service is served', async () =>
      (await home.served()).some((n) => n.includes('|fresh.shop.')),
    )
    expect(names.some((n) => n.includes('|fresh.shop.'))).toBe(false)
  })
})

describe('a state directory', () => {
  test('in use: the second relay is refused with the pid of the first, which does not notice', async () => {
    await home.start()
    await expect(home.start()).rejects.toThrow(
      `the state directory ${join(home.dir, 'state')} is in use by another relay, process ${process.pid}: end that one`,
    )
    const second = spawnSync(process.execPath, ['gateway/main.ts', '--dir', home.dir], { cwd: root, encoding: 'utf8' })
    expect(second.status).toBe(1)
    expect(second.stderr).toContain(`is in use by another relay, process ${process.pid}`)
    expect(await home.served()).toContain(remoteCluster)
  })

  test('that was copied and started twice: the relay that is replaced names the other', async () => {
    const copy = await joined.copy('own-ports')
    await joined.withCentre(async () => {
      const line = async (one: RelayHome) => (await one.status()).centre
      await home.start()
      await eventually(10_000, 'the first one has told', async () => (await line(home))?.toTell === 0)
      await copy.start()
      await eventually(10_000, 'the second one has told', async () => (await line(copy))?.toTell === 0)
      writeService(join(home.dir, 'manifests'), 'fresh', { pods: 1, ready: 1, exportedTo: [] })
      const rivals = async () => (await home.status()).conditions.filter(({ type }) => type === 'TwoRelays')
      await eventually(10_000, 'the first one names the second', async () => (await rivals()).length > 0)
      expect((await rivals())[0]?.message).toMatch(/^two relays report as west, this one and instance [0-9a-f]{8}, /)
    })
  })

  test('whose relay was killed: the next one takes it over', async () => {
    const first = spawn(process.execPath, ['gateway/main.ts', '--dir', home.dir], { cwd: root, stdio: 'ignore' })
    await eventually(20_000, 'the first one serves', async () => (await home.status()).state === 'serving')
    first.kill('SIGKILL')
    await once(first, 'exit')
    expect(existsSync(home.file('relay.lock'))).toBe(true)
    await home.start()
    expect(await home.served()).toContain(remoteCluster)
  })

  test('with a key that others may read is for a person to judge: it ends, and nothing is replaced', async () => {
    chmodSync(home.file('issuing.key'), 0o644)
    await expect(home.start()).rejects.toThrow(/its mode is 644: others may have read it/)
    expect(existsSync(home.file('issuing.key.damaged'))).toBe(false)
  })

  test('that cannot be made: named, with the setting', async () => {
    rmSync(join(home.dir, 'state'), { recursive: true })
    writeFileSync(join(home.dir, 'state'), 'a file')
    await expect(home.start()).rejects.toThrow(
      /the state directory .* cannot be made: a part of its path is a file; make it, or set "state" in isthmus.yaml/,
    )
  })
})

describe('the settings of a relay', () => {
  const settings = (change: (text: string) => string) => {
    const path = join(home.dir, 'isthmus.yaml')
    writeFileSync(path, change(readFileSync(path, 'utf8')))
    return home.start()
  }

  test('missing, and not YAML: the file is named', async () => {
    rmSync(join(home.dir, 'isthmus.yaml'))
    await expect(home.start()).rejects.toThrow(/there are no relay settings at .*isthmus.yaml: write cluster, region/)
    writeFileSync(join(home.dir, 'isthmus.yaml'), 'cluster: [')
    await expect(home.start()).rejects.toThrow(/isthmus.yaml is not YAML/)
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
    rmSync(join(home.dir, 'state'), { recursive: true })
    await expect(home.start()).rejects.toThrow(
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
