import { afterEach, describe, expect, test } from 'vitest'
import { stepRotations } from '#control/trust/rotate.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

let centre: TestCentre | undefined
afterEach(async () => {
  await centre?.close()
  centre = undefined
})

async function meshOf(...names: string[]): Promise<{ test: TestCentre; relays: TrustingRelay[] }> {
  const test = await openTestCentre()
  centre = test
  const relays: TrustingRelay[] = []
  for (const name of names) relays.push(await TrustingRelay.join(test, name))
  await test.settle()
  for (const relay of relays) await relay.keepUp()
  return { test, relays }
}

const begin = async (test: TestCentre, kind = 'root', more: object = {}) => {
  const { status, body } = await test.admin('POST', '/v1/rotations', { kind, ...more })
  expect([status, body['detail']]).toEqual([201, undefined])
  return String(body['id'])
}
const rotationOf = async (test: TestCentre, id: string) => (await test.admin('GET', `/v1/rotations/${id}`)).body
const statesOf = async (test: TestCentre, kind: string) =>
  ((await test.admin('GET', '/v1/authorities')).body['items'] as { kind: string; state: string }[])
    .filter((one) => one.kind === kind)
    .map(({ state }) => state)

describe('a rotation', () => {
  test.each(['root', 'control-plane'])(
    'of the %s goes from step to step as the relays say they are ready',
    async (kind) => {
      const { test, relays } = await meshOf('east', 'west')
      const [east, west] = relays as [TrustingRelay, TrustingRelay]
      const id = await begin(test, kind)
      expect(await rotationOf(test, id)).toMatchObject({
        step: 'published',
        state: 'running',
        progress: { done: 0, of: 2 },
      })
      expect(await statesOf(test, kind)).toEqual(['active', 'published'])

      await east.take()
      await east.tell()
      await stepRotations(test.centre)
      expect(await rotationOf(test, id)).toMatchObject({
        step: 'published',
        progress: { done: 1, of: 2 },
      })

      await west.take()
      await west.tell()
      await stepRotations(test.centre)
      expect(await rotationOf(test, id)).toMatchObject({ step: 'active' })
      expect(await statesOf(test, kind)).toEqual(['tainted', 'active'])

      // What is active is believed; nothing of it is in use yet.
      for (const relay of relays) await (await relay.take()).tell()
      await stepRotations(test.centre)
      const what = kind === 'root' ? 'issuing' : 'serving'
      expect(await rotationOf(test, id)).toMatchObject({ step: 'active', waitsFor: [{ what }, { what }] })

      for (const relay of relays) await relay.renewed().tell()
      await stepRotations(test.centre)
      expect(await rotationOf(test, id)).toMatchObject({ step: 'revoked', state: 'running' })
      expect(await statesOf(test, kind)).toEqual(['revoked', 'active'])

      for (const relay of relays) await relay.keepUp()
      await stepRotations(test.centre)
      expect(await rotationOf(test, id)).toMatchObject({ step: 'revoked', state: 'done', waitsFor: [] })
      expect(relays.map(({ fault }) => fault)).toEqual([undefined, undefined])
      const list = kind === 'root' ? east.bundle?.roots : east.bundle?.controlPlane
      expect(list?.map(({ state }) => state)).toEqual(['active'])
    },
  )

  test('a relay that joins at any step finds its way into the chain', async () => {
    const { test, relays } = await meshOf('east')
    const [east] = relays as [TrustingRelay]
    const id = await begin(test, 'control-plane')
    for (let n = 0; n < 4; n++) {
      const late = await TrustingRelay.join(test, `late-${n}`)
      await test.settle()
      await late.take()
      expect([n, late.fault]).toEqual([n, undefined])
      for (const relay of [...relays, late]) await relay.keepUp()
      relays.push(late)
      await stepRotations(test.centre)
    }
    expect(east.fault).toBeUndefined()
    for (const relay of relays) await relay.keepUp()
    await stepRotations(test.centre)
    expect(await rotationOf(test, id)).toMatchObject({ state: 'done' })
  })

  test('two at once: the second is refused and says which one runs', async () => {
    const { test } = await meshOf('east')
    const id = await begin(test)
    const second = await test.admin('POST', '/v1/rotations', { kind: 'root' })
    expect(second).toMatchObject({ status: 409, body: { id, detail: expect.stringContaining('runs already') } })
    await begin(test, 'control-plane')
    expect(await statesOf(test, 'root')).toEqual(['active', 'published'])
  })

  test('two that begin in the same moment: one runs', async () => {
    const { test } = await meshOf()
    const both = await Promise.all([1, 2].map(() => test.admin('POST', '/v1/rotations', { kind: 'root' })))
    expect(both.map(({ status }) => status).toSorted()).toEqual([201, 409])
  })

  test('one relay that never acknowledges is named and blocks; by force it is passed, which is kept', async () => {
    const { test, relays } = await meshOf('east', 'west')
    const [east, west] = relays as [TrustingRelay, TrustingRelay]
    const id = await begin(test)
    await east.keepUp()
    west.said = { acked: 1, missing: ['shop/web-1: not connected'], missingCount: 1 }
    await west.keepUp()
    await stepRotations(test.centre)
    const waits = { cluster: 'west', what: 'proxies', detail: expect.stringContaining('shop/web-1: not connected') }
    expect(await rotationOf(test, id)).toMatchObject({ step: 'published', waitsFor: [waits] })
    await test.admin('POST', `/v1/rotations/${id}/continue`, {})
    expect(await rotationOf(test, id)).toMatchObject({ step: 'published' })
    const refused = await test.admin('POST', `/v1/rotations/${id}/continue`, { force: {} })
    expect(refused.status).toBe(400)
    const forced = await test.admin('POST', `/v1/rotations/${id}/continue`, {
      force: { reason: 'west is being rebuilt' },
    })
    expect(forced.body).toMatchObject({
      step: 'active',
      forced: [{ step: 'published', reason: 'west is being rebuilt', missing: [{ cluster: 'west', what: 'proxies' }] }],
    })
    const { items } = (await test.admin('GET', '/v1/audit-events')).body as { items: { name: string }[] }
    expect(items.map(({ name }) => name)).toContain('rotation.force')
  })

  test('a relay that is silent for three minutes blocks whatever it said', async () => {
    const { test, relays } = await meshOf('east', 'west')
    const id = await begin(test)
    for (const relay of relays) await relay.take()
    await relays[0]?.tell()
    await relays[1]?.tell()
    test.clock.now += 3 * 60_000 + 1
    await relays[0]?.tell()
    await stepRotations(test.centre)
    expect(await rotationOf(test, id)).toMatchObject({ waitsFor: [{ cluster: 'west', what: 'unreachable' }] })
  })

  test('aborted before it is active: the new one goes from every bundle; after, it is refused', async () => {
    const { test, relays } = await meshOf('east')
    const [east] = relays as [TrustingRelay]
    const first = await begin(test)
    await east.take()
    expect(east.bundle?.roots).toHaveLength(2)
    const aborted = await test.admin('POST', `/v1/rotations/${first}/abort`, { reason: 'not today' })
    expect(aborted.body).toMatchObject({ state: 'aborted' })
    await east.take()
    expect([east.fault, east.bundle?.roots.map(({ state }) => state)]).toEqual([undefined, ['active']])
    expect(await statesOf(test, 'root')).toEqual(['active', 'revoked'])

    const second = await begin(test)
    await east.keepUp()
    await stepRotations(test.centre)
    expect(await rotationOf(test, second)).toMatchObject({ step: 'active', to: { number: 3 } })
    const late = await test.admin('POST', `/v1/rotations/${second}/abort`, { reason: 'oh' })
    expect(late).toMatchObject({ status: 409, body: { detail: expect.stringContaining('can only go on') } })
  })

  test('rehearsed, it names what each step would wait for, and nothing is made', async () => {
    const { test } = await meshOf('east')
    const { status, body } = await test.admin('POST', '/v1/rotations', { kind: 'root', dryRun: true })
    expect(status).toBe(200)
    expect((body['steps'] as { step: string }[]).map(({ step }) => step)).toEqual([
      ...['prepared', 'published', 'active', 'tainted', 'revoked'],
    ])
    expect(await statesOf(test, 'root')).toEqual(['active'])
  })
})
