import { randomBytes } from 'node:crypto'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { formatEpoch } from '#mesh/wire/sync.ts'
import {
  importsOf,
  joinMember,
  readyOf,
  reportOn,
  speakAs,
  startTestCentre,
  type TestCentre,
  type TestMember,
} from '#tests/support/channel.ts'
import { eventually } from '#tests/support/until.ts'

/** `npm run test:faults` */
const long = process.env['ISTHMUS_FAULTS'] !== undefined
let centre: TestCentre
let east: TestMember
let west: TestMember
let count = 0

beforeAll(async () => {
  centre = await startTestCentre()
  east = await joinMember(centre, 'east')
  west = await joinMember(centre, 'west')
  east.uplink().start()
  west.uplink().start()
  east.uplink().report(reportOn('east', { reviews: 1 }))
  west.uplink().report(reportOn('west', {}))
  await westSees({ reviews: 1 }, 30_000)
})
afterEach(() => centre.line.fault({}))
afterAll(async () => {
  east?.end()
  west?.end()
  await centre?.end()
})

/** The bar of the design: five seconds after the last fault is healed. */
const healMs = 5000
const westSees = (wanted: Readonly<Record<string, number>>, ms = healMs): Promise<unknown> =>
  eventually(ms, `west sees ${JSON.stringify(wanted)} of east`, () => {
    const seen = JSON.stringify(sorted(readyOf(west.uplink().received(), 'east')))
    if (seen !== JSON.stringify(sorted(wanted)))
      throw new Error(`it sees ${seen}; ${JSON.stringify(west.uplink().status())}`)
    return true
  })
const sorted = (counts: Readonly<Record<string, number>>) => Object.entries(counts).toSorted()
/** Reports a state that was not there before, and gives it. */
const change = (): Record<string, number> => {
  const services = { reviews: ++count + 10, ...(count % 2 ? { ratings: count } : {}) }
  east.uplink().report(reportOn('east', services))
  return services
}
const state = (member: TestMember) => member.uplink().status().state

