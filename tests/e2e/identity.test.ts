import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { discoveredBy } from '#tests/support/config-dump.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { type FleetCluster, sniOfApp } from '#tests/support/fleet-cluster.ts'
import type { FleetProxy } from '#tests/support/fleet-proxy.ts'
import {
  dialPlain,
  dialTls,
  httpCall,
  type OpenStream,
  type Outcome,
  openTcp,
  openTls,
  requestText,
  sayHttp,
} from '#tests/support/protocol-client.ts'
import { appPorts, type PortName } from '#tests/support/protocols.ts'
import { eventually } from '#tests/support/until.ts'
import type { WorkloadIdentity } from '#tests/support/workload-identity.ts'

const ports = ['http'] as const

/** `ledger` exists in two clusters of one network, and only one of them exports it. `vault` is for south alone. */
const fleet = useFleet({
  north: {
    pods: { 'vault-1': { app: 'vault', ports }, 'lobby-1': { app: 'lobby', ports: ['http', 'tcp'] } },
    exports: { vault: 'south', lobby: '*' },
  },
  south: {
    network: 'shared',
    pods: { 'sun-1': { app: 'sun', ports }, 'ledger-s': { app: 'ledger', ports } },
    exports: { ledger: '*' },
  },
  third: { network: 'shared', pods: { 'ledger-t': { app: 'ledger', ports } } },
})
const [north, south, third] = (['north', 'south', 'third'] as const).map((name) => () => fleet().cluster(name)) as [
  () => FleetCluster,
  () => FleetCluster,
  () => FleetCluster,
]
const vault = () => north().pod('vault-1')
const lobby = () => north().pod('lobby-1')
const sun = () => south().pod('sun-1')
const callerInThird = () => third().pod('ledger-t')

/** The request of one who dials by hand, with a claim about itself that nobody checked. */
const rawRequest = requestText({ 'x-forwarded-client-cert': 'URI=spiffe://forged/ns/a/sa/b' })

type Dial = { readonly app: string; readonly identity?: WorkloadIdentity; readonly servername?: string }

const dialPod = (ip: string, { app, identity, servername = sniOfApp(app, 'http') }: Dial): Promise<Outcome> =>
  dialTls({ host: ip, port: appPorts.http, servername, ...identity }, rawRequest)

const dialGateway = (cluster: FleetCluster, servername: string, more: object = {}): Promise<Outcome> =>
  dialTls(
    { host: cluster.gatewayAddress, port: 15443, ...(servername === '' ? {} : { servername }), ...more },
    rawRequest,
  )

const sumOf = async (proxy: FleetProxy, filter: string): Promise<number> =>
  [...(await proxy.stats(filter)).values()].reduce((sum, value) => sum + value, 0)

/** The far end ended it without a word of HTTP, and its Envoy counted why. */
async function refusedBy(proxy: FleetProxy, counter: string, dial: () => Promise<Outcome>): Promise<void> {
  const before = await sumOf(proxy, counter)
  const outcome = await dial()
  expect(outcome.received).not.toContain('HTTP/')
  expect(outcome.end).not.toBe('silent')
  await eventually(3000, `${counter} rises`, async () => (await sumOf(proxy, counter)) > before)
}

/** Refused, and nothing behind the gateway was dialled for it. */
async function shutAt(gateway: FleetProxy, dial: () => Promise<Outcome>): Promise<void> {
  const upstream = '^cluster\\..*\\.upstream_cx_(total|connect_fail)$'
  const before = await sumOf(gateway, upstream)
  await refusedBy(gateway, 'no_filter_chain_match$', dial)
  expect(await sumOf(gateway, upstream), 'upstream connections').toBe(before)
}

const badHandshake = `^listener\\..*_${appPorts.http}\\.ssl\\.`

let southId: WorkloadIdentity
let thirdId: WorkloadIdentity
let northId: WorkloadIdentity

beforeAll(async () => {
  await eventually(20_000, 'south reaches vault', () => sayHttp(sun().to('vault', 'http')))
  await eventually(20_000, 'third reaches lobby', () => sayHttp(callerInThird().to('lobby', 'http')))
  await eventually(20_000, 'north reaches ledger', () => sayHttp(lobby().to('ledger', 'http')))
  southId = await south().identity('visitor')
  thirdId = await third().identity('visitor')
  northId = await north().identity('visitor')
})

