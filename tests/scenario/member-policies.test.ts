import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
const relays = new Map<string, TestRelay>()
const key = 'policy/shop/reviews'
const toSouth = { services: { names: ['reviews'] }, tiers: [{ targets: [{ cluster: 'south' }] }], unlisted: 'last' }

beforeAll(async () => {
  centre = await openTestCentre()
  for (const name of ['east', 'north', 'south', 'west', 'far']) {
    const relay = await new TestRelay(centre, name).join()
    relays.set(name, relay)
    const offers = ['east', 'north', 'south'].includes(name)
    const said = offers ? { 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) } : {}
    await relay.sync({ cluster: facts(`net-${name}`), gateways, ...said }, { complete: true })
  }
  await centre.settle()
})
afterAll(() => centre.close())

const relayOf = (name: string): TestRelay => {
  const found = relays.get(name)
  if (!found) throw new Error(`no relay ${name}`)
  return found
}

/** What a member says of its objects, compiled. */
async function says(name: string, items: Parameters<TestRelay['sync']>[0]): Promise<void> {
  const answer = await relayOf(name).sync(items)
  expect(answer.body['rejected'] ?? []).toEqual([])
  await centre.settle()
}

type Tiers = { members: { cluster: string; weight: number }[] }[]

async function importAt(name: string): Promise<{ tiers: string; policy: string | undefined }> {
  const relay = relayOf(name)
  await relay.pull()
  const held = relay.held.get(`cfg/${name}`)?.items.get('import/shop/reviews')
  const { tiers, policy } = JSON.parse(String(held)) as { tiers: Tiers; policy?: { name: string } }
  const text = tiers.map(({ members }) => members.map((one) => one.cluster).join('+')).join(' > ')
  return { tiers: text, policy: policy?.name.replace(/@\d+$/, '') }
}

test('a policy among a cluster’s own objects moves its own callers and nobody else’s', async () => {
  const before = await importAt('far')
  await says('west', { [key]: { spec: toSouth } })
  expect(await importAt('west')).toEqual({ tiers: 'south > east+north', policy: 'west/shop/reviews' })
  expect(await importAt('far')).toEqual(before)
  await says('west', { [key]: null })
  expect((await importAt('west')).policy).toBeUndefined()
})

type Listed = { origin: string; conditions: { reason: string; message: string }[] }

/** How a member's object stands, and what is said of it. */
async function listed(path: string): Promise<{ state: string; why: string }> {
  const { status, body } = await centre.admin('GET', path)
  if (status !== 200) return { state: String(status), why: '' }
  const { conditions } = body as unknown as Listed
  return { state: conditions[0]?.reason ?? '', why: conditions[0]?.message ?? '' }
}
const policyAt = (cluster: string, name = 'reviews') => listed(`/v1/global-traffic-policies/${cluster}/shop/${name}`)

async function conditionsAt(name: string): Promise<string[]> {
  const { body } = await centre.admin('GET', `/v1/cluster-configs/${name}`)
  return (body['conditions'] as { type?: string; reason: string; message: string }[]).map(
    ({ type, message }) => `${type}: ${message}`,
  )
}

const sources = (clusters: readonly string[], headers: Readonly<Record<string, string>> = {}) =>
  centre.admin('PUT', '/v1/policy-sources', { clusters, reason: 'test' }, headers)

/** Nobody has objects, nobody is a source. */
async function nothingSaid(): Promise<void> {
  await sources([])
  await centre.admin('DELETE', '/v1/global-traffic-policies/shop/reviews')
  await centre.admin('DELETE', '/v1/global-traffic-policies/shop/other')
  for (const relay of relays.values()) {
    const items = [key, 'policy/shop/other', 'policy/shop/third', 'group/prod', 'unread'].map((one) => [one, null])
    await relay.sync(Object.fromEntries(items))
  }
  await centre.settle()
}

