import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Note } from '#control/bus.ts'
import { hintFor } from '#control/deliver.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { epochOf, exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
let east: TestRelay
let west: TestRelay
let north: TestRelay
beforeAll(async () => {
  centre = await openTestCentre()
  east = await new TestRelay(centre, 'east').join()
  west = await new TestRelay(centre, 'west').join()
  north = await new TestRelay(centre, 'north').join()
  await east.sync(
    {
      cluster: facts('net-east'),
      gateways,
      'export/shop/reviews': exported(),
      'summary/shop/reviews': summary(2),
    },
    { complete: true },
  )
  await centre.settle()
})
afterAll(() => centre.close())

const items = async (path: string) => (await centre.admin('GET', path)).body['items'] as Record<string, unknown>[]
const everybodyPulls = () => Promise.all([east, west, north].map((relay) => relay.pull()))

describe('from report to the other clusters', () => {
  test('an export reaches every other member: road, identities, summary and gateways', async () => {
    await everybodyPulls()
    for (const relay of [west, north]) {
      expect(relay.held.get(`cfg/${relay.name}`)?.items.get('import/shop/reviews')).toContain(
        'east.mesh1/ns/shop/sa/reviews',
      )
      expect([...(relay.held.get('ep/east/all')?.items.keys() ?? [])].toSorted()).toEqual(['gateways', 'shop/reviews'])
    }
    expect(east.held.get('cfg/east')?.items.get('export/shop/reviews')).toContain('west.mesh1')
    expect(east.held.has('ep/east/all')).toBe(false)
  })

  test('a count travels as a hint with its delta, before any pull and without compiling', async () => {
    const notes: Note[] = []
    const end = centre.centre.bus.listen((note) => notes.push(note))
    await east.sync({ 'summary/shop/reviews': summary(5) })
    end()
    const changes = notes.flatMap((note) => (note.kind === 'streams' ? note.changes : []))
    expect(changes.map((change) => change.stream)).toEqual(['ep/east/all'])
    expect(hintFor('west', changes, { n: 0 })?.delta).toBeDefined()
    expect(hintFor('east', changes, { n: 0 })).toBeUndefined()
    expect(notes.some((note) => note.kind === 'outbox')).toBe(false)
    expect(await west.pull()).toContain('ep/east/all')
  })

  test('nothing new: nothing is compiled into history and nothing is delivered', async () => {
    await everybodyPulls()
    const before = await items('/v1/cluster-configs')
    await centre.settle()
    await centre.settle(true)
    expect(await items('/v1/cluster-configs')).toEqual(before)
    expect(await west.pull()).toEqual([])
  })

  test('history says what led to each config, who, and what it was', async () => {
    const [newest] = await items('/v1/cluster-configs/west/revisions')
    expect(newest).toMatchObject({
      cluster: 'west',
      cause: expect.stringContaining('east'),
      author: expect.stringContaining('east'),
    })
    const first = await centre.admin('GET', '/v1/cluster-configs/west?revision=1')
    expect(Object.keys(first.body['entries'] as object)).toEqual(['import/shop/reviews', 'self', 'trust'])
    expect(first.headers.get('etag')).toBe('"1"')
    expect((await centre.admin('GET', '/v1/cluster-configs/west?revision=999')).status).toBe(404)
  })

  test('the derived lists show it', async () => {
    expect(await items('/v1/services')).toMatchObject([{ namespace: 'shop', name: 'reviews', clusters: ['east'] }])
    expect(await items('/v1/gateways')).toMatchObject([
      { cluster: 'east', address: '127.21.0.2', port: 15443, state: 'ready' },
    ])
    expect(await items('/v1/networks')).toMatchObject([
      { name: 'net-east' },
      { name: 'net-north' },
      { name: 'net-west' },
    ])
    expect(await items('/v1/endpoints?service=shop/reviews')).toMatchObject([{ cluster: 'east', ready: 5, total: 5 }])
    expect(await items('/v1/service-imports?cluster=west')).toMatchObject([{ name: 'reviews', sources: ['east'] }])
    expect((await centre.admin('GET', '/v1/services/shop/reviews')).body).toMatchObject({ name: 'reviews' })
    expect((await centre.admin('GET', '/v1/services/shop/nothing')).status).toBe(404)
    expect(await items('/v1/trust-bundles')).toMatchObject([
      { cluster: 'east' },
      { cluster: 'north' },
      { cluster: 'west' },
    ])
  })

  test("a cluster can say nothing about another's services, whatever its report holds", async () => {
    const foreign = await centre.call('POST', `/v1/clusters/${east.id}/sync`, {
      bearer: west.bearer,
      body: west.reporter.batch({ 'export/shop/reviews': exported() }),
    })
    expect(foreign.status).toBe(403)
    west.reporter.seq--
    west.reporter.told.clear()
    const spoofed = { ...(facts('net-west') as object), cluster: 'east', trustDomain: 'east.mesh1', mesh: 'other' }
    expect((await west.sync({ cluster: spoofed })).status).toBe(200)
    expect((await centre.admin('GET', '/v1/clusters/west')).body).toMatchObject({
      name: 'west',
      trustDomain: 'west.mesh1',
    })
  })

  test('a gap and a deposed epoch are named so that a relay can mend them', async () => {
    const gap = await north.sync({ cluster: facts('net-north') }, { seq: 7 })
    expect(gap).toMatchObject({ status: 409, body: { needSeq: 1 } })
    await north.sync({ cluster: facts('net-north') }, { seq: 1, epoch: epochOf(2) })
    const old = await north.sync({}, { seq: 2, epoch: epochOf(1) })
    expect(old).toMatchObject({ status: 409, body: { epochBehind: true } })
  })
})