test('the callee sees the caller’s SPIFFE identity', async () => {
  const { caller } = await sayHttp(sun().to('vault', 'http'))
  expect(caller.split(';')).toContain(`URI=spiffe://${south().trustDomain}/ns/shop/sa/sun`)
  expect(caller.split(';')).toContain(`By=spiffe://${north().trustDomain}/ns/shop/sa/vault`)
})

test('a certificate of an admitted domain is let in by hand too, and its own claim about itself is dropped', async () => {
  for (const dial of [
    () => dialPod(vault().ip, { app: 'vault', identity: southId }),
    () => dialGateway(north(), sniOfApp('vault', 'http'), southId),
  ]) {
    const { received } = await dial()
    expect(received).toContain('200 OK')
    expect(received).toContain(`URI=spiffe://${south().trustDomain}/ns/shop/sa/visitor`)
    expect(received).not.toContain('forged')
  }
})

test('plaintext to an inbound port is refused', () =>
  refusedBy(vault(), `${badHandshake}connection_error$`, () =>
    dialPlain({ address: vault().ip, port: appPorts.http }, rawRequest),
  ))

test('no client certificate: refused', () =>
  refusedBy(vault(), `${badHandshake}fail_verify_no_cert$`, () => dialPod(vault().ip, { app: 'vault' })))

test('a certificate of a trust domain that is not admitted is refused at the pod', () =>
  refusedBy(vault(), `${badHandshake}fail_verify_san$`, () => dialPod(vault().ip, { app: 'vault', identity: thirdId })))

test('… and through the gateway, which passes it on unread', () =>
  refusedBy(vault(), `${badHandshake}fail_verify_san$`, () => dialGateway(north(), sniOfApp('vault', 'http'), thirdId)))

describe('the gateway', () => {
  const unknown: readonly [string, string][] = [
    ['a service that does not exist', sniOfApp('nothing', 'http')],
    ['a port that is not exported', sniOfApp('vault', 'grpc')],
    ['a service of another cluster', sniOfApp('ledger', 'http')],
    ['the bootstrap’s line to the relay', 'xds-grpc'],
    ['the bootstrap’s line to its secrets', 'sds-grpc'],
    ['the probes of another cluster', 'probe.south.mesh1'],
    ['nothing at all', ''],
  ]
  test.each(unknown)('closes on an SNI that means %s, without an upstream connection', (_, servername) =>
    shutAt(north().gateway, () => dialGateway(north(), servername, southId)),
  )

  test('closes on a caller that is no mesh proxy, whatever name it knows', () =>
    shutAt(north().gateway, () =>
      dialGateway(north(), sniOfApp('vault', 'http'), { ...southId, ALPNProtocols: ['h2'] }),
    ))

  test('closes on the name of a service that its own cluster does not export', () =>
    shutAt(south().gateway, () => dialGateway(south(), sniOfApp('sun', 'http'), northId)))

  test('answers probes to relays alone', () =>
    refusedBy(north().gateway, 'ssl\\.fail_verify_san$', () => dialGateway(north(), 'probe.north.mesh1', southId)))

  test('closes on plaintext', () =>
    shutAt(north().gateway, () => dialPlain({ address: north().gatewayAddress, port: 15443 }, rawRequest)))
})

describe('a service that only its neighbour exports', () => {
  test('is shut at the gateway of the cluster that does not', () =>
    shutAt(third().gateway, () => dialGateway(third(), sniOfApp('ledger', 'http'), northId)))

  test('is shut at its pods, for the other network and for the same', async () => {
    for (const identity of [northId, southId])
      await refusedBy(callerInThird(), `${badHandshake}fail_verify_san$`, () =>
        dialPod(callerInThird().ip, { app: 'ledger', identity }),
      )
  })

  test('is answered by its exporter alone', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => sayHttp(lobby().to('ledger', 'http'))))
    expect(new Set(answers.map(({ pod }) => pod))).toEqual(new Set(['ledger-s']))
  })

  test('is reached by the neighbour in its own network from pod to pod, under the name that means all exporters', async () => {
    const target = callerInThird().to('ledger', 'http', 'ledger.shop.svc.clusterset.local')
    const passed = () => sumOf(south().gateway, '^cluster\\.outbound_.*ledger.*upstream_cx_total$')
    const before = await passed()
    const answer = await eventually(10_000, 'third reaches the exporter', () => sayHttp(target))
    expect(answer).toMatchObject({ cluster: 'south', pod: 'ledger-s' })
    expect(answer.caller).toContain(`URI=spiffe://${third().trustDomain}/ns/shop/sa/ledger`)
    expect(await passed(), 'connections through the gateway').toBe(before)
  })

  test('stays the neighbour’s own under its own name', async () => {
    expect(await sayHttp(callerInThird().to('ledger', 'http'))).toMatchObject({ pod: 'ledger-t' })
  })
})

