import { afterAll, beforeAll, expect, test } from 'vitest'
import { lockStream, writeItems } from '#control/store/stream-writes.ts'
import { newOutbox } from '#gateway/uplink/outbox.ts'
import { reportStream } from '#mesh/wire/stream.ts'
import { epochAheadMsMax, formatEpoch, isEpoch } from '#mesh/wire/sync.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { epochOf, exported, facts, summary } from '#tests/support/stores.ts'

/** A cluster's own token is no licence to shut its cluster out: what an epoch may be, and when it counts for nothing. */
let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

const service = { 'export/shop/web': exported(), 'summary/shop/web': summary(1) }
const random = '0123abcd'

test('what the relay makes is an epoch, and the next one sorts after it', () => {
  const first = newOutbox(Date.now(), random).epoch
  expect([first, newOutbox(Date.now(), random, first).epoch].map(isEpoch)).toEqual([true, true])
  expect(newOutbox(Date.now() - 60_000, random, first).epoch > first).toBe(true)
})

test.each([
  '',
  'e1',
  '~',
  'zzzzzzzzzz',
  `${'z'.repeat(11)}-${random}`,
  `0000000001-${random}0`,
  `0000000001-${random}\n`,
])('the epoch %j is none: refused by name', async (epoch) => {
  const relay = await new TestRelay(centre, 'odd').join()
  const answer = await relay.sync({ cluster: facts('net-odd') }, { epoch })
  expect(answer).toMatchObject({ status: 400, body: { violations: [{ path: 'epoch' }] } })
})

test('an epoch from the future is refused and says whose clock; what clocks may differ is taken', async () => {
  const relay = await new TestRelay(centre, 'early').join()
  const at = (ms: number) => formatEpoch(centre.clock.now + ms, random)
  const answer = await relay.sync({ cluster: facts('net-early') }, { epoch: at(epochAheadMsMax + 3000) })
  expect(answer).toMatchObject({
    status: 409,
    body: {
      detail: expect.stringMatching(/603 s ahead of the centre's clock .*set the clock of the relay's machine \(NTP\)/),
      ...{ epochAheadMs: epochAheadMsMax + 3000, time: centre.clock.now, needSeq: 1, epoch: '' },
    },
  })
  relay.reporter.restart(at(epochAheadMsMax))
  expect((await relay.sync({ cluster: facts('net-early') })).status).toBe(200)
})

test('a store that holds an epoch from the future takes the next one that is not', async () => {
  const relay = await new TestRelay(centre, 'skewed').join()
  await centre.db.transact(async (tx) => {
    const rep = await lockStream(tx, { mesh: 'mesh1', stream: reportStream('skewed') }, centre.clock.now)
    await writeItems(tx, rep, [], { now: centre.clock.now, set: { srcEpoch: `zzzzzzzzzz-${random}`, srcSeq: 9 } })
  })
  expect(await relay.sync(service, { complete: true })).toMatchObject({ status: 200, body: { appliedSeq: 1 } })
})

test('a cluster that joins anew begins anew, and what it exported stays until it has reported', async () => {
  const relay = await new TestRelay(centre, 'west').join()
  relay.reporter.restart(formatEpoch(centre.clock.now, random))
  await relay.sync({ cluster: facts('net-west'), ...service }, { complete: true })
  const again = await new TestRelay(centre, 'west').join()
  again.reporter.restart(epochOf(1))
  const services = async () => JSON.stringify((await centre.admin('GET', '/v1/services')).body)
  expect(await services()).toContain('shop/web')
  expect(await again.sync({ cluster: facts('net-west') })).toMatchObject({ status: 200, body: { appliedSeq: 1 } })
  expect(await services()).toContain('shop/web')
  await again.sync({}, { complete: true })
  expect(await services()).not.toContain('"west"')
})
