import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadLive } from '#control/store/streams.ts'
import { newDrainMemo } from '#control/traffic/drain-sight.ts'
import type { Wish } from '#control/traffic/next-fleet.ts'
import { stepDrains } from '#control/traffic/step-drains.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import { cfgStream } from '#mesh/wire/stream.ts'
import { type Answer, openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { randomWishes } from '#tests/support/random-policies.ts'
import { exported, facts, summary } from '#tests/support/stores.ts'

let centre: TestCentre
const clusters = ['east', 'north', 'south', 'west'] as const
const services = Array.from({ length: 16 }, (_, n) => `svc-${n}`)
const relays = new Map<string, TestRelay>()

beforeAll(async () => {
  centre = await openTestCentre()
  for (const [at, name] of clusters.entries()) {
    const region = `eu-${1 + (at % 2)}`
    const relay = await new TestRelay(centre, name).join({ region })
    relays.set(name, relay)
    const offered = services.filter((_, n) => name !== 'west' && (at + n) % 3 !== 2)
    const said = offered.map((service) => [
      [`export/shop/${service}`, exported(service === 'svc-2' ? { labels: { tier: 'front' } } : {})],
      [`summary/shop/${service}`, summary(2 + at)],
    ])
    const cluster = { ...(facts(`net-${name}`) as object), region }
    const gateways = { gateways: [{ address: `127.21.0.${at + 2}`, port: 15443, state: 'ready' }] }
    await relay.sync({ cluster, gateways, ...Object.fromEntries(said.flat()) }, { complete: true })
  }
  for (const group of ['a', 'b'])
    await put({ kind: 'SamenessGroup', name: group, spec: { clusters: ['east', 'north'] } })
  await centre.settle()
})
afterAll(() => centre.close())

type Plan = {
  readonly hash: string
  readonly steps: readonly { readonly object: string; readonly hash: string; readonly unchanged: boolean }[]
  readonly clusters: readonly { readonly cluster: string; readonly hash: string }[]
  readonly changes: readonly {
    readonly key: string
    readonly clusters: readonly string[]
    readonly before: Json
    readonly after: Json
  }[]
  readonly shares: readonly Readonly<Record<string, unknown>>[]
  readonly warnings: readonly { readonly kind: string; readonly service: string; readonly message: string }[]
}

const askPlan = (wishes: readonly Wish[]): Promise<Answer> =>
  centre.admin('POST', '/v1/plans', {
    objects: wishes.filter(({ spec }) => spec !== undefined),
    remove: wishes.filter(({ spec }) => spec === undefined),
  })

const planOf = async (...wishes: readonly Wish[]): Promise<Plan> => {
  const { status, body } = await askPlan(wishes)
  expect([status, body['detail']]).toEqual([200, undefined])
  return body as unknown as Plan
}

const pathOf = (wish: Wish): string =>
  wish.kind === 'SamenessGroup'
    ? `/v1/sameness-groups/${wish.name}`
    : `/v1/global-traffic-policies/${wish.namespace}/${wish.name}`

const put = (wish: Wish, plan?: string): Promise<Answer> =>
  centre.admin(wish.spec === undefined ? 'DELETE' : 'PUT', pathOf(wish), wish.spec, plan ? { 'if-plan': plan } : {})

/** Every entry that relays are given, as bytes, by cluster. */
async function delivered(): Promise<Map<string, Map<string, string>>> {
  await centre.settle()
  const all = new Map<string, Map<string, string>>()
  for (const cluster of clusters) {
    const items = await centre.db.read((tx) => loadLive(tx, { mesh: 'mesh1', stream: cfgStream(cluster) }))
    all.set(cluster, new Map(items.map(({ key, body }) => [key, body])))
  }
  return all
}

const textOf = (all: ReadonlyMap<string, ReadonlyMap<string, string>>): readonly string[] =>
  [...all].flatMap(([cluster, entries]) => [...entries].map((entry) => `${cluster} ${entry.join(' ')}`)).toSorted()

/** What was delivered, with the changes of a plan put in. */
function changed(before: ReadonlyMap<string, ReadonlyMap<string, string>>, { changes }: Plan) {
  const all = new Map([...before].map(([cluster, entries]) => [cluster, new Map(entries)]))
  for (const { key, clusters: touched, before: was, after } of changes)
    for (const cluster of touched) {
      const entries = all.get(cluster)
      expect(entries?.get(key)).toBe(was === null ? undefined : canonicalJson(was))
      if (after === null) entries?.delete(key)
      else entries?.set(key, canonicalJson(after))
    }
  return all
}

const policy = (spec: Readonly<Record<string, unknown>> | undefined, name = 'svc-0'): Wish => ({
  ...{ kind: 'GlobalTrafficPolicy', namespace: 'shop', name },
  ...(spec ? { spec: { services: { names: [name] }, ...spec } } : {}),
})
const split = (east: number, more: object = {}) =>
  policy({
    tiers: [
      {
        targets: [
          { cluster: 'east', weight: east, ...more },
          { cluster: 'north', weight: 100 - east },
        ],
      },
    ],
    unlisted: 'last',
  })

test('what a plan of random policies says is what applying them does, byte for byte in what relays are given', async () => {
  const names = { clusters, regions: ['eu-1', 'eu-2'], groups: ['a', 'b'], services }
  const seen = { applied: 0, refused: 0, changes: 0 }
  // Drains and a freeze in force change nothing of that: the drained service is in the configs that are compared.
  const ask = { kind: 'service', subject: 'east/shop/svc-3', overSeconds: 10, graceSeconds: 30 }
  expect((await centre.admin('POST', '/v1/drains', ask)).status).toBeLessThan(300)
  await stepDrains(centre.centre, newDrainMemo())
  expect((await centre.admin('PUT', '/v1/freeze', { reason: 'a release' })).status).toBeLessThan(300)
  let before = await delivered()
  expect(textOf(before).filter((line) => line.includes('"drains":[{"cluster":"east"'))).not.toEqual([])
  for (const wishes of fc.sample(randomWishes(names, 18), { seed: 6, numRuns: 3 })) {
    const { good, plan } = await planned(wishes, () => seen.refused++)
    for (const [at, wish] of good.entries()) {
      // By its step of the plan or without one, it is the same; the first and the last do not know of each other.
      const isChecked = at === 0 || at === good.length - 1
      const done = await put(wish, isChecked ? plan.steps[at]?.hash : undefined)
      expect([done.status < 300, done.body['detail']]).toEqual([true, undefined])
    }
    const after = await delivered()
    expect(textOf(after)).toEqual(textOf(changed(before, plan)))
    for (const { cluster, hash } of plan.clusters)
      expect((await centre.admin('GET', `/v1/cluster-configs/${cluster}`)).body['hash']).toBe(hash)
    before = after
    seen.applied += good.length
    seen.changes += plan.changes.length
  }
  expect([seen.applied > 15, seen.refused > 0, seen.changes > 60], JSON.stringify(seen)).toEqual([true, true, true])
  expect((await centre.admin('DELETE', '/v1/freeze')).status).toBeLessThan(300)
})

/** A plan of those wishes that are not refused; one that is refused by a plan is refused for the same reason when applied. */
async function planned(wishes: readonly Wish[], refuse: () => void): Promise<{ good: readonly Wish[]; plan: Plan }> {
  let good = wishes.toSorted((a, b) => Number(a.spec === undefined) - Number(b.spec === undefined))
  for (;;) {
    const { status, body } = await askPlan(good)
    if (status === 200) return { good, plan: body as unknown as Plan }
    const detail = String(body['detail'])
    const bad = good.find((wish) => detail.startsWith(`policy shop/${wish.name}: `))
    if (!bad) throw new Error(`a plan was refused for nothing that it is of: ${detail}`)
    refuse()
    const alone = await askPlan([bad])
    if (alone.status !== 200) expect((await put(bad)).body['detail']).toBe(alone.body['detail'])
    good = good.filter((wish) => wish !== bad)
  }
}

test('a plan stores nothing; its hash does what it showed, and is refused once the fleet has moved on', async () => {
  await put(policy(undefined))
  const plan = await planOf(split(70))
  expect(plan.steps).toMatchObject([{ object: 'policy shop/svc-0', hash: plan.hash, unchanged: false }])
  expect((await centre.admin('GET', pathOf(split(70)))).status).toBe(404)

  const other = await put(split(60), plan.hash)
  expect([other.status, other.body['detail']]).toEqual([412, expect.stringContaining('plan it again')])
  await put(policy({}, 'svc-1'))
  const moved = await put(split(70), plan.hash)
  expect([moved.status, (await centre.admin('GET', pathOf(split(70)))).status]).toEqual([412, 404])

  const again = await planOf(split(70))
  expect((await put(split(70), again.hash)).status).toBe(201)
  // A request that is sent again, because its answer was lost, finds done what it wants.
  expect((await put(split(70), again.hash)).status).toBe(200)
  const removal = await planOf(policy(undefined))
  expect((await put(policy(undefined), again.hash)).status).toBe(412)
  expect((await put(policy(undefined), removal.hash)).status).toBe(204)
  expect((await put(policy(undefined), 'mine')).status).toBe(400)
})

test('a cluster that joins or offers something in between makes a plan stale where it touches it', async () => {
  await put(policy(undefined))
  const plan = await planOf(split(70))
  await relays.get('west')?.sync({ 'export/shop/svc-0': exported(), 'summary/shop/svc-0': summary(1) })
  expect((await put(split(70), plan.hash)).status).toBe(412)
  await relays.get('west')?.sync({ 'export/shop/svc-0': undefined, 'summary/shop/svc-0': undefined })
  expect((await put(split(70), plan.hash)).status).toBe(201)
  await put(policy(undefined))
})

test('a rehearsal says what each service would do without a cluster, and refuses what nobody is called', async () => {
  const ordered = policy({ tiers: [{ targets: [{ cluster: 'east' }] }, { targets: [{ cluster: 'north' }] }] })
  expect((await put(ordered)).status).toBe(201)
  const rehearse = (lose: readonly unknown[]) => centre.admin('POST', '/v1/rehearsals', { lose })
  const { status, body } = await rehearse(['east'])
  type Row = { service: string; callers: string[]; verdict: string; after: unknown }
  const row = (body['services'] as Row[]).find(({ service }) => service === 'shop/svc-0')
  expect([status, body['lost']]).toEqual([200, { clusters: ['east'], gateways: [] }])
  expect(row).toMatchObject({
    callers: ['north', 'south', 'west'],
    verdict: 'moves',
    after: [{ cluster: 'north', share: 1 }],
  })
  expect((await rehearse(['east', 'north'])).body['worst']).toBe('lost')
  expect((await rehearse(['atlantis'])).status).toBe(400)
  for (const odd of [[], [''], [7], Array.from({ length: 101 }, () => 'east')])
    expect((await rehearse(odd)).status).toBe(400)
  for (const odd of [{}, { objects: [] }, { objects: [{ kind: 'Cluster', name: 'east', spec: {} }] }, { remove: [{}] }])
    expect((await centre.admin('POST', '/v1/plans', odd)).status).toBe(400)
  await put(policy(undefined))
})

test('every object of a plan that would be refused is named, with its place; what stands so already is said to be so', async () => {
  const nobody = { tiers: [{ targets: [{ cluster: 'atlantis' }] }] }
  const wishes = [policy(nobody, 'svc-0'), policy({}, 'svc-9'), policy({ retries: { attempts: 99 } }, 'svc-2')]
  const { status, body } = await askPlan(wishes)
  const violations = body['violations'] as { path: string }[]
  expect([status, body['detail']]).toEqual([
    400,
    expect.stringMatching(/^policy shop\/svc-0: .*; 1 more of 3 objects are refused too$/),
  ])
  expect(new Set(violations.map(({ path }) => path.split('.')[0]))).toEqual(new Set(['objects[0]', 'objects[2]']))
  expect((await put(policy({}, 'svc-9'))).body['unchanged']).toBeUndefined()
  expect((await put(policy({}, 'svc-9'))).body['unchanged']).toBe(true)
  await put(policy(undefined, 'svc-9'))
})

test('an object that a plan names twice is refused; requests that may be repeated are warned of, planned and applied', async () => {
  const twice = await askPlan([split(70), split(30)])
  expect([twice.status, twice.body['detail']]).toEqual([400, expect.stringContaining('named before already')])
  const repeated = policy({ retries: { idempotent: true } })
  const warned = [expect.stringMatching(/idempotent.*POST/)]
  expect((await planOf(repeated)).steps).toMatchObject([{ warnings: warned }])
  expect((await put(repeated)).body['warnings']).toEqual(warned)
  await put(policy(undefined))
})