describe('an export for some', () => {
  test('is never named in a cluster that is not among its consumers', async () => {
    const known = (cluster: FleetCluster) => stateOf(cluster) + readFileSync(join(cluster.dir, 'isthmus.yaml'), 'utf8')
    expect(known(south()), 'the check can see it').toContain('vault')
    expect(known(third()), 'the check can see other services').toContain('lobby')
    expect(known(third())).not.toContain('vault')
    expect(JSON.stringify(await third().status())).not.toContain('vault')
    expect(await sun().admin('/config_dump?include_eds')).toContain('vault')
    for (const proxy of [callerInThird(), third().gateway])
      expect((await proxy.admin('/config_dump?include_eds')).replaceAll(hostsOfThisTest, '')).not.toContain('vault')
  })

  test('answers nobody else, with the reason', async () => {
    const { status, body } = await httpCall(callerInThird().to('vault', 'http'))
    expect(status).toBe(502)
    expect(body).toMatch(/no service of this name .* may not be exported to this cluster/)
  })
})

describe('an export that is withdrawn', () => {
  const lobbyOf = (port: PortName) => sun().to('lobby', port)
  let open: OpenStream | undefined
  beforeAll(async () => {
    const servername = sniOfApp('lobby', 'tcp')
    open = await openTls({ host: north().gatewayAddress, port: 15443, servername, ...southId })
  })
  afterAll(() => open?.close())

  test('refuses new connections, and callers hear it in plain words', async () => {
    expect(await sayHttp(lobbyOf('http'))).toMatchObject({ pod: 'lobby-1' })
    north().unexport('lobby')
    // Until they hear, the exporter itself refuses: 403 on a connection that is open, 503 where a new one is needed.
    const statuses = new Set<number>()
    await eventually(10_000, 'callers are told why', async () => {
      const { status, body } = await httpCall(lobbyOf('http'))
      statuses.add(status)
      return status === 502 && /may not be exported to this cluster/.test(body)
    })
    expect([...statuses].filter((status) => ![200, 403, 502, 503].includes(status))).toEqual([])
    await eventually(5000, 'the gateway is shut', () =>
      shutAt(north().gateway, () => dialGateway(north(), sniOfApp('lobby', 'http'), southId)).then(() => true),
    )
    await eventually(5000, 'the pod is shut', () =>
      refusedBy(lobby(), `${badHandshake}fail_verify_san$`, () =>
        dialPod(lobby().ip, { app: 'lobby', identity: southId }),
      ).then(() => true),
    )
  })

  test('leaves the others alone, and comes back when it is exported again', async () => {
    expect(await sayHttp(sun().to('vault', 'http'))).toMatchObject({ pod: 'vault-1' })
    north().export('lobby')
    await eventually(10_000, 'lobby is back', () => sayHttp(lobbyOf('http')))
  })

  test('ends the connections that its gateway had open, after the drain time of 20 s', async () => {
    await eventually(30_000, 'it is closed', () => open?.ended())
  })
})

test('a narrower list shuts out who had it, within seconds, and cuts nobody else', async () => {
  const target = callerInThird().to('lobby', 'http')
  const open = await openTcp(sun().to('lobby', 'tcp'))
  await eventually(10_000, 'third has lobby', () => sayHttp(target))
  north().export('lobby', 'south')
  await eventually(10_000, 'third is told', async () => (await httpCall(target)).status === 502)
  await eventually(10_000, 'the pod refuses third', () =>
    refusedBy(lobby(), `${badHandshake}fail_verify_san$`, () =>
      dialPod(lobby().ip, { app: 'lobby', identity: thirdId }),
    ).then(() => true),
  )
  await eventually(10_000, 'third’s proxies have forgotten it', async () =>
    [...(await discoveredBy(callerInThird()))].every(([name, content]) => !`${name} ${content}`.includes('lobby')),
  )
  expect(await sayHttp(sun().to('lobby', 'http'))).toMatchObject({ pod: 'lobby-1' })
  expect(await open.echoes('still here')).toBe(true)
  open.close()
})

/** Every file that the relay keeps, as one text. */
const stateOf = ({ dir }: FleetCluster): string =>
  readdirSync(join(dir, 'state'), { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('\n')

/** The fleet tells every proxy of every app's stream address, in the node that it sends. */
const hostsOfThisTest = /vault\.shop\.svc\.cluster\.local:80(83|84)/g
