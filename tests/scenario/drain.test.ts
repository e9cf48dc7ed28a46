import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Centre } from '#control/centre.ts'
import { newDrainMemo } from '#control/traffic/drain-sight.ts'
import { stepDrains } from '#control/traffic/step-drains.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, summary } from '#tests/support/stores.ts'

let centre: TestCentre
let west: TestRelay
const relays = new Map<string, TestRelay>()

beforeAll(async () => {
  centre = await openTestCentre()
  for (const [n, name] of ['east', 'north'].entries()) {
    const relay = await new TestRelay(centre, name).join()
    const gateways = { gateways: [10, 11].map((at) => ({ address: `10.${n}.0.${at}`, port: 15443, state: 'ready' })) }
    const said = { 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) }
    relays.set(name, relay)
    await relay.sync({ cluster: facts(`net-${name}`), gateways, ...said }, { complete: true })
  }
  west = await new TestRelay(centre, 'west').join()
  relays.set('west', west)
  await west.sync({ cluster: facts('net-west') }, { complete: true })
  await centre.settle()
})
afterAll(() => centre.close())
beforeEach(async () => {
  await centre.admin('DELETE', '/v1/freeze')
  await undoAll()
  await untilStill()
})

type Drain = { readonly id: string; readonly state: string; readonly percent: number; readonly why: string }

const begin = (subject: string, more: object = {}) =>
  centre.admin('POST', '/v1/drains', { kind: 'cluster', subject, overSeconds: 10, graceSeconds: 30, ...more })
const read = async (id: unknown) => (await centre.admin('GET', `/v1/drains/${id}`)).body as Drain
const step = () => stepDrains(centre.centre, newDrainMemo())

async function undoAll(): Promise<void> {
  const { items } = (await centre.admin('GET', '/v1/drains')).body as { items: Drain[] }
  for (const { id, state } of items) if (state !== 'undone') await centre.admin('POST', `/v1/drains/${id}/undo`, {})
}

/** Steps, each as soon as it is due, until nothing moves. */
async function untilStill(): Promise<void> {
  for (let left = 40; (await step()) > 0 && left > 0; left--) centre.clock.now += 3000
}

async function untilStillAt(id: unknown, state: string): Promise<void> {
  for (let left = 40; left > 0 && (await read(id)).state !== state; left--) {
    await step()
    centre.clock.now += 3000
  }
}

/** What a relay of another cluster hears. */
async function heard(): Promise<readonly unknown[]> {
  await west.pull()
  const items = west.held.get('adv/mesh1')?.items ?? new Map<string, string>()
  return [...items].map(([key, body]) => (key === 'freeze' ? 'frozen' : JSON.parse(body)))
}

const audited = async (id: unknown): Promise<readonly string[]> => {
  const { items } = (await centre.admin('GET', '/v1/audit-events?limit=500')).body as {
    items: { action: string; detail: { id?: string; percent?: number } }[]
  }
  const theirs = items.filter(({ action, detail }) => action.startsWith('drain.') && detail.id === id)
  return theirs.toReversed().map(({ action, detail }) => `${action} ${detail.percent ?? ''}`.trim())
}

