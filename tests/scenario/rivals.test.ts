import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatEpoch, rivalMsMax } from '#mesh/wire/sync.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { facts } from '#tests/support/stores.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

test('two relays report as one cluster: the centre names them, until one of them is gone', async () => {
  const relay = await new TestRelay(centre, 'virginia-1').join()
  const conditions = async () => {
    const { body } = await centre.admin('GET', '/v1/clusters/virginia-1')
    const { body: all } = await centre.admin('GET', '/v1/clusters')
    const [listed] = all['items'] as Record<string, unknown>[]
    expect(listed?.['conditions']).toEqual(body['conditions'])
    return JSON.stringify(body['conditions'])
  }
  relay.reporter.restart(formatEpoch(centre.clock.now, 'aaaaaaaa'))
  await relay.sync({ cluster: facts('net-a') }, { complete: true })
  expect(await conditions()).not.toContain('TwoRelays')

  centre.clock.now += 20_000
  relay.reporter.restart(formatEpoch(centre.clock.now, 'bbbbbbbb', 'aaaaaaaa'))
  await relay.sync({ cluster: facts('net-a') }, { complete: true })
  const said = await conditions()
  expect(said).toContain('"reason":"TwoRelays"')
  expect(said).toContain('two relays report as virginia-1 (instances bbbbbbbb and aaaaaaaa)')

  centre.clock.now += rivalMsMax + 1
  expect(await conditions()).not.toContain('TwoRelays')
})
