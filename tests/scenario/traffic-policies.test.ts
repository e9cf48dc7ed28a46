import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { historyKeptMs, prunePolicyHistory } from '#control/store/policy-history.ts'
import { compiled } from '#control/store/schema/compiled.ts'
import { type Answer, openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
let west: TestRelay
const path = '/v1/global-traffic-policies/shop/reviews'
const split = {
  services: { names: ['reviews'] },
  tiers: [
    {
      targets: [
        { cluster: 'north', weight: 70, capacity: { requestsPerSecond: 400 } },
        { cluster: 'east', weight: 30 },
      ],
    },
    { targets: [{ region: 'eu-1' }] },
  ],
}

beforeAll(async () => {
  centre = await openTestCentre()
  for (const name of ['east', 'north', 'south']) {
    const relay = await new TestRelay(centre, name).join()
    const said = { 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) }
    await relay.sync({ cluster: facts(`net-${name}`), gateways, ...said }, { complete: true })
  }
  west = await new TestRelay(centre, 'west').join()
  await centre.settle()
})
afterAll(() => centre.close())
beforeEach(async () => {
  await centre.admin('DELETE', path)
  await centre.admin('DELETE', '/v1/sameness-groups/prod')
})

const put = (spec: unknown, headers?: Readonly<Record<string, string>>, at = path): Promise<Answer> =>
  centre.admin('PUT', at, spec, headers)

/** The tiers that west was given: `north70+east30 > south1`. */
async function tiersAtWest(): Promise<string> {
  await centre.settle()
  await west.pull()
  const held = west.held.get('cfg/west')?.items.get('import/shop/reviews')
  return tiersText((JSON.parse(String(held)) as { tiers: Tiers }).tiers)
}

type Tiers = { members: { cluster: string; weight: number }[] }[]
const tiersText = (tiers: Tiers = []): string =>
  tiers.map(({ members }) => members.map((one) => `${one.cluster}${one.weight}`).join('+')).join(' > ')

describe('a policy reaches the callers it governs', () => {
  test('weights and regions become tiers, with what the policy says beside them; deleted, the default order is back', async () => {
    const before = await tiersAtWest()
    const made = await put(split)
    expect([made.status, made.headers.get('etag'), made.body['warnings']]).toEqual([201, '"1"', []])
    expect(await tiersAtWest()).toBe('east30+north70 > south1')
    const held = String(west.held.get('cfg/west')?.items.get('import/shop/reviews'))
    expect(JSON.parse(held).policy).toMatchObject({ name: 'shop/reviews@1', holdSeconds: 60, tierOf: [0, 1] })
    expect(JSON.parse(held).tiers[0].members[1].capacity).toEqual({ requestsPerSecond: 400 })
    expect((await centre.admin('DELETE', path)).status).toBe(204)
    expect(await tiersAtWest()).toBe(before)
  })

  test('a group stands for its clusters, and for one that is added later without an edit of the policy', async () => {
    await put({ clusters: ['east'] }, {}, '/v1/sameness-groups/prod')
    const grouped = { services: { names: ['reviews'] }, tiers: [{ targets: [{ group: 'prod' }] }], unlisted: 'last' }
    expect((await put(grouped)).status).toBe(201)
    expect(await tiersAtWest()).toBe('east1 > north1+south1')
    await put({ clusters: ['east', 'north'] }, {}, '/v1/sameness-groups/prod')
    expect(await tiersAtWest()).toBe('east1+north1 > south1')
    const emptied = await put({ clusters: [] }, {}, '/v1/sameness-groups/prod')
    expect(emptied.body['warnings']).toEqual(['it stands for nobody now, and policy shop/reviews names it'])
    expect(await tiersAtWest()).toBe('east1+north1+south1')
    const again = await put(grouped)
    expect([again.status, again.body['warnings']]).toEqual([200, [expect.stringContaining('"prod" names nobody')]])
    const refused = await centre.admin('DELETE', '/v1/sameness-groups/prod')
    expect([refused.status, refused.body['detail']]).toEqual([409, expect.stringContaining('shop/reviews')])
  })
})

