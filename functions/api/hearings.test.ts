import { afterAll, beforeAll, expect, test } from 'vitest'
import { openApi } from '#functions/api/app.ts'
import { epochAheadMsMax, formatEpoch } from '#mesh/wire/sync.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { facts } from '#tests/support/stores.ts'

let centre: TestCentre
let east: TestRelay
beforeAll(async () => {
  centre = await openTestCentre()
  east = await new TestRelay(centre, 'east').join()
})
afterAll(() => centre.close())

/** As a process that has not looked within the last seconds. */
async function silences(): Promise<Record<string, number>> {
  const headers = { authorization: `Bearer ${centre.adminKey}` }
  const text = await (await openApi(centre.door).request('/metrics', { headers })).text()
  const lines = text.matchAll(/^isthmus_centre_cluster_silent_seconds\{cluster="([^"]+)"\} (\S+)$/gm)
  return Object.fromEntries([...lines].map(([, cluster, seconds]) => [cluster, Number(seconds)]))
}

test('the silence of each member is measured from its last report that was taken, and of no one else', async () => {
  await centre.admin('PUT', '/v1/clusters/expected', {})
  expect((await east.sync({ cluster: facts('net-east') }, { complete: true })).status).toBe(200)
  centre.clock.now += 42_000
  expect(await silences()).toEqual({ east: 42 })
  expect((await east.sync({})).status).toBe(200)
  expect(await silences()).toEqual({ east: 0 })
  centre.clock.now += 7000
  expect((await east.sync({}, { seq: 99 })).status).toBe(409)
  expect(await silences()).toEqual({ east: 7 })

  const west = await new TestRelay(centre, 'west').join()
  expect(Object.keys(await silences()).sort()).toEqual(['east', 'west'])
  await centre.admin('DELETE', `/v1/clusters/${west.name}`)
  expect(Object.keys(await silences())).toEqual(['east'])
})

test('a report that is refused for good is a condition of its cluster until one is taken', async () => {
  const condition = async () => {
    const { body } = await centre.admin('GET', '/v1/clusters/east')
    return (body['conditions'] as { reason: string }[]).find(({ reason }) => reason === 'ReportRefused')
  }
  const { epoch, seq } = east.reporter
  const ahead = formatEpoch(centre.clock.now + epochAheadMsMax + 1000, '00000000')
  expect((await east.sync({}, { epoch: ahead, seq: 1 })).status).toBe(409)
  expect(await condition()).toMatchObject({ status: 'False', message: expect.stringContaining('set the clock') })
  const taken = seq - 1
  expect((await east.sync({}, { epoch, seq: taken })).status).toBe(200)
  expect(await condition()).toBeUndefined()
})

test('a cluster was last seen when its last report was taken, though the store is told once a minute only', async () => {
  const south = await new TestRelay(centre, 'south').join()
  const seen = async () => (await centre.admin('GET', '/v1/clusters/south')).body['lastSeenAt']
  expect((await south.sync({ cluster: facts('net-south') }, { complete: true })).status).toBe(200)
  centre.clock.now += 11_000
  expect((await south.sync({})).status).toBe(200)
  const heardAt = centre.clock.now
  centre.clock.now += 7000
  expect(await seen()).toBe(new Date(heardAt).toISOString())
})