describe('a drain of a cluster', () => {
  test('goes by steps that every relay hears, each of them in the audit log, and comes back in one call', async () => {
    const { id } = (await begin('east')).body
    const seen: unknown[] = []
    for (const n of [1, 2, 3, 4, 5]) {
      await step()
      seen.push(...(await heard()))
      centre.clock.now += n === 1 ? 29_999 : 1999
      await step()
      // Relays that have never told what they follow are waited for, once.
      const why = n === 1 ? /^north, west have never told what it follows; it is waited for 30 s$/ : /the next|its time/
      expect((await read(id)).why).toMatch(why)
      centre.clock.now += 1
    }
    expect((await read(id)).why).toContain('has its time')
    const item = { kind: 'cluster', cluster: 'east', phase: 'ramping' }
    expect(seen).toEqual([75, 50, 25, 10, 0].map((percent) => ({ ...item, percent })))
    centre.clock.now += 10_000
    await step()
    expect(await heard()).toEqual([{ ...item, percent: 0, phase: 'closing' }])
    await centre.admin('POST', `/v1/drains/${id}/undo`, { reason: 'it was a rehearsal' })
    expect(await heard()).toEqual([{ ...item, percent: 0 }])
    await untilStill()
    expect([await read(id), await heard()]).toEqual([expect.objectContaining({ state: 'undone', percent: 100 }), []])
    expect(await audited(id)).toEqual([
      ...['drain.start', ...[75, 50, 25, 10, 0].map((percent) => `drain.step ${percent}`), 'drain.closing 0'],
      ...['drain.undo 0', 'drain.step 50', 'drain.undone 100'],
    ])
  })

  test('of two operators the second is told that nobody would be left', async () => {
    const [first, second] = await Promise.all([begin('east'), begin('north')])
    expect([first.status, second.status].toSorted()).toEqual([201, 409])
    const [won, lost] = first.status === 201 ? ['east', second] : ['north', first]
    expect(lost.body['violations']).toEqual([
      { path: 'shop/reviews for callers of west', reason: `nobody would be left: ${won} is drained too` },
    ])
    const again = await begin(won)
    expect([again.status, again.body['detail']]).toEqual([409, expect.stringContaining('is drained already')])
  })

  test('it waits while a survivor has nothing ready, says for whom, and goes on once it has', async () => {
    const { id } = (await begin('east')).body
    const north = relays.get('north')
    const ready = async (pods: number) => {
      await north?.sync({ 'summary/shop/reviews': summary(pods) })
      await centre.settle()
    }
    await step()
    await ready(0)
    // Its relays never told what they follow: they are waited for so long.
    centre.clock.now += 31_000
    const memo = newDrainMemo()
    for (const _ of [1, 2]) await stepDrains(centre.centre, memo)
    const { percent, why } = await read(id)
    await ready(2)
    centre.clock.now += 3000
    await stepDrains(centre.centre, memo)
    expect([percent, why]).toEqual([
      75,
      'it waits: shop/reviews for callers of north: nobody would be left: ' +
        'north has no ready pod, no gateway, or no place in its tiers (and 1 more)',
    ])
    expect((await read(id)).percent).toBe(50)
  })

  test('of a cluster that leaves ends with it, also when it was done: who joins by that name is not drained', async () => {
    await new TestRelay(centre, 'south').join()
    const { id } = (await begin('south', { overSeconds: 0, graceSeconds: 0 })).body
    await untilStillAt(id, 'done')
    expect((await centre.admin('DELETE', '/v1/clusters/south')).status).toBeLessThan(300)
    await step()
    expect(await read(id)).toMatchObject({ state: 'undone', why: 'its cluster is no member any more' })
    expect(await heard()).toEqual([])
  })

  test('rehearsed, it says what it would say, refuses what it would refuse, and begins nothing', async () => {
    const rehearse = (subject: string) =>
      centre.admin('POST', '/v1/drains?dryRun=true', { kind: 'cluster', subject, overSeconds: 30 })
    const answer = await rehearse('east')
    expect([answer.status, answer.body]).toEqual([
      200,
      {
        ...{ kind: 'cluster', subject: 'east', steps: [75, 50, 25, 10, 0], overSeconds: 30, graceSeconds: 60 },
        warnings: [expect.stringContaining('no capacity is declared of those that take over shop/reviews')],
      },
    ])
    expect(await heard()).toEqual([])
    await begin('north')
    expect([(await rehearse('east')).status, (await rehearse('north')).status]).toEqual([409, 409])
  })

  test('on its way back it cannot be drained again at once, and that is said', async () => {
    const { id } = (await begin('east')).body
    await step()
    await centre.admin('POST', `/v1/drains/${id}/undo`, {})
    const again = await begin('east')
    expect([again.status, again.body['detail']]).toEqual([409, expect.stringContaining('is on its way back')])
  })

  test('the same request again is the same drain', async () => {
    const ask = () =>
      centre.admin('POST', '/v1/drains', { kind: 'cluster', subject: 'east' }, { 'idempotency-key': 'once' })
    const [first, second] = [await ask(), await ask()]
    expect([second.status, second.body['id']]).toEqual([201, first.body['id']])
  })
})

test.each([
  ['of another form', { kind: 'service', subject: 'east' }, 400, '<cluster>/<namespace>/<service>'],
  ['that nobody has', { kind: 'cluster', subject: 'atlantis' }, 404, 'no member cluster atlantis'],
  ['that is no gateway there', { kind: 'gateway', subject: 'east/10.9.9.9:15443' }, 404, 'has no gateway'],
  ['that is not exported there', { kind: 'service', subject: 'east/shop/ratings' }, 404, 'exports no service'],
  ['forced without a word', { kind: 'cluster', subject: 'east', force: true }, 400, 'says why it is forced'],
])('a subject %s is refused', async (_, spec, status, text) => {
  const answer = await centre.admin('POST', '/v1/drains', spec)
  expect([answer.status, answer.body['detail']]).toEqual([status, expect.stringContaining(text)])
})