test('the history keeps what differs and shows every revision whole, with what led to it', async () => {
  const revisions = async () =>
    (await centre.admin('GET', '/v1/cluster-configs/west/revisions')).body['items'] as Head[]
  type Head = { readonly revision: number; readonly cause: string; readonly author: string }
  await centre.settle()
  const first = (await revisions())[0]?.revision ?? 0
  const told = new Map<number, unknown>()
  for (const keepUntilPercent of [50, 60, 70]) {
    await put({ ...split, keepUntilPercent })
    await tiersAtWest()
    const items = west.held.get('cfg/west')?.items ?? new Map<string, string>()
    told.set(first + told.size + 1, Object.fromEntries([...items].map(([key, body]) => [key, JSON.parse(body)])))
  }
  for (const [revision, entries] of told)
    expect((await centre.admin('GET', `/v1/cluster-configs/west?revision=${revision}`)).body['entries']).toEqual(
      entries,
    )
  const [newest] = await revisions()
  expect(newest).toMatchObject({
    cause: expect.stringMatching(/^policy shop\/reviews@\d+$/),
    author: expect.stringMatching(/^operator:/),
  })
  const rows = await centre.db.read((tx) => tx.select().from(compiled).where(eq(compiled.cluster, 'west')))
  const last = rows.toSorted((a, b) => b.revision - a.revision)[0]
  expect([last?.base, Object.keys(JSON.parse(last?.body ?? '')), Number(last?.policies) > 0]).toEqual([
    first + told.size - 1,
    ['import/shop/reviews'],
    true,
  ])
})

describe('time', () => {
  const history = async (query = '') => {
    const { status, body } = await centre.admin('GET', `/v1/history${query}`)
    return { status, ids: ((body['items'] ?? []) as { id: string }[]).map(({ id }) => id), body }
  }

  test('what a cluster had at a moment is what it was delivered last by then', async () => {
    const had: { at: number; tiers: string }[] = []
    for (const weight of [1, 2, 3]) {
      centre.clock.now += 10_000
      await put({
        ...split,
        tiers: [{ targets: [{ cluster: 'north', weight }, { cluster: 'east' }] }],
        unlisted: 'last',
      })
      had.push({ at: centre.clock.now, tiers: await tiersAtWest() })
    }
    const at = async (ms: number) =>
      centre.admin('GET', `/v1/cluster-configs/west?at=${encodeURIComponent(new Date(ms).toISOString())}`)
    for (const { at: moment, tiers } of had)
      for (const late of [0, 9_999]) {
        const entries = (await at(moment + late)).body['entries'] as Record<string, { tiers: never }>
        expect(tiersText(entries['import/shop/reviews']?.tiers)).toBe(tiers)
      }
    expect(new Set(had.map(({ tiers }) => tiers)).size).toBe(3)
    expect((await at(1)).status).toBe(404)
    expect((await centre.admin('GET', '/v1/cluster-configs/west?at=14:03')).status).toBe(400)
    expect((await centre.admin('GET', '/v1/cluster-configs/west?at=2026-03-01T12:00:00Z&revision=1')).status).toBe(400)
  })

  test('the history has every change once, newest first, in pages of any size, with who did it and why', async () => {
    await put(split, {}, `${path}?reason=black%20friday`)
    await centre.settle()
    await put({ clusters: ['east'] }, {}, '/v1/sameness-groups/prod')
    centre.clock.now += 1000
    await centre.admin('DELETE', path)
    await centre.settle()
    const whole = await history('?limit=500')
    const paged: string[] = []
    for (let cursor: unknown = ''; cursor !== undefined; ) {
      const page = await history(`?limit=3${cursor === '' ? '' : `&cursor=${String(cursor)}`}`)
      paged.push(...page.ids)
      cursor = page.body['nextCursor']
    }
    expect(paged).toEqual(whole.ids)
    expect(new Set(whole.ids).size).toBe(whole.ids.length)
    const of = (object: string) => (whole.body['items'] as { object: string }[]).filter((one) => one.object === object)
    for (const object of ['west', 'gtp/shop/reviews', 'group/prod'])
      expect((await history(`?object=${object}&limit=500`)).body['items']).toEqual(of(object))
    const [deleted, written] = of('gtp/shop/reviews')
    expect(deleted).toMatchObject({ spec: null, author: expect.stringMatching(/^operator:/) })
    expect(written).toMatchObject({ spec: split, cause: 'black friday' })
    expect(of('group/prod')[0]).toMatchObject({ kind: 'SamenessGroup', spec: { clusters: ['east'] } })
  })

  test.each([
    ['of nobody', '?object=atlantis', 404],
    ['of what is no name', '?object=gtp/shop', 400],
    ['from another list', `?cursor=${Buffer.from('audit-events\0x').toString('base64url')}`, 400],
    ['from a place that is none', `?cursor=${Buffer.from('history of all\0x').toString('base64url')}`, 400],
  ])('a history %s is refused', async (_, query, status) => expect((await history(query)).status).toBe(status))
})

