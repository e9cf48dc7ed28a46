import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Json } from '#mesh/model/canonical.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

test('a newcomer that calls its export the oldest does not take a service from those who had it before', async () => {
  const report = async (name: string, network: string, more: Readonly<Record<string, Json>>) => {
    const relay = await new TestRelay(centre, name).join()
    const items = {
      cluster: facts(network),
      gateways,
      'export/shop/reviews': exported(more),
      'summary/shop/reviews': summary(2),
    }
    await relay.sync(items, { complete: true })
    centre.clock.now += 60_000
    return relay
  }
  await report('east', 'net-east', {})
  const west = await new TestRelay(centre, 'west').join()
  const odd = [{ name: 'http', port: 9080, protocol: 'tcp', declared: true }]
  await report('newcomer', 'net-new', { createdAt: 0, ports: odd })
  await centre.settle()
  await west.pull()
  const seen = west.held.get('cfg/west')?.items.get('import/shop/reviews') ?? ''
  expect(seen).toContain('"cluster":"east"')
  expect(seen).not.toContain('newcomer')
})

test('a gateway address belongs to the member that reported it first; a second one is told, and changes nothing', async () => {
  const mine = { gateways: [{ address: '203.0.113.9', port: 15443, state: 'ready' }] }
  const first = await new TestRelay(centre, 'holder').join()
  const thief = await new TestRelay(centre, 'thief').join()
  const items = (network: string) => ({
    cluster: facts(network),
    gateways: mine,
    'export/shop/carts': exported(),
    'summary/shop/carts': summary(2),
  })
  expect((await first.sync(items('net-holder'), { complete: true })).body['rejected']).toBeUndefined()
  const { body } = await thief.sync(items('net-thief'), { complete: true })
  expect(body['rejected']).toEqual([
    { key: 'gateways', reason: expect.stringContaining('203.0.113.9:15443 is a gateway of cluster holder already') },
  ])
  await centre.settle()
  const reader = await new TestRelay(centre, 'reader').join()
  await reader.pull()
  expect(reader.held.get('ep/holder/all')?.items.has('gateways')).toBe(true)
  expect(reader.held.get('ep/thief/all')?.items.has('gateways')).toBe(false)
})
