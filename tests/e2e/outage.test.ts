import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { outboundNameOf } from '#mesh/model/host.ts'
import { type Discovered, discoveredBy, hostsOf } from '#tests/support/config-dump.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { sniOfApp } from '#tests/support/fleet-cluster.ts'
import { hostOfApp } from '#tests/support/fleet-manifests.ts'
import type { FleetProxy } from '#tests/support/fleet-proxy.ts'
import {
  dialTls,
  httpCall,
  type OpenStream,
  openTcp,
  requestText,
  sayHttp,
  sayTcp,
} from '#tests/support/protocol-client.ts'
import { appPorts } from '#tests/support/protocols.ts'
import { type SilentCentre, startSilentCentre } from '#tests/support/silent-centre.ts'
import { startTraffic, type Traffic } from '#tests/support/traffic.ts'
import { eventually } from '#tests/support/until.ts'
import type { WorkloadIdentity } from '#tests/support/workload-identity.ts'

const ports = ['http'] as const

/** `local` is known to home alone; `remote` is answered by away alone, so every call to it crosses the border. */
const fleet = useFleet({
  home: {
    pods: { 'caller-1': { app: 'caller', ports }, 'local-1': { app: 'local', ports } },
    // So that its gateway holds something: one that holds nothing is answered with nothing, in a few bytes.
    exports: { caller: '*' },
  },
  away: {
    pods: {
      'remote-1': { app: 'remote', ports: ['http', 'tcp'] },
      'remote-2': { app: 'remote', ports: ['http', 'tcp'] },
      'late-1': { app: 'late', ports },
    },
    exports: { remote: '*' },
  },
})
const home = () => fleet().cluster('home')
const away = () => fleet().cluster('away')
const caller = () => home().pod('caller-1')

const outboundOf = (app: string) => outboundNameOf(hostOfApp(app), appPorts.http)
let traffic: readonly Traffic[] = []

let identity: WorkloadIdentity
/** A connection across the border, open since before anything died. */
let longLived: OpenStream

/** Whether a connection of its own is answered by this pod: calls of a proxy share one, and stay where it leads. */
async function answersAnew(pod: string): Promise<boolean> {
  const to = { host: away().gatewayAddress, port: 15443, servername: sniOfApp('remote', 'http') }
  return (await dialTls({ ...to, ...identity }, requestText())).received.includes(`"pod":"${pod}"`)
}

/** No call of anybody has failed so far, and calls still pass. */
async function nobodyNoticed(): Promise<void> {
  await Promise.all(traffic.map((one) => one.pass(6)))
  expect(traffic.flatMap((one) => one.counts().failures)).toEqual([])
}

beforeAll(async () => {
  for (const app of ['remote', 'local'])
    await eventually(20_000, `home reaches ${app}`, () => sayHttp(caller().to(app, 'http')))
  await eventually(20_000, 'home reaches remote by TCP', () => sayTcp(caller().to('remote', 'tcp'), 'ping'))
  traffic = [
    startTraffic(40, () => sayHttp(caller().to('remote', 'http'))),
    startTraffic(40, () => sayHttp(caller().to('local', 'http'))),
    startTraffic(60, () => sayHttp(caller().to('remote', 'http'), '/order', 'a POST')),
    startTraffic(80, () => sayTcp(caller().to('remote', 'tcp'), 'ping')),
  ]
  await nobodyNoticed()
  identity = await home().identity('visitor')
  longLived = await openTcp(caller().to('remote', 'tcp'))
  await fleet().centre.kill()
})
afterAll(async () => {
  longLived?.close()
  await Promise.all(traffic.map((one) => one.stop()))
})