describe('the way back', () => {
  const back = (object: string, revision: number, more = '', headers = {}) =>
    centre.admin('POST', `/v1/rollbacks${more}`, { object, revision, reason: 'it was better' }, headers)
  const newest = async () => Number((await centre.admin('GET', '/v1/cluster-configs/west')).body['revision'])
  const grouped = { services: { names: ['reviews'] }, tiers: [{ targets: [{ group: 'prod' }] }], unlisted: 'last' }
  const other = '/v1/global-traffic-policies/shop/other'

  test('to a config: all policies and groups are as they were when it was compiled, as new revisions, in one step', async () => {
    await put({ clusters: ['east'] }, {}, '/v1/sameness-groups/prod')
    const then = await put(grouped)
    const tiers = await tiersAtWest()
    const revision = await newest()
    await put(split)
    await put({ services: { namespace: 'elsewhere' }, retries: { attempts: 1 } }, {}, other)
    await centre.admin('DELETE', '/v1/sameness-groups/prod')
    expect(await tiersAtWest()).not.toBe(tiers)
    const done = await back('west', revision)
    expect([done.status, done.body['objects']]).toEqual([
      200,
      ['group prod', 'policy shop/reviews', 'policy shop/other (goes)'],
    ])
    expect(await tiersAtWest()).toBe(tiers)
    const now = (await centre.admin('GET', path)).body
    expect([now['spec'], Number(now['revision']) > Number(then.body['revision'])]).toEqual([grouped, true])
    expect((await centre.admin('GET', other)).status).toBe(404)
    const head = (await centre.admin('GET', '/v1/cluster-configs/west')).body
    expect([Number(head['revision']) > revision, head['cause']]).toEqual([
      true,
      expect.stringContaining(`rollback to west@${revision}`),
    ])
    expect((await back('west', revision)).body['objects']).toEqual([])
  })

  test('to one state of one policy, also one in which it was not there', async () => {
    const first = await put(split)
    const second = await put({ ...split, unlisted: 'last' })
    const at = Number(first.body['revision'])
    expect((await back('gtp/shop/reviews', at)).body['objects']).toEqual(['policy shop/reviews'])
    expect((await centre.admin('GET', path)).body).toMatchObject({
      revision: Number(second.body['revision']) + 1,
      spec: split,
    })
    await centre.admin('DELETE', path)
    await put(split)
    await back('gtp/shop/reviews', Number(second.body['revision']) + 2)
    expect((await centre.admin('GET', path)).status).toBe(404)
  })

  test('its plan says what it does, to the byte, and by its hash nothing else is done', async () => {
    await put(split)
    await tiersAtWest()
    const revision = await newest()
    await put({ ...split, tiers: [{ targets: [{ cluster: 'east' }] }], unlisted: 'last' })
    await tiersAtWest()
    const planned = async () => (await back('west', revision, '?dryRun=true')).body
    const old = await planned()
    expect(await newest()).toBe(revision + 1)
    await put({ ...split, tiers: [{ targets: [{ cluster: 'south' }] }], unlisted: 'last' })
    await tiersAtWest()
    expect((await back('west', revision, '', { 'if-plan': String(old['hash']) })).status).toBe(412)
    const plan = await planned()
    expect((await back('west', revision, '', { 'if-plan': String(plan['hash']) })).status).toBe(200)
    await tiersAtWest()
    const changes = plan['changes'] as { key: string; clusters: string[]; after: unknown }[]
    const wanted = changes.filter(({ clusters }) => clusters.includes('west'))
    const { entries, hash } = (await centre.admin('GET', '/v1/cluster-configs/west')).body
    expect(wanted.length).toBeGreaterThan(0)
    for (const { key, after } of wanted) expect((entries as Record<string, unknown>)[key]).toEqual(after)
    expect(plan['clusters']).toContainEqual(expect.objectContaining({ cluster: 'west', hash }))
  })

  test('what could not stand now is refused with every reason, and nothing is done', async () => {
    const guest = await new TestRelay(centre, 'guest').join()
    const said = { 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) }
    await guest.sync({ cluster: facts('net-guest'), gateways, ...said }, { complete: true })
    const guests = { ...split, tiers: [{ targets: [{ cluster: 'guest' }] }, { targets: [{ cluster: 'east' }] }] }
    expect((await put(guests)).status).toBe(201)
    const { revision } = (await centre.admin('GET', path)).body
    await put(split)
    await centre.admin('DELETE', '/v1/clusters/guest')
    const refused = await back('gtp/shop/reviews', Number(revision))
    expect([refused.status, (refused.body['violations'] as { path: string }[])[0]?.path]).toEqual([
      400,
      'shop/reviews: spec.tiers[0].targets[0]',
    ])
    expect((await centre.admin('GET', path)).body['spec']).toEqual(split)
  })

  test('a group that a policy names does not go back to nothing', async () => {
    const prod = '/v1/sameness-groups/prod'
    await put({ clusters: ['east'] }, {}, prod)
    const { revision } = (await centre.admin('GET', prod)).body
    await centre.admin('DELETE', prod)
    await put({ clusters: ['east'] }, {}, prod)
    await put(grouped)
    expect((await back('group/prod', Number(revision) + 1)).status).toBe(409)
  })

  test('policies that are forgotten are not taken for policies that were not there', async () => {
    await put(split)
    await tiersAtWest()
    const revision = await newest()
    await put({ ...split, unlisted: 'last' })
    const long = historyKeptMs + 1
    centre.clock.now += long
    await centre.db.transact((tx) => prunePolicyHistory(tx, centre.centre.mesh, centre.clock.now - historyKeptMs, 500))
    const refused = await back('west', revision)
    centre.clock.now -= long
    expect([refused.status, refused.body['detail']]).toEqual([404, expect.stringContaining('not kept')])
    expect((await centre.admin('GET', path)).body['spec']).toEqual({ ...split, unlisted: 'last' })
  })

  test.each([
    ['a config that is none', 'west', 99_999],
    ['a cluster that is none', 'atlantis', 1],
    ['a state that is none', 'gtp/shop/reviews', 99_999],
    ['a group that is none', 'group/nobody', 1],
  ])('%s is not found', async (_, object, revision) => expect((await back(object, revision)).status).toBe(404))
})