describe('what cannot stand', () => {
  beforeEach(nothingSaid)

  test('is not in force and says every reason; the last good stays, until the object goes or is mended', async () => {
    await says('west', { [key]: { spec: toSouth } })
    const nowhere = {
      ...toSouth,
      tiers: [{ targets: [{ cluster: 'nowhere' }] }],
      retries: { attempts: 0, idempotent: true },
    }
    await says('west', { [key]: { spec: nowhere } })
    expect(await importAt('west')).toEqual({ tiers: 'south > east+north', policy: 'west/shop/reviews' })
    const { state, why } = await policyAt('west')
    expect(state).toBe('LastGood')
    expect(why).toMatch(/"nowhere" names nobody.*idempotent/)
    expect((await conditionsAt('west')).join()).toMatch(/PolicyNotInForce: .*nowhere.*revision \d+.* stays in force/)
    await says('west', { [key]: { spec: { ...toSouth, tirs: [] } } })
    expect(await policyAt('west')).toEqual({ state: 'LastGood', why: 'spec.tirs: there is no such field' })
    await says('west', { [key]: { fault: 'is malformed YAML' } })
    expect(await policyAt('west')).toEqual({ state: 'LastGood', why: 'is malformed YAML' })
    await says('west', {
      [key]: { spec: { ...toSouth, unlisted: 'never', tiers: [{ targets: [{ region: 'eu-1' }] }] } },
    })
    expect(await policyAt('west')).toMatchObject({ state: 'InForce' })
    await says('west', { [key]: null })
    expect((await policyAt('west')).state).toBe('404')
    expect(await conditionsAt('west')).toEqual([])
  })

  test('is looked at again when the fleet moves: an object may come before the cluster that it names', async () => {
    await says('west', { [key]: { spec: { ...toSouth, tiers: [{ targets: [{ cluster: 'later' }] }] } } })
    expect((await policyAt('west')).state).toBe('NotInForce')
    expect((await importAt('west')).policy).toBeUndefined()
    const later = await new TestRelay(centre, 'later').join()
    await later.sync({ cluster: facts('net-later'), gateways }, { complete: true })
    await centre.settle()
    expect((await policyAt('west')).state).toBe('InForce')
  })

  test('of two that tie the first in force stays, and makes room when it goes', async () => {
    await says('west', { 'policy/shop/other': { spec: toSouth } })
    await says('west', { [key]: { spec: toSouth } })
    expect([(await policyAt('west', 'other')).state, (await policyAt('west')).state]).toEqual(['InForce', 'NotInForce'])
    await says('west', { 'policy/shop/other': null })
    expect((await importAt('west')).policy).toBe('west/shop/reviews')
  })

  test('nothing that is missing is gone while a file of the cluster could not be read', async () => {
    await says('west', { [key]: { spec: toSouth } })
    await says('west', { [key]: null, unread: { files: 1 } })
    expect((await importAt('west')).policy).toBe('west/shop/reviews')
    await says('west', { unread: null })
    expect((await importAt('west')).policy).toBeUndefined()
  })

  test('a capacity is of all callers together: no member says it, and none lifts the one of the mesh', async () => {
    const capped = { ...toSouth, tiers: [{ targets: [{ cluster: 'south', capacity: { requestsPerSecond: 9 } }] }] }
    await says('west', { [key]: { spec: capped } })
    expect((await policyAt('west')).why).toMatch(/capacity: is of all callers together/)
    expect((await centre.admin('PUT', '/v1/global-traffic-policies/shop/reviews', capped)).status).toBe(201)
    await says('west', { [key]: { spec: toSouth } })
    await importAt('west')
    const held = JSON.parse(String(relayOf('west').held.get('cfg/west')?.items.get('import/shop/reviews')))
    expect(held.policy.name).toMatch(/^west\/shop\/reviews@/)
    expect(held.tiers[0].members).toEqual([{ cluster: 'south', weight: 1, capacity: { requestsPerSecond: 9 } }])
  })

  test('no reason names a service that is not exported to the cluster', async () => {
    await relayOf('east').sync({ 'export/shop/hidden': exported({ consumers: ['north'] }) })
    const tcp = [{ name: 'tcp', port: 9000, protocol: 'tcp', declared: true }]
    await relayOf('north').sync({ 'export/shop/hidden': exported({ ports: tcp, consumers: ['east'] }) })
    await says('west', {
      [key]: { spec: { services: { names: ['hidden'] }, tiers: [{ targets: [{ cluster: 'east' }] }] } },
    })
    expect((await policyAt('west')).why).not.toMatch(/north/)
    await relayOf('east').sync({ 'export/shop/hidden': null })
    await relayOf('north').sync({ 'export/shop/hidden': null })
  })

  test('a flood: a hundred by name count, the rest is not even looked at, and other configs stay the very same', async () => {
    const before = await revisions(['east', 'north', 'south', 'far'])
    const many = Array.from({ length: 130 }, (_, n): [string, unknown] => [
      `policy/shop/p${String(n).padStart(3, '0')}`,
      {
        spec: {
          services: { names: ['reviews', 'ratings'].slice(n % 2) },
          tiers: [{ targets: [{ cluster: 'nobody' }] }],
        },
      },
    ])
    await says('west', Object.fromEntries(many) as Parameters<TestRelay['sync']>[0])
    const { body } = await centre.admin('GET', '/v1/global-traffic-policies?cluster=west&limit=500')
    expect(body['items']).toHaveLength(100)
    expect(await revisions(['east', 'north', 'south', 'far'])).toEqual(before)
    await says('west', Object.fromEntries(many.map(([one]) => [one, null])))
    expect((await centre.admin('GET', '/v1/global-traffic-policies?cluster=west')).body['items']).toEqual([])
  })
})

