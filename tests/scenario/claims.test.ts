import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Json } from '#mesh/model/canonical.ts'
import { holdersOf } from '#mesh/translate/holders.ts'
import type { StreamName } from '#mesh/wire/stream.ts'
import { parseSummaries } from '#mesh/wire/summaries.ts'
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
  const old = await new TestRelay(centre, 'oldest').join()
  await old.sync({ cluster: facts('net-oldest'), gateways }, { complete: true })
  centre.clock.now += 60_000
  await report('east', 'net-east', {})
  const west = await new TestRelay(centre, 'west').join()
  const odd = [{ name: 'http', port: 9080, protocol: 'tcp', declared: true }]
  await report('newcomer', 'net-new', { createdAt: 0, ports: odd })
  // A member from the start that exports it only now is no older for that.
  await old.sync({ 'export/shop/reviews': exported({ createdAt: 0, ports: odd }), 'summary/shop/reviews': summary(2) })
  await centre.settle()
  await west.pull()
  const seen = west.held.get('cfg/west')?.items.get('import/shop/reviews') ?? ''
  expect(seen).toContain('"cluster":"east"')
  expect(seen).not.toContain('newcomer')
  expect(seen).not.toContain('oldest')
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

test('a host name of a gateway belongs to its first member too; it travels as a name, and names that mean nothing are refused', async () => {
  const named = (address: string) => ({ gateways: [{ address, port: 15443, state: 'ready' }] })
  const items = (network: string, address: string) => ({
    cluster: facts(network),
    gateways: named(address),
    'export/shop/carts': exported(),
    'summary/shop/carts': summary(2),
  })
  const nlb = 'gw-1.elb.eu-west-1.amazonaws.com'
  const [first, thief] = [await new TestRelay(centre, 'named').join(), await new TestRelay(centre, 'copycat').join()]
  expect((await first.sync(items('net-named', nlb), { complete: true })).body['rejected']).toBeUndefined()
  const refused: [string, RegExp][] = [
    [nlb, /gw-1.elb.eu-west-1.amazonaws.com:15443 is a gateway of cluster named already/],
    [nlb.toUpperCase(), /neither an IP address nor a host name/],
    ['*.example.com', /wildcard/],
    ['localhost', /localhost/],
    ['gw.istio-system.svc.cluster.local', /\.local/],
    ['0x7f.1', /odd form/],
    ['169.254.169.254', /link-local/],
  ]
  for (const [address, why] of refused) {
    const { body } = await thief.sync(items('net-copycat', address), { complete: true })
    expect(body['rejected']).toEqual([{ key: 'gateways', reason: expect.stringMatching(why) }])
  }
  await centre.settle()
  const reader = await new TestRelay(centre, 'name-reader').join()
  await reader.pull()
  expect(JSON.stringify(reader.held.get('ep/named/all')?.items.get('gateways'))).toContain(nlb)
  expect(reader.held.get('ep/copycat/all')?.items.has('gateways')).toBe(false)
})

test('the address of a pod belongs to the member that reported it first, also after a moment without it', async () => {
  const join = async (name: string) => {
    await centre.admin('PUT', `/v1/clusters/${name}`, { network: 'shared' })
    return new TestRelay(centre, name).join({ network: 'shared' })
  }
  const report = (flat: Json) => ({ cluster: facts('shared'), ...service(flat) })
  const service = (flat: Json) => ({
    'export/shop/pods': exported(),
    'summary/shop/pods': { counts: [{ port: 9080, region: 'eu-1', zone: 'a', ready: 1, total: 1 }], flat },
  })
  const at = (since?: number): Json => [
    { address: '10.0.0.1', port: 9080, servicePort: 9080, region: 'eu-1', zone: 'a', draining: false, since },
  ]
  // The thief is the older member, so that nothing but the address speaks for the other.
  const [thief, owner, reader] = [await join('a-thief'), await join('pod-owner'), await join('pod-reader')]
  await thief.sync(report([]), { complete: true })
  await reader.sync({ cluster: facts('shared') }, { complete: true })
  centre.clock.now += 1000
  await owner.sync(report(at()), { complete: true })
  centre.clock.now += 1000
  await thief.sync(service(at(0)))
  const isOwners = async () => {
    await centre.settle()
    await reader.pull()
    const parsed = [...reader.held].map(
      ([name, { items }]) =>
        [name as StreamName, new Map([...items].map(([k, v]) => [k, JSON.parse(v) as Json]))] as const,
    )
    const { services } = parseSummaries(parsed).summaries
    const claims = ['a-thief', 'pod-owner'].map((cluster) => {
      const addresses = services.get(cluster)?.get('shop/pods')?.flat ?? []
      expect(addresses).toHaveLength(1)
      return { cluster, own: false, addresses }
    })
    return holdersOf(claims)('pod-owner', { address: '10.0.0.1', port: 9080 })
  }
  expect(await isOwners()).toBe(true)
  await owner.sync(service([]))
  centre.clock.now += 60_000
  await owner.sync(service(at()))
  expect(await isOwners()).toBe(true)
})

test('a relay does not put its cluster on the network of others: the operator does, and the join token is not spent', async () => {
  await new TestRelay(centre, 'at-home').join({ network: 'home' })
  const guest = new TestRelay(centre, 'guest')
  const token = await guest.invite()
  const refused = await guest.redeem(token, { network: 'home' })
  expect([refused.status, refused.body['detail']]).toEqual([
    403,
    expect.stringMatching(/network "home" is that of at-home.*isthmus cluster create guest --network home/),
  ])
  expect((await centre.admin('PUT', '/v1/clusters/guest', { network: 'home' })).status).toBe(200)
  expect((await guest.redeem(token, { network: 'home' })).status).toBe(200)
  // What is announced is taken, whoever comes first.
  await centre.admin('PUT', '/v1/clusters/announced', { network: 'ours' })
  const early = new TestRelay(centre, 'early')
  expect((await early.redeem(await early.invite(), { network: 'ours' })).status).toBe(403)
})
