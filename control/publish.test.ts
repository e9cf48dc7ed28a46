import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { askPublish } from '#control/centre.ts'
import { newPublishMemo, publish } from '#control/publish.ts'
import { takeLease } from '#control/store/leases.ts'
import { appendWhole } from '#control/store/stream-writes.ts'
import { loadLive } from '#control/store/streams.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
  const east = await new TestRelay(centre, 'east').join()
  await new TestRelay(centre, 'west').join()
  const items = { 'export/shop/reviews': exported(), 'summary/shop/reviews': summary(2) }
  await east.sync({ cluster: facts('net-east'), gateways, ...items }, { complete: true })
  await centre.settle()
})
afterAll(() => centre.close())

const ref = () => ({ mesh: centre.centre.mesh, stream: 'ep/east/all' })
const summaries = async () => (await centre.db.read((tx) => loadLive(tx, ref()))).map((item) => item.key).toSorted()
const spoil = () => centre.db.transact((tx) => appendWhole(tx, ref(), new Map(), centre.clock.now))

test('a full comparison mends summaries too, though nothing about their readers has moved', async () => {
  await spoil()
  await centre.settle(false)
  expect(await summaries()).toEqual([])
  await centre.settle(true)
  expect(await summaries()).toEqual(['gateways', 'shop/reviews'])
})

test('clusters that left cost nothing in later rounds', async () => {
  const transactions = async () => {
    await centre.db.transact((tx) => askPublish(centre.centre, tx, { cause: 'a test', author: 'test' }))
    const spy = vi.spyOn(centre.centre.db, 'transact')
    await centre.settle(false)
    const { length } = spy.mock.calls
    spy.mockRestore()
    return length
  }
  const before = await transactions()
  for (const name of ['one', 'two', 'three']) {
    await new TestRelay(centre, name).join()
    await centre.settle(false)
    await centre.admin('DELETE', `/v1/clusters/${name}`)
  }
  await centre.settle(false)
  for (const name of ['one', 'two', 'three'])
    expect(await centre.db.read((tx) => loadLive(tx, { ...ref(), stream: `cfg/${name}` }))).toEqual([])
  expect(await transactions()).toBe(before)
})

test('who lost the lease after reading the fleet writes no summaries', async () => {
  onTestFinished(() => centre.settle(true))
  await spoil()
  const { now } = centre.clock
  const steal = () =>
    centre.db.transact((tx) =>
      takeLease(
        tx,
        { mesh: centre.centre.mesh, name: 'publish' },
        { holder: 'other', now: now + 9000, until: now + 9999 },
      ),
    )
  let reads = 0
  // Shared, as a server is: the lease counts. The fleet is the second thing that a round reads.
  const db = {
    ...{ ...centre.db, kind: 'postgres' as const },
    read: async <T>(work: Parameters<typeof centre.db.read<T>>[0]) => {
      const result = await centre.db.read(work)
      if (++reads === 2) await steal()
      return result
    },
  }
  await expect(publish({ ...centre.centre, db }, newPublishMemo(), true)).rejects.toThrow('publishes now')
  expect(await summaries()).toEqual([])
})