async function revisions(names: readonly string[]): Promise<unknown[]> {
  return Promise.all(
    names.map(async (name) => (await centre.admin('GET', `/v1/cluster-configs/${name}`)).body['revision']),
  )
}

describe('policy sources', () => {
  beforeEach(nothingSaid)

  test('their policies count for all, and no more once they are none', async () => {
    await says('east', { [key]: { spec: toSouth } })
    expect((await importAt('far')).policy).toBeUndefined()
    const named = await sources(['east'])
    expect([named.status, named.body['clusters']]).toEqual([200, ['east']])
    await centre.settle()
    expect(await importAt('far')).toEqual({ tiers: 'south > east+north', policy: 'east/shop/reviews' })
    expect((await policyAt('east')).why).toMatch(/callers of every cluster/)
    await sources([])
    await centre.settle()
    expect((await importAt('far')).policy).toBeUndefined()
    expect((await importAt('east')).policy).toBe('east/shop/reviews')
  })

  test('the operators’ policy of the same name goes before, the older source before the younger; both are told', async () => {
    await sources(['east', 'west'])
    await says('east', { [key]: { spec: toSouth } })
    centre.clock.now += 1000
    const younger = { ...toSouth, services: { namespace: 'shop' } }
    await says('west', { [key]: { spec: younger } })
    expect((await importAt('far')).policy).toBe('east/shop/reviews')
    expect((await conditionsAt('west')).join()).toMatch(/PolicyOverruled: .*cluster east, which is older/)
    expect((await importAt('west')).policy).toBe('west/shop/reviews')
    const api = { ...toSouth, tiers: [{ targets: [{ cluster: 'north' }] }] }
    const made = await centre.admin('PUT', '/v1/global-traffic-policies/shop/reviews', api)
    expect(made.body['warnings']).toEqual([expect.stringContaining('policy east/shop/reviews of a policy source')])
    await centre.settle()
    expect(await importAt('far')).toMatchObject({ tiers: 'north > east+south', policy: 'shop/reviews' })
    expect((await importAt('east')).policy).toBe('east/shop/reviews')
    expect((await conditionsAt('east')).join()).toMatch(/PolicyOverruled: .*the operator's own shop\/reviews/)
  })

  test('what cannot stand for all governs its own callers', async () => {
    await centre.admin('PUT', '/v1/global-traffic-policies/shop/other', toSouth)
    await sources(['east'])
    await says('east', {
      [key]: { spec: { ...toSouth, unlisted: 'never', tiers: [{ targets: [{ region: 'eu-1' }] }] } },
    })
    expect((await policyAt('east')).state).toBe('OwnCallersOnly')
    expect((await importAt('east')).policy).toBe('east/shop/reviews')
    expect((await importAt('far')).policy).toBe('shop/other')
    await centre.admin('DELETE', '/v1/global-traffic-policies/shop/other')
    await centre.settle()
    expect((await importAt('far')).policy).toBe('east/shop/reviews')
  })

  test('groups count of sources alone: nobody is let in by a member’s own', async () => {
    await relayOf('south').sync({ 'export/shop/reviews': exported({ consumers: ['group/prod'] }) })
    const isIn = async () => (await importAt('far')).tiers.includes('south')
    await says('far', { 'group/prod': { spec: { clusters: ['far'] } } })
    expect([await isIn(), (await listedGroup('far')).state]).toEqual([false, 'NotInForce'])
    await sources(['far'])
    await centre.settle()
    expect([await isIn(), (await listedGroup('far')).state]).toEqual([true, 'InForce'])
    await sources([])
    await centre.settle()
    expect([await isIn(), (await listedGroup('far')).state]).toEqual([false, 'NotInForce'])
    await relayOf('south').sync({ 'export/shop/reviews': exported() })
  })

  test('only admins name them; of members only; two at once do not overwrite each other', async () => {
    const made = await centre.admin('POST', '/v1/operator-keys', { name: 'op', role: 'operator' })
    const bearer = String(made.body['key'])
    const asked = await centre.call('PUT', '/v1/policy-sources', { bearer, body: { clusters: ['far'] } })
    expect(asked.status).toBe(403)
    const unknown = await sources(['nobody'])
    expect([unknown.status, unknown.body['detail']]).toEqual([
      400,
      expect.stringContaining('is no cluster of this mesh'),
    ])
    expect((await sources(['far'], { 'if-match': '"999"' })).status).toBe(412)
    await sources(['far'])
    const { body } = await centre.admin('GET', '/v1/audit-events?limit=1')
    expect(body['items']).toMatchObject([
      { action: 'policy-sources.set', detail: { clusters: ['far'], reason: 'test' } },
    ])
    const history = await centre.admin('GET', '/v1/history?object=mesh/policy-sources')
    expect((history.body['items'] as unknown[])[0]).toMatchObject({
      kind: 'PolicySources',
      spec: { clusters: ['far'] },
    })
  })

  async function listedGroup(cluster: string): Promise<{ state: string }> {
    const { body } = await centre.admin('GET', '/v1/sameness-groups')
    const found = (body['items'] as unknown as Listed[]).find(({ origin }) => origin === cluster)
    return { state: found?.conditions[0]?.reason ?? '' }
  }
})

describe('time', () => {
  beforeEach(nothingSaid)

  test('the history tells who changed what; rollbacks and plans of operators are not moved by it', async () => {
    await centre.admin('PUT', '/v1/global-traffic-policies/shop/other', { ...toSouth, keepUntilPercent: 50 })
    await centre.settle()
    await says('west', { [key]: { spec: { ...toSouth, keepUntilPercent: 80 } } })
    const wish = {
      kind: 'GlobalTrafficPolicy',
      namespace: 'shop',
      name: 'other',
      spec: { ...toSouth, keepUntilPercent: 60 },
    }
    const plan = await centre.admin('POST', '/v1/plans', { objects: [wish] })
    expect(plan.status).toBe(200)
    await says('west', { [key]: { spec: { ...toSouth, keepUntilPercent: 90 } } })
    expect(await importAt('west')).toMatchObject({ policy: 'west/shop/reviews' })
    const own = await centre.admin('GET', '/v1/history?limit=2&object=gtp/west/shop/reviews')
    const last = (own.body['items'] as { revision: number }[])[0]?.revision ?? 0
    expect(own.body['items']).toMatchObject([
      { id: `gtp/west/shop/reviews@${last}`, author: 'cluster:west', kind: 'GlobalTrafficPolicy' },
      { revision: last - 1 },
    ])
    const config = await centre.admin('GET', '/v1/history?object=west&limit=1')
    expect(config.body['items']).toMatchObject([
      { cause: expect.stringContaining(`policy west/shop/reviews@${last}`), author: 'cluster:west' },
    ])
    const all: string[] = []
    for (let cursor = ''; ; ) {
      const { body } = await centre.admin('GET', `/v1/history?limit=3${cursor}`)
      all.push(...(body['items'] as { id: string }[]).map(({ id }) => id))
      if (body['nextCursor'] === undefined) break
      cursor = `&cursor=${encodeURIComponent(String(body['nextCursor']))}`
    }
    expect(new Set(all).size).toBe(all.length)
    expect(all).toContain(`gtp/west/shop/reviews@${last}`)
    const back = await centre.admin('POST', '/v1/rollbacks', { object: 'gtp/west/shop/reviews', revision: last - 1 })
    expect([back.status, back.body['detail']]).toEqual([409, expect.stringContaining('cluster west')])
    const hash = String((plan.body['steps'] as { hash: string }[])[0]?.hash)
    const applied = await centre.admin('PUT', '/v1/global-traffic-policies/shop/other', wish.spec, { 'if-plan': hash })
    expect(applied.status).toBe(200)
  })

  test('an older centre’s view: items of no known kind are no error, and a key that is no name is nobody’s', async () => {
    const answer = await relayOf('west').sync({ 'policy/Shop/reviews': { spec: {} }, 'policy/x': { spec: {} } })
    expect(answer.body['rejected'] ?? []).toEqual([])
  })
})