test('of two gateways one goes at once; the other is refused then', async () => {
  const { id } = (await begin('east/10.0.0.10:15443', { kind: 'gateway' })).body
  await step()
  expect(await read(id)).toMatchObject({ state: 'ramping', percent: 0 })
  const other = await begin('east/10.0.0.11:15443', { kind: 'gateway' })
  expect([other.status, other.body['detail']]).toEqual([409, expect.stringContaining('no other gateway of east')])
})

test('a drain of a service is in the configs of those who may know it, and in nobody else’s ears', async () => {
  const { id } = (await begin('east/shop/reviews', { kind: 'service' })).body
  await step()
  await centre.settle()
  expect(await heard()).toEqual([])
  const held = String(west.held.get('cfg/west')?.items.get('import/shop/reviews'))
  expect(JSON.parse(held).drains).toEqual([{ cluster: 'east', percent: 75 }])
  await centre.admin('POST', `/v1/drains/${id}/undo`, {})
  await untilStill()
  await centre.settle()
  await west.pull()
  expect(JSON.parse(String(west.held.get('cfg/west')?.items.get('import/shop/reviews'))).drains).toBeUndefined()
})

test('a freeze is heard by all, and ends', async () => {
  const put = await centre.admin('PUT', '/v1/freeze', { reason: 'a day of quiet' })
  expect([put.status, put.body['reason'], await heard()]).toEqual([200, 'a day of quiet', ['frozen']])
  expect((await centre.admin('PUT', '/v1/freeze', { reason: 'another' })).body['reason']).toBe('a day of quiet')
  expect((await centre.admin('DELETE', '/v1/freeze')).status).toBe(204)
  expect([(await centre.admin('GET', '/v1/freeze')).body, await heard()]).toEqual([{ frozen: false }, []])
})

test('a policy that is deleted in the middle changes the order of clusters, and no share', async () => {
  const policy = '/v1/global-traffic-policies/shop/reviews'
  const tiers = [{ targets: [{ cluster: 'north' }] }, { targets: [{ cluster: 'east' }] }]
  expect((await centre.admin('PUT', policy, { services: { names: ['reviews'] }, tiers })).status).toBe(201)
  const { id } = (await begin('east')).body
  await step()
  await centre.admin('DELETE', policy)
  await centre.settle()
  expect(await heard()).toEqual([expect.objectContaining({ cluster: 'east', percent: 75 })])
  expect(JSON.parse(String(west.held.get('cfg/west')?.items.get('import/shop/reviews'))).policy).toBeUndefined()
  await untilStillAt(id, 'proving')
  expect(await heard()).toEqual([expect.objectContaining({ percent: 0, phase: 'proving' })])
})

test('a centre that is killed in each step, before it is stored and right after, goes on as if it had not been', async () => {
  const { db } = centre.centre
  const faults = ['rolled back', 'committed, and nobody was told'] as const
  let made = 0
  const transact: Centre['db']['transact'] = async (work) => {
    const how = faults[made++ % faults.length]
    await db.transact(async (tx) => {
      await work(tx)
      if (how === 'rolled back') throw new Error(how)
    })
    throw new Error(how)
  }
  const mortal: Centre = { ...centre.centre, db: { ...db, transact } }
  const { id } = (await begin('east', { overSeconds: 0, graceSeconds: 0 })).body
  const on = async (state: string) => {
    for (let left = 100; left > 0 && (await read(id)).state !== state; left--) {
      // Whoever begins again remembers nothing.
      const died = await stepDrains(mortal, newDrainMemo()).then(
        () => false,
        (error: Error) => faults.some((how) => how === error.message),
      )
      if (!died) centre.clock.now += 3000
    }
  }
  await on('proving')
  await centre.admin('POST', `/v1/drains/${id}/undo`, {})
  await on('undone')
  expect(made).toBeGreaterThan(20)
  expect([(await read(id)).state, await heard()]).toEqual(['undone', []])
  expect(await audited(id)).toEqual([
    ...['drain.start', ...[75, 50, 25, 10, 0].map((percent) => `drain.step ${percent}`)],
    ...['drain.closing 0', 'drain.proving 0', 'drain.undo 0', 'drain.step 50', 'drain.undone 100'],
  ])
})

