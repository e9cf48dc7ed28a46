import { afterAll, beforeAll, expect, test } from 'vitest'
import { lookForLost, lostTimes } from '#control/traffic/lost-exporters.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, summary } from '#tests/support/stores.ts'

let centre: TestCentre
let east: TestRelay
let west: TestRelay

beforeAll(async () => {
  centre = await openTestCentre()
  const report = { cluster: facts('net-east'), 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) }
  east = await new TestRelay(centre, 'east').join()
  await east.sync(report, { complete: true })
  west = await new TestRelay(centre, 'west').join()
  await west.sync({ cluster: facts('net-west') }, { complete: true })
  await centre.settle()
})
afterAll(() => centre.close())

const policy = (onExporterLost?: string) =>
  centre.admin('PUT', '/v1/global-traffic-policies/shop/reviews', {
    services: { names: ['reviews'] },
    ...(onExporterLost === undefined ? {} : { onExporterLost }),
  })
const look = (hearingSince = 0) => lookForLost(centre.centre, hearingSince)

/** What a relay of another cluster hears of exporters. */
async function heard(): Promise<readonly string[]> {
  await west.pull()
  return [...(west.held.get('adv/mesh1')?.items.keys() ?? [])]
}

test('silence is told where a policy asks for it, never before, and taken back by the first word', async () => {
  await policy()
  centre.clock.now += lostTimes.silentMs
  await west.sync({})
  await look()
  expect(await heard()).toEqual([])

  await policy('demote')
  await look(centre.clock.now)
  expect(await heard()).toEqual([])
  await look()
  expect(await heard()).toEqual(['lost/east'])

  await east.sync({})
  await look()
  expect(await heard()).toEqual([])
  const { items } = (await centre.admin('GET', '/v1/audit-events?limit=500')).body as {
    items: { action: string; object: string }[]
  }
  const told = items.filter(({ action }) => action.startsWith('traffic.exporter-'))
  expect(told.map(({ action, object }) => `${action} ${object}`)).toEqual([
    'traffic.exporter-heard cluster east',
    'traffic.exporter-lost cluster east',
  ])
})

test('the word ends by itself, is renewed while the silence lasts, and goes with the policy', async () => {
  await policy('drop')
  centre.clock.now += lostTimes.silentMs
  await west.sync({})
  await look()
  const until = async () => {
    await west.pull()
    return JSON.parse(west.held.get('adv/mesh1')?.items.get('lost/east') ?? '{}').until as number
  }
  const first = await until()
  expect(first).toBe(centre.clock.now + lostTimes.validMs)
  centre.clock.now += 10_000
  await look()
  expect(await until()).toBe(first)
  centre.clock.now += 25_000
  await look()
  expect(await until()).toBe(centre.clock.now + lostTimes.validMs)
  await policy()
  await look()
  expect(await heard()).toEqual([])
})