describe('with the centre dead', () => {
  test('nobody notices', nobodyNoticed)

  test('pods that come and go reach the proxies of their own cluster', async () => {
    const [first, second] = [home().pod('local-1').ip, (await home().addPod('local-2', { app: 'local', ports })).ip]
    await eventually(5000, 'the caller’s Envoy has both', async () => {
      expect(await hostsOf(caller(), outboundOf('local'))).toEqual([first, second].sort())
      return true
    })
    await home().removePod('local-1')
    await eventually(5000, 'the caller’s Envoy has the second alone', async () => {
      expect(await hostsOf(caller(), outboundOf('local'))).toEqual([second])
      return true
    })
    await nobodyNoticed()
  })

  test('pods that come reach their own gateway', async () => {
    const { ip } = await away().addPod('remote-3', { app: 'remote', ports: ['http', 'tcp'] })
    await eventually(5000, 'the gateway has it', async () =>
      (await hostsOf(away().gateway, sniOfApp('remote', 'http'))).includes(ip),
    )
    await eventually(5000, 'it answers a new connection', () => answersAnew('remote-3'))
    await nobodyNoticed()
  })
})

describe('the relays killed -9 too', () => {
  let silent: SilentCentre
  let before: readonly Discovered[]
  /** Types of which the relay has sent a resource since it started, with the bytes. */
  const pushedBytes = async () =>
    [...(await home().metrics('isthmus_relay_pushed_bytes_total'))].filter(([, bytes]) => bytes > 0)
  const connected = (): readonly FleetProxy[] => [caller(), home().pod('local-2'), home().gateway]

  beforeAll(async () => {
    before = await Promise.all(connected().map(discoveredBy))
    await Promise.all([home().killRelay(), away().killRelay()])
    silent = await startSilentCentre(fleet().centre, { host: home().relayAddress, port: 15012 })
  })
  afterAll(() => silent.stop())

  test('nobody notices', async () => {
    for (const proxy of [caller(), away().gateway])
      await eventually(5000, 'an Envoy knows', async () => (await connectedState(proxy)) === 0)
    await nobodyNoticed()
  })

  test('a relay that starts opens its port before it calls anyone', async () => {
    expect(silent.calls).toEqual([])
    await home().startRelay()
    await eventually(15_000, 'it has called the centre', () => silent.calls.length > 0)
    expect(silent.calls[0]?.wasOpen).toBe(true)
  })

  test('takes its proxies back, sends them nothing, and they hold what they held', async () => {
    const streams = () => home().metrics('isthmus_relay_streams')
    await eventually(20_000, 'all proxies are back', async () => (await streams()).get('isthmus_relay_streams') === 3)
    await eventually(5000, 'every stream is settled', async () => {
      expect((await home().metrics('isthmus_relay_pending_types')).get('isthmus_relay_pending_types')).toBe(0)
      for (const proxy of connected()) expect(await connectedState(proxy)).toBe(1)
      return true
    })
    expect(await Promise.all(connected().map(discoveredBy))).toEqual(before)
    expect(await pushedBytes()).toEqual([])
    await nobodyNoticed()
  })

  test('serves all of it to a proxy that has nothing, with the centre silent', async () => {
    const fresh = await home().addPod('caller-2', { app: 'caller', ports })
    const outbound = (of: Discovered) =>
      new Map([...of].filter(([name]) => /^(cluster|endpoint) outbound\|/.test(name)))
    await eventually(5000, 'it has what the others have', async () => {
      expect(outbound(await discoveredBy(fresh))).toEqual(outbound(await discoveredBy(caller())))
      return true
    })
    expect(outbound(await discoveredBy(fresh)).keys()).toContain(`cluster ${outboundOf('remote')}`)
    expect(await sayHttp(fresh.to('remote', 'http'))).toMatchObject({ cluster: 'away' })
    await nobodyNoticed()
  })

  test('the callee’s relay comes back as well', async () => {
    await away().startRelay()
    await eventually(20_000, 'its gateway is back', async () => (await connectedState(away().gateway)) === 1)
    await nobodyNoticed()
  })

  test('a connection that was open before all this still carries bytes', async () => {
    expect(await longLived.echoes('still here')).toBe(true)
  })
})

