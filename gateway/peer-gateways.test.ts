import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openPeerGateways, type PeerGateways } from '#gateway/peer-gateways.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import { type DnsServer, startDns } from '#tests/support/dns-server.ts'
import { eventually } from '#tests/support/until.ts'

let dns: DnsServer
let stateDir: string
let peers: PeerGateways | undefined
beforeEach(async () => {
  dns = await startDns()
  stateDir = mkdtempSync(join(tmpdir(), 'peer-gateways-'))
})
afterEach(() => {
  peers?.stop()
  dns.stop()
  rmSync(stateDir, { recursive: true })
})

const warnings: string[] = []
let changes = 0
/** A relay process of cluster `home`; the one before it ends first, as when it is stopped. */
function start(): PeerGateways {
  peers?.stop()
  changes = 0
  peers = openPeerGateways({
    ...{ stateDir, cluster: 'home', own: () => [] },
    dns: { loopback: false, servers: [dns.address], timeoutMs: 60, tries: 1 },
    onChange: () => {
      changes += 1
    },
    log: { info: () => undefined, warn: (_, text) => warnings.push(text) },
    limits: { askMsMin: 30, askMsMax: 60, lingerMs: 100 },
  })
  return peers
}
const named = (address: string): Gateway => ({ address, port: 15443, state: 'ready' })
const said = new Map([
  ['a', { gateways: [named('gw.a.example')] }],
  ['b', { gateways: [named('gw.b.example')] }],
])
const dialled = (cluster: string) =>
  peers
    ?.dialled(said)
    .get(cluster)
    ?.gateways.map(({ address }) => address)
const leadsTo = (cluster: string, ...addresses: string[]) =>
  eventually(5000, `${cluster} leads to ${addresses}`, () => {
    expect(dialled(cluster)).toEqual(addresses)
    return true
  })

test('the relay is told when a name moves, and what it renders from has the new address', async () => {
  dns.set('gw.b.example', { addresses: ['203.0.113.1'], ttl: 0 })
  start()
  await leadsTo('b', '203.0.113.1')
  const before = changes
  dns.set('gw.b.example', { addresses: ['203.0.113.2'], ttl: 0 })
  await eventually(5000, 'it is told', () => changes > before)
  await leadsTo('b', '203.0.113.2')
})

test('a relay that starts again dials what it knew before any DNS server answers', async () => {
  dns.set('gw.b.example', { addresses: ['203.0.113.1'], ttl: 0 })
  start()
  await leadsTo('b', '203.0.113.1')
  dns.set('gw.b.example', 'silence')
  start()
  expect(dialled('b')).toEqual(['203.0.113.1'])
  await eventually(5000, 'silence is noticed', () => peers?.counts().stale === 1)
  expect(dialled('b')).toEqual(['203.0.113.1'])
})

test('a damaged file of answers is said, and the DNS is asked', async () => {
  writeFileSync(join(stateDir, 'gateway-names.json'), `${'0'.repeat(64)}\n{}`)
  dns.set('gw.b.example', { addresses: ['203.0.113.1'], ttl: 0 })
  start()
  expect(warnings.at(-1)).toMatch(/gateway-names.json is not used/)
  await leadsTo('b', '203.0.113.1')
})

test('who was first keeps an address that another name turns to, also after a start; both are in status', async () => {
  dns.set('gw.b.example', { addresses: ['203.0.113.1'], ttl: 0 })
  dns.set('gw.a.example', { addresses: ['203.0.113.7'], ttl: 0 })
  start()
  await leadsTo('b', '203.0.113.1')
  await leadsTo('a', '203.0.113.7')
  dns.set('gw.a.example', { addresses: ['203.0.113.1'], ttl: 0 })
  await leadsTo('a')
  expect(peers?.conditions()).toMatchObject([{ type: 'GatewayAddressHeld', object: 'gateway gw.a.example' }])
  start()
  expect([dialled('a'), dialled('b')]).toEqual([[], ['203.0.113.1']])
  expect(readFileSync(join(stateDir, 'gateway-names.json'), 'utf8')).toContain('"holders":[["203.0.113.1:15443","b"]]')
})

test('a name without any answer is a condition that names cluster, reason and what to do', async () => {
  start()
  dialled('b')
  const conditions = await eventually(5000, 'it is said', () => {
    const all = peers?.conditions() ?? []
    return all.length === 2 ? all : undefined
  })
  expect(conditions[1]?.message).toBe(
    'the gateway gw.b.example of cluster b: the name does not exist (NXDOMAIN); it is not dialled: ' +
      "look at that name's DNS record and at this cluster's DNS",
  )
})
