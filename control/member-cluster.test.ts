import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { restoreReports } from '#control/store/reported-facts.ts'
import { items, streams } from '#control/store/schema/stream.ts'
import { loadLive } from '#control/store/streams.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported } from '#tests/support/stores.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

describe('a cluster that left and came back', () => {
  test('exports nothing of its former life, also after the streams were lost and came back from its facts', async () => {
    const east = await new TestRelay(centre, 'east').join()
    await east.sync({ 'export/shop/reviews': exported() }, { complete: true })
    expect((await centre.admin('DELETE', '/v1/clusters/east')).status).toBe(200)
    await new TestRelay(centre, 'east').join()
    const live = await centre.db.transact(async (tx) => {
      await tx.delete(items)
      await tx.delete(streams)
      await restoreReports(tx, centre.clock.now)
      return loadLive(tx, { mesh: centre.centre.mesh, stream: 'rep/east' })
    })
    expect(live.map((item) => item.key)).toEqual([])
  })
})
