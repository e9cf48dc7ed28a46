import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { parse } from 'yaml'
import { relayPort } from '#infra/local/plan.ts'
import { type AdsDial, openProxy } from '#tests/support/ads-client.ts'
import { startFleet } from '#tests/support/fleet.ts'
import type { FleetCluster } from '#tests/support/fleet-cluster.ts'

/** Milliseconds from exec of the bundled relay, as a client sees them that redials every 10 ms. */
export type Restart = { readonly toPort: number; readonly toServed: number }

const rounds = 5
const redialMs = 10

/**
 * A real relay with its state on disk and the centre dead, started again and again: how long until its port is open, and
 * until a proxy that knocks all the time has everything. Medians of five rounds.
 */
export async function measureRestart(): Promise<Restart> {
  const fleet = await startFleet({ a: { pods: { web: { app: 'web', ports: ['http'] } }, exports: { web: '*' } } })
  try {
    const cluster = fleet.cluster('a')
    const { key, cert } = await cluster.identity('web')
    const settings = parse(readFileSync(join(cluster.dir, 'isthmus.yaml'), 'utf8')) as { relay: { address: string } }
    const dial: AdsDial = {
      host: settings.relay.address,
      port: relayPort,
      mode: 'delta',
      relayRoots: readFileSync(fleet.centre.caFile, 'utf8'),
      certificate: { chainPem: cert, keyPem: String(key) },
    }
    await fleet.centre.kill()
    const seen: Restart[] = []
    for (let round = 0; round < rounds; round++) seen.push(await once(cluster, dial))
    const median = (of: (one: Restart) => number) =>
      seen.map(of).toSorted((x, y) => x - y)[Math.floor(rounds / 2)] ?? Number.NaN
    return { toPort: median((one) => one.toPort), toServed: median((one) => one.toServed) }
  } finally {
    await fleet.end()
  }
}

async function once(cluster: FleetCluster, dial: AdsDial): Promise<Restart> {
  await cluster.killRelay()
  const started = performance.now()
  await cluster.startRelay()
  while (!(await opens(dial.host ?? '', dial.port))) await new Promise((resolve) => setTimeout(resolve, redialMs))
  const toPort = Math.round(performance.now() - started)
  const proxy = openProxy({ ...dial, node })
  await proxy.ready
  const toServed = Math.round(performance.now() - started)
  proxy.close()
  return { toPort, toServed }
}

const opens = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })

const node = {
  id: 'sidecar~127.0.0.9~web-bench.shop~shop.svc.cluster.local',
  cluster: 'web.shop',
  metadata: {
    NAMESPACE: 'shop',
    SERVICE_ACCOUNT: 'web',
    INTERCEPTION_MODE: 'NONE',
    ISTHMUS: { application: '127.0.0.9', outbound: '127.0.0.10', tcp: {} },
  },
}
