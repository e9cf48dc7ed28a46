import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { ClusterLoadAssignmentSchema } from '#gen/envoy/config/endpoint/v3/endpoint_pb.js'
import { typeUrls } from '#mesh/model/resource.ts'
import type { ScriptedProxy } from '#tests/support/ads-client.ts'
import { reportOn } from '#tests/support/channel.ts'
import { type DnsServer, startDns } from '#tests/support/dns-server.ts'
import { type JoinedHome, openJoinedHome, type RelayHome } from '#tests/support/relay-home.ts'
import { eventually } from '#tests/support/until.ts'

const name = 'gw-east.example.com'
let joined: JoinedHome
let home: RelayHome
let dns: DnsServer
const proxies: ScriptedProxy[] = []

beforeAll(async () => {
  joined = await openJoinedHome(`127.97.${process.pid % 250}.1`)
  home = await joined.copy()
  dns = await startDns()
  const path = join(home.dir, 'isthmus.yaml')
  const settings = { ...parse(readFileSync(path, 'utf8')), dns: { servers: [dns.address] } }
  writeFileSync(path, stringify({ ...settings, gateways: [{ address: '127.0.1.9' }, { address: 'GW.west.example' }] }))
}, 60_000)
afterEach(async () => {
  for (const proxy of proxies.splice(0)) proxy.close()
  await home.stop()
})
afterAll(async () => {
  dns.stop()
  await joined.end()
})

const dial = (kind: 'sidecar' | 'router'): ScriptedProxy => {
  const proxy = home.dial(kind)
  proxies.push(proxy)
  return proxy
}

/** Where a proxy's calls to east's `reviews` go. */
function dialledBy(proxy: ScriptedProxy): readonly string[] {
  const held = proxy.memory.held.get(typeUrls.endpoint)?.get('outbound|9080||reviews.shop.svc.clusterset.local')
  const localities = held ? fromBinary(ClusterLoadAssignmentSchema, held.bytes).endpoints : []
  return localities
    .filter(({ locality }) => locality?.subZone === 'east')
    .flatMap(({ lbEndpoints }) => lbEndpoints)
    .flatMap(({ hostIdentifier: { case: kind, value } }) => {
      const address = kind === 'endpoint' ? value.address?.address : undefined
      return address?.case === 'socketAddress' ? [address.value.address] : []
    })
}
const becomes = (proxy: ScriptedProxy, ...addresses: string[]) =>
  eventually(15_000, `calls to east go to ${addresses}`, () => {
    expect(dialledBy(proxy)).toEqual(addresses)
    return true
  })

test('a name travels as a name; the relay that dials it resolves it, and a restart without DNS and centre still knows', async () => {
  dns.set(name, { addresses: ['203.0.113.1', '169.254.169.254'], ttl: 0 })
  await joined.withCentre(async () => {
    const report = new Map(reportOn('east', { reviews: 2 }))
    joined.east.uplink().report(report.set('gateways', { gateways: [{ address: name, port: 15443, state: 'ready' }] }))
    await home.start()
    await becomes(dial('sidecar'), '203.0.113.1')
    const { body } = await joined.centre.api('GET', '/v1/gateways')
    expect(JSON.stringify(body)).toContain(`"address":"${name}"`)
  })
  await home.stop()
  dns.set(name, 'silence')
  await home.start()
  const proxy = dial('sidecar')
  await proxy.ready
  expect(dialledBy(proxy)).toEqual(['203.0.113.1'])
  dns.set(name, { addresses: ['203.0.113.2'], ttl: 0 })
  await becomes(proxy, '203.0.113.1', '203.0.113.2')
  expect(await home.metrics()).toContain('isthmus_relay_gateway_names{kind="names"} 2')
})

test('the own gateway is told as ready once it has acknowledged its listener; what it never was is not told as down', async () => {
  const states = async () => {
    const { body } = await joined.centre.api('GET', '/v1/gateways')
    const items = body['items'] as readonly {
      readonly cluster: string
      readonly address: string
      readonly state: string
    }[]
    return items.filter(({ cluster }) => cluster === 'west').map(({ address, state }) => `${address} ${state}`)
  }
  await joined.withCentre(async () => {
    await home.start()
    await eventually(15_000, 'unknown', async () => {
      expect(await states()).toEqual(['127.0.1.9 unknown', 'gw.west.example unknown'])
      return true
    })
    await dial('router').ready
    await eventually(15_000, 'ready', async () => {
      expect(await states()).toEqual(['127.0.1.9 ready', 'gw.west.example unknown'])
      return true
    })
  })
  expect(await home.metrics()).toContain('isthmus_relay_own_gateways{state="ready"} 1')
})
