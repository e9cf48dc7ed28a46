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