describe('the channel', () => {
  test('config follows the export, and a summary reaches others by its hint', async () => {
    await eventually(healMs, 'west may call it', () => importsOf(west.uplink().received(), 'west').includes('reviews'))
    await eventually(healMs, 'hints come', () => west.uplink().status().hints && east.uplink().status().hints)
    // The heads check alone takes up to 3.3 s each time; on a busy machine one hint may be late, not three.
    const took: number[] = []
    for (let n = 0; n < 3; n++) {
      const started = performance.now()
      await westSees(change())
      took.push(performance.now() - started)
    }
    expect(Math.min(...took)).toBeLessThan(2000)
  })

  test('a round with nothing new is one small answer', async () => {
    await eventually(healMs, 'west may call both', () => importsOf(west.uplink().received(), 'west').length === 2)
    // Both were there once before: what came between is still being compiled on a busy machine.
    await eventually(20_000, 'nothing is under way', async () => {
      const last = west.told.length
      await new Promise((resolve) => setTimeout(resolve, 1000))
      return west.told.length === last
    })
    const before = centre.line.counts()
    const told = west.told.length
    await new Promise((resolve) => setTimeout(resolve, 3500))
    const { up, down, connections } = centre.line.counts()
    expect(connections - before.connections).toBe(0)
    expect((down - before.down) / 2).toBeLessThan(4000)
    expect((up - before.up) / 2).toBeLessThan(4000)
    expect(west.told.length).toBe(told)
  })

  test('cut at any byte, up or down: after it heals everything is there, and no stream had to be read twice', async () => {
    let wanted = {}
    for (let n = 0; n < 16; n++) {
      const at = Math.floor(Math.random() * 7000)
      centre.line.fault(n % 2 ? { cutUpAt: at } : { cutDownAt: at })
      centre.line.cut()
      wanted = change()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    centre.line.fault({})
    await westSees(wanted)
    expect(west.uplink().status().mismatches).toBe(0)
  })

  test('the answer to a report is lost: it is taken once, and nothing after it is missing', async () => {
    await eventually(healMs, 'connected', () => state(east) === 'connected')
    const before = centre.line.counts().up
    centre.line.fault({ stall: 'down' })
    change()
    await eventually(2000, 'the report went up', () => centre.line.counts().up > before)
    await new Promise((resolve) => setTimeout(resolve, 300))
    centre.line.cut()
    centre.line.fault({})
    await westSees(change())
    expect(east.logged.filter((line) => line.includes('new epoch'))).toEqual([])
  })

  test.each(long ? (['up', 'down'] as const) : (['down'] as const))(
    'silence %s: noticed within 15 seconds, served from what is known, and healed',
    async (way) => {
      const known = readyOf(west.uplink().received(), 'east')
      centre.line.fault({ stall: way })
      const wanted = change()
      await eventually(15_000, 'both notice', () => state(west) === 'away' && state(east) === 'away')
      expect(readyOf(west.uplink().received(), 'east')).toEqual(known)
      centre.line.fault({})
      await westSees(wanted)
    },
  )

  test('connections that die without a word are replaced', async () => {
    await eventually(healMs, 'connected', () => state(west) === 'connected' && state(east) === 'connected')
    centre.line.mute()
    // Nobody is told, so it costs a heads period until it is asked, and the silence that is allowed.
    await westSees(change(), 3300 + 3000 + 2000)
  })

  test('a centre that is away is two lines of log, however long and however often it is called', async () => {
    await eventually(healMs, 'connected', () => state(west) === 'connected')
    const before = west.logged.length
    centre.line.fault({ refuse: true })
    centre.line.cut()
    await eventually(healMs, 'noticed', () => state(west) === 'away')
    await new Promise((resolve) => setTimeout(resolve, 2000))
    centre.line.fault({})
    await eventually(healMs, 'back', () => state(west) === 'connected')
    const lines = west.logged.slice(before)
    expect(lines.map((line) => line.split(' {')[0])).toEqual([
      'warn the centre is away; serving what is known',
      'info connected to the centre',
    ])
  })

  test('a relay that starts anew while the centre is away holds all that it held, and catches up', async () => {
    const held = west.uplink().received()
    centre.line.fault({ refuse: true })
    centre.line.cut()
    const again = west.reopen()
    expect([...again.received()]).toEqual([...held])
    again.start()
    const wanted = change()
    await eventually(healMs, 'away', () => state(west) === 'away')
    again.report(reportOn('west', {}))
    centre.line.fault({})
    await westSees(wanted)
  })

  test('a relay that comes back to a centre where nothing changed, and a line that was cut: nothing is told as changed', async () => {
    const wanted = change()
    await westSees(wanted)
    const called = () => importsOf(west.uplink().received(), 'west').join()
    await eventually(healMs, 'the config followed', () => called() === Object.keys(wanted).toSorted().join())
    const level = () => {
      const { state, toTell, streams } = west.uplink().status()
      return state === 'connected' && toTell === 0 && JSON.stringify(streams)
    }
    const before = await eventually(healMs, 'level', level)
    const told = west.told.length
    const again = west.reopen()
    again.start()
    again.report(reportOn('west', {}))
    expect(await eventually(healMs, 'level again', level)).toBe(before)
    centre.line.cut()
    const since = west.uplink().status().lastHeardAt ?? 0
    await eventually(healMs, 'heard again', () => (west.uplink().status().lastHeardAt ?? 0) > since)
    expect(await eventually(healMs, 'level again', level)).toBe(before)
    expect(west.told.length - told).toBe(0)
  })

  test('a centre that comes back with an older copy of its store: both ends notice, and nobody is taken back to it', async () => {
    const data = join(centre.dir, 'centre')
    const copy = join(centre.dir, 'backup')
    await centre.stop()
    cpSync(data, copy, { recursive: true })
    await centre.start()
    for (const services of [{ reviews: 5, later: 1 }, { reviews: 5 }]) {
      east.uplink().report(reportOn('east', services))
      await westSees(services)
      const wanted = Object.keys(services).toSorted().join()
      await eventually(
        healMs,
        `west imports ${wanted}`,
        () => importsOf(west.uplink().received(), 'west').join() === wanted,
      )
    }
    await centre.stop()
    rmSync(data, { recursive: true })
    cpSync(copy, data, { recursive: true })
    const [logged, told] = [east.logged.length, west.told.length]
    const epochOf = (stream: string) => west.uplink().received().get(stream)?.epoch
    const epochs = ['ep/east/all', 'cfg/west'].map(epochOf)
    await centre.start()
    // At the latest by the next heartbeat of every relay.
    await eventually(
      20_000,
      'other epochs',
      () => !['ep/east/all', 'cfg/west'].some((s, n) => epochOf(s) === epochs[n]),
    )
    expect(
      east.logged.slice(logged).filter((line) => line.includes('reporting everything in a new epoch')),
    ).toHaveLength(1)
    for (const received of [...west.told.slice(told), west.uplink().received()]) {
      expect(readyOf(received, 'east')).toEqual({ reviews: 5 })
      expect(importsOf(received, 'west')).toEqual(['reviews'])
    }
    await westSees(change())
  })

  test('a cluster that was removed is told so, serves what it knows, and no other cluster notices', async () => {
    const north = await joinMember(centre, 'north')
    north.uplink().start()
    north.uplink().report(reportOn('north', {}))
    await eventually(healMs, 'north may call east', () => importsOf(north.uplink().received(), 'north').length > 0)
    await eventually(
      healMs,
      'north sees east',
      () => Object.keys(readyOf(north.uplink().received(), 'east')).length > 0,
    )
    const { body, status } = await centre.api('DELETE', '/v1/clusters/north')
    expect([status, body['detail']]).toEqual([expect.any(Number), undefined])
    await eventually(healMs, 'refused', () => state(north) === 'refused')
    expect(Object.keys(readyOf(north.uplink().received(), 'east')).length).toBeGreaterThan(0)
    expect(north.uplink().received().get('cfg/north')?.items.size).toBeGreaterThan(0)
    expect(north.uplink().status().reason).toContain('the credential is missing, wrong, expired or withdrawn')
    north.end()
    await westSees(change())
  })
})

describe('a relay that says what is not so', () => {
  const epochAfter = () => formatEpoch(Date.now() + 60_000, randomBytes(4).toString('hex'))
  const report = (more: object = {}) => ({
    ...{ proto: 'mesh-sync/1.0', epoch: epochAfter(), seq: 1, items: [], root: '0'.repeat(64) },
    ...more,
  })

  test('about another cluster is refused, naming both, and changes nothing', async () => {
    const held = JSON.stringify(readyOf(west.uplink().received(), 'east'))
    const speak = await speakAs(centre, west)
    const items = [{ k: 'export/shop/reviews', v: null }]
    const answer = await speak(`/v1/clusters/${east.membership.clusterId}/sync`, report({ items, complete: true }))
    expect(answer.status).toBe(403)
    expect(answer.body['detail']).toContain(`the token is of cluster "west" (${west.membership.clusterId})`)
    expect(answer.body['detail']).toContain(east.membership.clusterId)
    const signed = await speak(`/v1/clusters/${east.membership.clusterId}/certificates`, {
      ...{ kind: 'issuing', csr: 'x'.repeat(200) },
    })
    expect(signed.status).toBe(403)
    expect(JSON.stringify(readyOf(west.uplink().received(), 'east'))).toBe(held)
  })

  test('in the content of its report: its own name counts, whatever the content says', async () => {
    const speak = await speakAs(centre, west)
    const v = { ...{ network: 'net-west', region: 'r', relayVersion: '1', meshSync: 'mesh-sync/1.0' }, cluster: 'east' }
    const items = [
      { k: 'cluster', v },
      ...['rep/east', 'ep/east/all', 'export/../east', 'export/shop/reviews/extra', '__proto__'].map((k) => ({ k, v })),
    ]
    const { status, body } = await speak(`/v1/clusters/${west.membership.clusterId}/sync`, report({ items }))
    expect([status, body['rejected']]).toEqual([200, undefined])
    const { body: shown } = await centre.api('GET', '/v1/clusters/west')
    expect(shown).toMatchObject({ name: 'west', network: 'net-west' })
    const seen = await speak('/v1/pull', { proto: 'mesh-sync/1.0', have: [] })
    const streams = (seen.body['streams'] as { stream: string; items: { k: string }[] }[]) ?? []
    expect(streams.filter((one) => one.stream.includes('/west') && one.stream.startsWith('ep/'))).toEqual([])
  })

  test('that it holds the streams of others: it is given none of them', async () => {
    const speak = await speakAs(centre, west)
    const foreign = ['cfg/east', 'rep/east', 'rep/west', 'ep/west/all', 'adv/other', 'trust/other']
    const have = foreign.map((stream) => [stream, '', 0])
    const { status, body } = await speak('/v1/pull', { proto: 'mesh-sync/1.0', have })
    expect(status).toBe(200)
    const given = (body['streams'] as { stream: string }[]).map((one) => one.stream)
    expect(given.filter((stream) => foreign.includes(stream))).toEqual([])
    expect((body['gone'] as string[]).toSorted()).toEqual(foreign.toSorted())
  })

  test.each([
    ['/v1/pull', 1_200_000],
    ['sync', 700_000],
  ])('%s with %i bytes: too large, with the limit, and the next one is taken', async (door, bytes) => {
    const speak = await speakAs(centre, west)
    const path = door === 'sync' ? `/v1/clusters/${west.membership.clusterId}/sync` : door
    const { status, body } = await speak(path, { pad: 'x'.repeat(bytes) })
    expect(status).toBe(413)
    expect(body['detail']).toMatch(/the body has more than \d+ bytes: send less at once/)
    expect((await speak('/v1/pull', { proto: 'mesh-sync/1.0', have: [] })).status).toBe(200)
  })

  test.each([
    ['mesh-sync/1.0', 200, undefined],
    ['mesh-sync/1.1', 200, undefined],
    ['mesh-sync/1.2', 200, undefined],
    [
      'mesh-sync/1.3',
      409,
      'the relay speaks mesh-sync/1.3, this centre speaks mesh-sync/1.1: upgrade the centre first',
    ],
    [
      'mesh-sync/2.0',
      409,
      'the relay speaks mesh-sync/2.0, this centre speaks mesh-sync/1.1: upgrade the centre first',
    ],
    ['mesh-sync/0.9', 409, 'the relay speaks mesh-sync/0.9, this centre speaks mesh-sync/1.1: upgrade the relay first'],
    ['carrier-pigeon', 400, '"carrier-pigeon" is not a mesh-sync version; this side speaks mesh-sync/1.1'],
  ])('version %s: %i', async (proto, status, detail) => {
    const speak = await speakAs(centre, west)
    const more = { aFieldOfTheFuture: { deep: true } }
    const pulled = await speak('/v1/pull', { proto, have: [], ...more })
    const path = `/v1/clusters/${west.membership.clusterId}/sync`
    const told = await speak(path, report({ proto, ...more }))
    expect([pulled.status, pulled.body['detail']]).toEqual([status, detail])
    expect([told.status, told.body['detail']]).toEqual([status, detail])
  })
})
