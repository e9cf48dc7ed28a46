import { beforeAll, expect, test } from 'vitest'
import { useFleet } from '#tests/support/fleet.ts'
import { startHandshakes } from '#tests/support/handshake-load.ts'
import { type OpenStream, openTcp, sayHttp } from '#tests/support/protocol-client.ts'
import { pairsOf, podOf, rotationSpec, untilAllReach } from '#tests/support/rotation-fleet.ts'
import { startTraffic } from '#tests/support/traffic.ts'
import { eventually } from '#tests/support/until.ts'

// One cluster of three is revoked under load: how long until nobody accepts a new handshake of it, how long until the last
// old connection with it is gone, and that the two others notice nothing.

const newMsMax = 2000
const oldMsMax = 30_000
const fleet = useFleet(rotationSpec)
beforeAll(() => untilAllReach(fleet()), 60_000)

const ofOslo = (pair: string): boolean => pair.includes('oslo')

test('a revoked cluster is refused everywhere at once, and the others’ calls go on', { timeout: 120_000 }, async () => {
  const pairs = pairsOf(fleet())
  const others = [
    () => sayHttp(podOf(fleet(), 'paris').to('raven', 'http')),
    () => sayHttp(podOf(fleet(), 'rome').to('puma', 'http')),
  ]
  await Promise.all(others.map((call) => eventually(20_000, 'the others reach each other', call)))
  const load = startHandshakes(pairs, 60)
  const traffic = others.map((call) => startTraffic(50, call))
  const old = await Promise.all(
    pairs.filter(({ name }) => ofOslo(name)).map(async ({ name, target }) => [name, await openTcp(target)] as const),
  )
  for (const [name, stream] of old) expect(await stream.echoes('before'), name).toBe(true)
  expect((await load.settled()).first).toEqual([])

  const began = performance.now()
  const body = { kind: 'cluster', subject: 'oslo', reason: 'its issuing key was seen elsewhere' }
  const made = (await fleet().centre.call('POST', '/v1/revocations', body)) as { readonly cut: number }
  const ends = await Promise.all(old.map(async ([name, stream]) => [name, (await endOf(stream)) - began] as const))
  const { failedOf, answeredAt } = await load.stop()
  await Promise.all(traffic.map((one) => one.stop()))

  const lastNew = Math.max(...[...answeredAt].filter(([name]) => ofOslo(name)).map(([, at]) => at - began))
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
  const each = ends.map(([name, ms]) => `${name} ${seconds(ms)}`).join(', ')
  process.stderr.write(`revoked: last new handshake after ${seconds(lastNew)}, old connections: ${each}\n`)
  expect(ends.filter(([, ms]) => ms > oldMsMax)).toEqual([])
  expect([...failedOf.keys()].filter((name) => !ofOslo(name))).toEqual([])
  expect(traffic.flatMap((one) => one.counts().failures)).toEqual([])
  expect(failedOf.size).toBe(4)
  expect(lastNew).toBeLessThanOrEqual(newMsMax)

  type Told = { readonly newMsMax: number | null; readonly oldMsMax: number | null }
  const told = await eventually(20_000, 'the relays tell their times', async () => {
    const seen = (await fleet().centre.call('GET', `/v1/revocations/${made.cut}`)) as Told
    return seen.newMsMax !== null && seen.oldMsMax !== null ? seen : undefined
  })
  expect(told.newMsMax).toBeLessThanOrEqual(newMsMax)
  expect(told.oldMsMax).toBeLessThanOrEqual(oldMsMax)
})

test('its relay is refused, and no new token of it is taken', async () => {
  await eventually(20_000, 'the relay of oslo is refused', async () => {
    const { centre } = await fleet().cluster('oslo').status()
    return (centre as { readonly state: string }).state !== 'connected'
  })
  await expect(fleet().centre.call('POST', '/v1/clusters/oslo/join-tokens')).rejects.toThrow('409')
})

/** When the far end closed it, or never. Sends nothing: an idle connection is closed too. */
const endOf = (stream: OpenStream): Promise<number> =>
  eventually(oldMsMax + 10_000, 'the old connection ends', () => stream.ended()).then(
    () => performance.now(),
    () => Number.POSITIVE_INFINITY,
  )
