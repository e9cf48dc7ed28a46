import { afterAll, beforeAll, expect, test } from 'vitest'
import { newDrainMemo, stepDrains } from '#control/traffic/step-drains.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
let west: TestRelay

beforeAll(async () => {
  centre = await openTestCentre()
  for (const name of ['east', 'north']) {
    const relay = await new TestRelay(centre, name).join()
    const said = { 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) }
    await relay.sync({ cluster: facts(`net-${name}`), gateways, ...said }, { complete: true })
  }
  west = await new TestRelay(centre, 'west').join()
  await west.sync({ cluster: facts('net-west') }, { complete: true })
  await centre.settle()
})
afterAll(() => centre.close())

const step = () => stepDrains(centre.centre, newDrainMemo())

test('thin', async () => {
  const made = await centre.admin('POST', '/v1/drains', { kind: 'cluster', subject: 'east', overSeconds: 10 })
  console.log(made.status, made.body)
  const second = await centre.admin('POST', '/v1/drains', { kind: 'cluster', subject: 'north', overSeconds: 10 })
  console.log(second.status, second.body)
  for (let n = 0; n < 8; n++) {
    await step()
    const { body } = await centre.admin('GET', `/v1/drains/${made.body['id']}`)
    await west.pull()
    console.log(body['state'], body['percent'], body['why'], [...(west.held.get('adv/mesh1')?.items ?? [])])
    centre.clock.now += 2100
  }
  expect(1).toBe(1)
})