// The last: relays that have once told what they follow are waited for from then on.
describe('with relays that measure', () => {
  let seq = 0
  const books = 'shop/reviews'
  const calls = (callee: string, issued: number, errors = 0) => ({
    ...{ service: books, callee, issued, ok: issued - errors, errors, active: 0 },
  })
  /** What the relay of a cluster reports now, following all that it was told or only what it knew at `rev`. */
  async function told(
    name: string,
    rows: readonly object[],
    more: { rev?: number; gateways?: readonly object[]; windowMs?: number } = {},
  ) {
    const relay = relays.get(name)
    if (!relay) throw new Error(`there is no relay of ${name}`)
    await relay.pull()
    const adv = relay.held.get('adv/mesh1')
    const body = {
      ...{ epoch: '0123456789abcdef', seq: ++seq, at: centre.clock.now, cfg: null, rows },
      ...{ proxies: { measured: 1, notMeasured: 0 }, routers: { measured: 1, notMeasured: 0 } },
      ...{ gateways: more.gateways ?? [], latencies: [], shares: [], below: [], health: [], acked: [] },
      windowMs: more.windowMs ?? 10_000,
      adv: adv ? { epoch: adv.epoch, rev: more.rev ?? adv.rev } : null,
    }
    const path = `/v1/clusters/${relay.id}/load`
    const answer = await centre.call('PUT', path, { bearer: relay.bearer, body })
    expect([answer.status, answer.body['rejected']]).toEqual([200, undefined])
    return adv?.rev ?? 0
  }
  const all = async (rows: readonly object[] = []) => {
    centre.clock.now += 11_000
    for (const name of ['west', 'north', 'east']) await told(name, name === 'east' ? [] : rows)
  }

  afterEach(async () => {
    await undoAll()
    for (let left = 20; (await step()) > 0 && left > 0; left--) await all()
  })

  test('a step waits for the relay that does not follow, and the end for two windows of silence everywhere', async () => {
    await all([calls('east', 50)])
    const { id } = (await begin('east', { overSeconds: 0, graceSeconds: 0 })).body
    await step()
    const rev = await told('west', [], { rev: 0 })
    await told('north', [])
    for (const _ of [1, 2, 3]) await step()
    expect(await read(id)).toMatchObject({ percent: 75, why: 'west does not follow the last step yet' })
    await told('west', [], { rev })
    await step()
    expect((await read(id)).percent).toBe(50)
    const memo = newDrainMemo()
    const go = async (rows: readonly object[] = []) => {
      await all(rows)
      await stepDrains(centre.centre, memo)
    }
    for (let left = 30; left > 0 && (await read(id)).state !== 'proving'; left--) await go()
    await go([calls('east', 1)])
    expect((await read(id)).why).toBe(
      'waits for 2 reports in a row without a call, of east, north (1 left), west (1 left)',
    )
    for (const _ of [1, 2]) {
      // What is told without a window proves nothing.
      for (const name of ['west', 'north', 'east']) await told(name, [], { windowMs: 0 })
      await stepDrains(centre.centre, memo)
      expect((await read(id)).state).toBe('proving')
      await go()
    }
    expect(await read(id)).toMatchObject({
      state: 'done',
      proof: expect.stringMatching(/^0 calls .* from north, west/),
    })
  })

  test('callers that fail more than before stop it where it is; a person decides', async () => {
    await all([calls('east', 50, 1), calls('north', 50)])
    const { id } = (await begin('east', { overSeconds: 0 })).body
    const memo = newDrainMemo()
    await stepDrains(centre.centre, memo)
    for (const errors of [1, 9, 10]) {
      await all([calls('east', 50), calls('north', 50, errors)])
      await stepDrains(centre.centre, memo)
    }
    const { state, percent, why } = await read(id)
    expect([state, why]).toEqual([
      'stopped',
      expect.stringMatching(/^10 of 100 calls of \w+ failed \(10.0 %; before it began 1.0 %\)/),
    ])
    await all([calls('east', 50)])
    await stepDrains(centre.centre, memo)
    expect((await read(id)).percent).toBe(percent)
    expect(await audited(id)).toContain(`drain.stopped ${percent}`)
  })

  test('who is left and declared less than is asked is named, with the numbers; --force passes and is remembered', async () => {
    const policy = '/v1/global-traffic-policies/shop/reviews'
    const targets = [{ cluster: 'north', capacity: { requestsPerSecond: 60 } }, { cluster: 'east' }]
    await centre.admin('PUT', policy, { services: { names: ['reviews'] }, tiers: [{ targets }] })
    await all([calls('east', 500)])
    const refused = await begin('east')
    expect([refused.status, refused.body['violations']]).toEqual([
      ...[
        409,
        [
          {
            path: books,
            reason: 'north declares 60 requests per second, and would be asked for 100: nobody else has room',
          },
        ],
      ],
    ])
    const forced = await begin('east', { force: true, reason: 'they exaggerate' })
    expect(forced.status).toBe(201)
    const { items } = (await centre.admin('GET', '/v1/audit-events?limit=5')).body as { items: { detail: object }[] }
    expect(items[0]?.detail).toMatchObject({ reason: 'they exaggerate', forced: [expect.stringContaining('60')] })
    await centre.admin('DELETE', policy)
  })
})