describe('proxies killed -9, the centre still dead', () => {
  // What is under way at a program that dies is lost; only what may be asked again is asked again.
  beforeAll(async () => {
    const [toRemote, toLocal, ...others] = traffic
    await Promise.all(others.map((one) => one.stop()))
    expect(others.flatMap((one) => one.counts().failures)).toEqual([])
    traffic = [toRemote, toLocal].filter((one) => one !== undefined)
  })

  const comesBack = async (pod: string, kill: () => Promise<void>): Promise<void> => {
    await eventually(5000, `${pod} answers`, () => answersAnew(pod))
    await kill()
    await eventually(30_000, `${pod} answers again`, () => answersAnew(pod))
    await nobodyNoticed()
  }
  test('a callee’s proxy, and its Envoy with it: started again', () =>
    comesBack('remote-1', () => away().pod('remote-1').killProxy()))
  test('a callee’s Envoy alone: started again', () => comesBack('remote-2', () => away().pod('remote-2').killEnvoy()))
})

describe('the centre again', () => {
  test('what changed while it was dead goes through within 5 s', async () => {
    away().export('late')
    await fleet().centre.start()
    await eventually(5000, 'home reaches the new export', () => sayHttp(caller().to('late', 'http')))
    await nobodyNoticed()
  })

  test('and so does what changes now', async () => {
    away().unexport('late')
    await eventually(5000, 'home is told', async () => (await httpCall(caller().to('late', 'http'))).status === 502)
    await nobodyNoticed()
  })

  test('a centre that is killed -9 in the middle of changes forgets none of them', async () => {
    for (const times of [1, 2, 3]) {
      away().export('late', times % 2 === 0 ? 'nobody' : 'home')
      await eventually(5000, 'a change is on its way', async () => {
        const { status } = await httpCall(caller().to('late', 'http'))
        return times % 2 === 0 ? status !== 200 : status === 200
      })
    }
    away().unexport('late')
    away().export('late', 'home')
    await fleet().centre.kill()
    away().unexport('late')
    await nobodyNoticed()
    await fleet().centre.start()
    await eventually(5000, 'home is told', async () => (await httpCall(caller().to('late', 'http'))).status === 502)
    away().export('late')
    await eventually(5000, 'home has it', () => sayHttp(caller().to('late', 'http')))
    await nobodyNoticed()
  })

  test('killed and started in any order: nobody notices, and 5 s after the heal the last word is heard', async () => {
    const parts = {
      centre: { kill: () => fleet().centre.kill(), start: () => fleet().centre.start() },
      home: { kill: () => home().killRelay(), start: () => home().startRelay() },
      away: { kill: () => away().killRelay(), start: () => away().startRelay() },
    }
    const dead = new Set<keyof typeof parts>()
    let isExported = true
    for (const step of script) {
      if (step === 'late') {
        isExported = !isExported
        if (isExported) away().export('late')
        else away().unexport('late')
      } else if (dead.delete(step)) await parts[step].start()
      else {
        dead.add(step)
        await parts[step].kill()
      }
    }
    for (const part of dead) await parts[part].start()
    for (const cluster of [home(), away()])
      await eventually(
        15_000,
        `the relay of ${cluster.name} serves`,
        async () => (await cluster.status())['state'] === 'serving',
      )
    await eventually(5000, 'the last word is heard', async () => {
      expect((await httpCall(caller().to('late', 'http'))).status).toBe(isExported ? 200 : 502)
      return true
    })
    await nobodyNoticed()
  })

  test('the only gateway killed -9: calls pass again within seconds', async () => {
    await Promise.all(traffic.map((one) => one.stop()))
    await away().gateway.killProxy()
    await eventually(15_000, 'the border is open again', () => sayHttp(caller().to('remote', 'http')))
  })
})

/** A part that lives is killed -9, a dead one is started; `late` is exported, or not any more. */
const script = (
  'away late late home late centre late home late away late centre late late ' +
  'centre home late late centre late away late home late away late'
).split(' ') as ('centre' | 'home' | 'away' | 'late')[]

const connectedState = async (proxy: FleetProxy): Promise<number | undefined> =>
  (await proxy.stats('^control_plane\\.connected_state$')).get('control_plane.connected_state')