describe('an object of the API', () => {
  test('the same again changes nothing; an old revision is refused; made anew it goes on counting', async () => {
    const made = await put(split)
    const again = await put(split)
    expect([again.status, again.headers.get('etag')]).toEqual([200, made.headers.get('etag')])
    const next = await put({ ...split, unlisted: 'last' }, { 'if-match': String(made.headers.get('etag')) })
    expect(next.status).toBe(200)
    const stale = await put(split, { 'if-match': String(made.headers.get('etag')) })
    expect([stale.status, (await centre.admin('GET', path)).body['revision']]).toEqual([412, next.body['revision']])
    await centre.admin('DELETE', path)
    expect((await put(split)).body['revision']).toBe(Number(next.body['revision']) + 2)
    const seen = await centre.call('GET', path, {
      bearer: centre.adminKey,
      headers: { 'if-none-match': `"${Number(next.body['revision']) + 2}"` },
    })
    expect(seen.status).toBe(304)
  })

  test('with dryRun it says which entries would change, and nothing does', async () => {
    const rehearsed = await put(split, {}, `${path}?dryRun=true`)
    const changes = rehearsed.body['changes'] as { cluster: string; changed: string[] }[]
    expect(changes.find(({ cluster }) => cluster === 'west')?.changed).toEqual(['import/shop/reviews'])
    expect((await centre.admin('GET', path)).status).toBe(404)
  })

  test('refused with every reason at once, and nothing is stored', async () => {
    const wrong = {
      services: { names: ['reviews'] },
      tiers: [{ targets: [{ cluster: 'atlantis' }, { cluster: 'east', weight: 1 }] }, { targets: [{ group: 'none' }] }],
    }
    const { status, body } = await put(wrong)
    const paths = (body['violations'] as { path: string }[]).map((one) => one.path)
    expect([status, paths]).toEqual([
      400,
      ['spec.tiers[0].targets[0]', 'spec.tiers[1].targets[0]', 'spec.tiers[0]', 'spec.tiers'],
    ])
    expect((await centre.admin('GET', path)).status).toBe(404)
  })

  test('a field that is spelled wrong is refused by its path', async () => {
    const { status, body } = await put({ ...split, failback: { holdSecond: 5 }, unlisted: 'sometimes' })
    expect([status, (body['violations'] as { path: string }[]).map((one) => one.path)]).toEqual([
      400,
      ['spec.unlisted', 'spec.failback.holdSecond'],
    ])
  })

  test('two operators write policies that tie at the same moment: one of them is refused', async () => {
    const other = '/v1/global-traffic-policies/shop/also-reviews'
    const answers = await Promise.all([put(split), put(split, {}, other)])
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 400])
    expect(JSON.stringify(answers.map(({ body }) => body))).toContain('exactly as policy shop/')
    await centre.admin('DELETE', other)
  })
})
