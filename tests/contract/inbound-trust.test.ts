import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { typeUrls } from '#mesh/model/resource.ts'
import { makeRoot } from '#tests/support/authorities.ts'
import { knock, knockOnce, type Line, openLines } from '#tests/support/border-lines.ts'
import { type Border, drainSeconds, type EnvoyName, startServedBorder } from '#tests/support/served-border.ts'
import { eventually } from '#tests/support/until.ts'

let border: Border
beforeAll(async () => {
  border = await startServedBorder({ consumers: { reviews: ['a'], db: ['a'] } })
}, 30_000)
afterAll(() => border?.stop())

/** Every line is used until well past the drain time, and not one is cut. */
async function goOn(lines: readonly Line[]): Promise<void> {
  for (const end = performance.now() + (drainSeconds + 1) * 1000; performance.now() < end; await delay(250))
    for (const line of lines) await line.say(`at ${performance.now()}`)
  for (const line of lines) line.end()
}

/** Resources sent per type while `work` ran, over all proxies; types of which none was sent are left out. */
async function sentBy(work: () => Promise<void> | void): Promise<Record<string, number>> {
  const before = { ...border.relay.server.observables().resources }
  await work()
  await border.settled()
  const after = border.relay.server.observables().resources
  return Object.fromEntries(
    Object.entries(typeUrls).flatMap(([short, type]) => {
      const sent = (after[type] ?? 0) - (before[type] ?? 0)
      return sent > 0 ? [[short, sent]] : []
    }),
  )
}

/** Listeners and clusters that an Envoy replaced since it began. */
async function replaced(name: EnvoyName): Promise<readonly (readonly [string, number])[]> {
  const filter = '^(listener_manager.listener_(modified|in_place_updated)|cluster_manager.cluster_modified)$'
  return [...(await border.stats(name, filter))].filter(([, value]) => value > 0)
}
const nothingReplaced = async () => {
  for (const name of ['caller-a', 'caller-c', 'gateway', 'server'] as const)
    expect([name, await replaced(name)]).toEqual([name, []])
}

test('admission of one more cluster to one TCP port is one resource, a secret, to one Envoy', async () => {
  expect(await sentBy(() => border.say({ consumers: { reviews: ['a'], db: ['a', 'c'] } }))).toEqual({ secret: 1 })
  expect(border.relay.nacks).toEqual([])
  await nothingReplaced()
})

test('what is open goes on while a cluster is admitted and the roots change, past the drain time', async () => {
  const lines = await openLines(border, 'a')
  const leaf = await border.leafOf('c', 'web')
  expect(await knockOnce(border, leaf)).toBe('refused')
  const admitted = await sentBy(async () => {
    border.say({ consumers: { reviews: ['a', 'c'], db: ['a', 'c'] } })
    let said = 'refused'
    while (said === 'refused') said = await knockOnce(border, leaf)
    expect(said, 'whoever passes the handshake is answered').toBe('200')
  })
  expect(admitted).toEqual({ route: 1, secret: 1 })
  const roots = [border.root, (await makeRoot()).pem]
  const rooted = await sentBy(() => border.say({ roots }))
  // Both callers' and the server's roots, its two ports, and the gateway's probe port.
  expect(rooted).toEqual({ secret: 6 })
  await sentBy(() => border.say({ members: ['a', 'b', 'c', 'd'] }))
  await goOn(lines)
  await nothingReplaced()
  expect(border.relay.nacks).toEqual([])
})

test('a withdrawn domain: its requests get 403 on an old connection, its handshakes are refused, nobody else notices', async () => {
  const lines = await openLines(border, 'a')
  const [old, bystander] = [
    await knock(border, await border.leafOf('c', 'web')),
    await knock(border, await border.leafOf('a', 'web')),
  ]
  expect([await old.ask(), await bystander.ask()]).toEqual(['200', '200'])
  const withdrawnAt = performance.now()
  border.say({ consumers: { reviews: ['a'], db: ['a'] } })
  let deniedAt = 0
  while (deniedAt === 0 && performance.now() - withdrawnAt < 3000)
    if ((await old.ask()) === '403') deniedAt = performance.now()
  await border.settled()
  expect(deniedAt).toBeGreaterThan(0)
  expect(deniedAt - withdrawnAt).toBeLessThan(1000)
  expect(await old.ask()).toBe('403')
  expect(await knockOnce(border, await border.leafOf('c', 'web'))).toBe('refused')
  expect(await bystander.ask()).toBe('200')
  expect(await knockOnce(border, await border.leafOf('a', 'web'))).toBe('200')
  await goOn(lines)
  expect([await old.ask(), await bystander.ask()]).toEqual(['403', '200'])
  for (const line of [old, bystander]) line.end()
  await nothingReplaced()
})

test('Envoys that come back to a relay are sent nothing', async () => {
  const { server } = border.relay
  const sent = await sentBy(async () => {
    server.cut()
    await eventually(5000, 'all are gone', () => server.observables().streams === 0)
    await eventually(10_000, 'all are back', () => {
      const { proxies } = server.status()
      return proxies.length === 4 && proxies.every(({ types }) => types['secret'] && types['listener'])
    })
  })
  expect(sent).toEqual({})
})

test('one more exporter replaces the caller’s clusters, and what is open on them goes on', async () => {
  const lines = await openLines(border, 'a')
  expect(await sentBy(() => border.say({ others: ['d'] }))).toMatchObject({ cluster: 2 })
  await goOn(lines)
  expect(await replaced('caller-a')).toEqual([['cluster_manager.cluster_modified', 2]])
})