describe('an operator narrows an export', () => {
  const path = '/v1/service-exports/shop/reviews'

  test('a rehearsal says exactly which configs would move, and changes nothing', async () => {
    const before = await items('/v1/cluster-configs')
    const { body } = await centre.admin('PUT', `${path}?dryRun=true`, { consumers: ['west'] })
    expect(body['changes']).toContainEqual({
      cluster: 'north',
      added: [],
      removed: ['import/shop/reviews'],
      changed: [],
    })
    expect((body['changes'] as { cluster: string }[]).map(({ cluster }) => cluster)).not.toContain('west')
    await centre.settle()
    expect(await items('/v1/cluster-configs')).toEqual(before)
  })

  test('neither config nor summaries of who is shut out name the service any more; the others keep it', async () => {
    await everybodyPulls()
    expect(north.text()).toContain('shop/reviews')
    const made = await centre.admin('PUT', path, { consumers: ['west'] })
    expect(made).toMatchObject({ status: 201, body: { revision: 1, consumers: ['west'], exporters: ['east'] } })
    await centre.settle()
    await everybodyPulls()
    expect(north.text()).not.toContain('reviews')
    expect(west.text()).toContain('import/shop/reviews')
    expect(west.text()).toContain('"shop/reviews"')
    expect(east.held.get('cfg/east')?.items.get('export/shop/reviews')).not.toContain('north')
    expect(await items('/v1/service-exports')).toMatchObject([{ consumers: ['west'], declared: ['*'] }])
  })

  test('If-Match guards it, the same again changes nothing, and it cannot widen', async () => {
    const stale = await centre.admin('PUT', path, { consumers: ['north'] }, { 'if-match': '"7"' })
    expect(stale).toMatchObject({ status: 412, body: { revision: 1 } })
    expect((await centre.admin('PUT', path, { consumers: ['west'] })).body).toMatchObject({ revision: 1 })
    const moved = await centre.admin('PUT', path, { consumers: ['west', 'ghost'] }, { 'if-match': '"1"' })
    expect(moved.headers.get('etag')).toBe('"2"')
    expect(moved.body['conditions']).toMatchObject([{ reason: 'UnknownConsumer' }])
    await east.sync({ 'export/shop/reviews': exported({ consumers: ['north'] }) })
    await centre.settle()
    await everybodyPulls()
    for (const relay of [west, north]) expect(relay.text()).not.toContain('reviews')
    expect((await centre.admin('DELETE', path, undefined, { 'if-match': '"1"' })).status).toBe(412)
    expect((await centre.admin('DELETE', path)).status).toBe(204)
    expect((await centre.admin('DELETE', path)).status).toBe(204)
    await centre.settle()
    await everybodyPulls()
    expect([west, north].map((relay) => relay.text().includes('reviews'))).toEqual([false, true])
  })

  test('names that are no names are all listed', async () => {
    const bad = await centre.admin('PUT', path, { consumers: ['west', 'No_1', 'group/prod'] })
    expect(bad.body['violations']).toMatchObject([{ path: 'consumers[1]' }, { path: 'consumers[2]' }])
  })

  test('whatever lists exporter and operator set, only who is on both is ever told', async () => {
    const all = ['east', 'north', 'west'] as const
    const lists = fc.option(fc.subarray([...all]), { nil: undefined })
    await fc.assert(
      fc.asyncProperty(lists, lists, async (own, operator) => {
        await east.sync({ 'export/shop/reviews': exported(own === undefined ? {} : { consumers: own }) })
        if (operator === undefined) await centre.admin('DELETE', path)
        else await centre.admin('PUT', path, { consumers: operator })
        await centre.settle()
        await everybodyPulls()
        for (const relay of [west, north]) {
          const name = relay.name as (typeof all)[number]
          const may = (own ?? all).includes(name) && (operator ?? all).includes(name)
          expect([relay.name, relay.text().includes('reviews')]).toEqual([relay.name, may])
        }
      }),
      { numRuns: 12 },
    )
  })
})

describe('a cluster that floods', () => {
  test('an item too large is refused by key, the rest is taken, and a batch too long is refused whole', async () => {
    const huge = exported({ serviceAccounts: Array.from({ length: 90 }, (_, i) => `${i}-`.padEnd(250, 'x')) })
    const bad = { ...(huge as object), ports: [{ port: 70_000 }] }
    const mixed = await west.sync({ 'summary/shop/fine': summary(1), 'export/shop/bad': bad })
    expect(mixed).toMatchObject({ status: 200, body: { rejected: [{ key: 'export/shop/bad' }] } })
    const many = Array.from({ length: 501 }, (_, i) => ({ k: `summary/shop/s${i}`, v: null }))
    const long = await west.sync({}, { items: many })
    expect(long.status).toBe(400)
    west.reporter.seq--
  })
})

describe('a member leaves', () => {
  test('its exports go, its name goes from the trust of the others, its own streams are shut', async () => {
    const away = await new TestRelay(centre, 'away').join()
    await away.sync(
      { cluster: facts('net-away'), gateways, 'export/shop/away': exported(), 'summary/shop/away': summary(1) },
      { complete: true },
    )
    await centre.settle()
    await everybodyPulls()
    expect(west.text()).toContain('shop/away')
    await centre.admin('DELETE', '/v1/clusters/away')
    await centre.settle()
    await everybodyPulls()
    for (const relay of [east, west, north]) expect(relay.text()).not.toContain('away')
    const pull = await centre.call('POST', '/v1/pull', {
      bearer: away.bearer,
      body: { proto: 'mesh-sync/1.0', have: [] },
    })
    expect(pull.status).toBe(401)
  })
})
