import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { pino } from 'pino'
import { parse, stringify } from 'yaml'
import { loadRelaySettings } from '#gateway/settings.ts'
import { startRelay } from '#gateway/start-relay.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { openProxy, type ScriptedProxy } from '#tests/support/ads-client.ts'
import { joinMember, reportOn, startTestCentre, type TestCentre, type TestMember } from '#tests/support/channel.ts'
import { writeService } from '#tests/support/fault-manifests.ts'
import { freePort } from '#tests/support/flaky-line.ts'
import { eventually } from '#tests/support/until.ts'
import { makeTokenIssuer, tokenIssuer } from '#tests/support/workload-tokens.ts'

export type RelayStatus = {
  readonly state: string
  readonly trustDomain?: string
  readonly config: { readonly revision?: number }
  readonly trust?: unknown
  readonly conditions: readonly { readonly type: string; readonly message: string }[]
  readonly centre?: {
    readonly state: string
    readonly reason?: string
    readonly toTell: number
    readonly faults: readonly { readonly path: string; readonly reason: string }[]
  }
}

/** The directory of a relay of cluster `west`, which may be copied, damaged and started. */
export type RelayHome = {
  readonly dir: string
  readonly port: number
  /** What relays of this directory logged since the last start. */
  readonly logged: string[]
  file(name: string): string
  start(token?: string): Promise<{ stop(): Promise<void> }>
  stop(): Promise<void>
  status(): Promise<RelayStatus>
  metrics(): Promise<string>
  /** A proxy that says it is one of pod reviews-0: its sidecar, or a gateway at 127.0.1.9. It is the caller's to close. */
  dial(kind: 'sidecar' | 'router'): ScriptedProxy
  /** Everything that a proxy of pod reviews-0 is served, by name. */
  served(): Promise<readonly string[]>
  flip(name: string, at?: number): void
  cut(name: string): void
}

/** A cluster that joined, knows `reviews` of east, and has its certificates; its centre is away now. */
export type JoinedHome = {
  readonly centre: TestCentre
  /** The other member, which offers `reviews`. */
  readonly east: TestMember
  /** A fresh copy, with ports of its own where `ports` says so: two of them may run at once. */
  copy(ports?: 'own-ports'): Promise<RelayHome>
  /** The centre answers while `work` runs. */
  withCentre<T>(work: () => Promise<T>): Promise<T>
  /** Ends the relays that the last test started. */
  endRelays(): Promise<void>
  end(): Promise<void>
}

/** An endpoint of east, which only its relay knows of. */
export const remoteCluster = 'outbound|9080||reviews.shop.svc.cluster.local'

export async function openJoinedHome(address: string): Promise<JoinedHome> {
  const kube = makeTokenIssuer('k1')
  const centre = await startTestCentre()
  const east = await joinMember(centre, 'east')
  east.uplink().start()
  east.uplink().report(reportOn('east', { reviews: 2 }))
  const started = new Set<() => Promise<void>>()
  const endRelays = async () => {
    for (const stop of started) await stop()
    started.clear()
  }
  const first = homeAt(join(centre.dir, 'west-home'))
  await makeHome(first.dir)
  await first.start(await centre.token('west'))
  await eventually(20_000, 'west serves its config and knows reviews', async () => {
    const status = await first.status()
    const whole = status.state === 'serving' && status.config.revision !== undefined
    return whole && JSON.stringify(status).includes('"ep/east/all":')
  })
  await endRelays()
  goAway()
  let copies = 0

  return {
    ...{ centre, east },
    copy: async (ports) => {
      const home = homeAt(join(centre.dir, `west-${++copies}`))
      cpSync(first.dir, home.dir, { recursive: true })
      if (ports) {
        const path = join(home.dir, 'isthmus.yaml')
        const settings = parse(readFileSync(path, 'utf8'))
        settings.relay.port = await freePort()
        settings.relay.statusPort = await freePort()
        writeFileSync(path, stringify(settings))
      }
      return home
    },
    withCentre: async (work) => {
      centre.line.fault({})
      try {
        return await work()
      } finally {
        goAway()
      }
    },
    endRelays,
    end: async () => {
      await endRelays()
      east.end()
      await centre.end()
    },
  }

  function goAway(): void {
    centre.line.fault({ refuse: true })
    centre.line.cut()
  }

  async function makeHome(at: string): Promise<void> {
    mkdirSync(join(at, 'manifests'), { recursive: true })
    const [port, statusPort] = [await freePort(), await freePort()]
    const relay = { address, port, statusAddress: '127.0.0.1', statusPort }
    const settings = { cluster: 'west', region: 'eu-1', network: 'net-west', relay, tokens: { issuer: tokenIssuer } }
    writeFileSync(join(at, 'isthmus.yaml'), stringify(settings))
    writeFileSync(join(at, 'jwks.json'), JSON.stringify({ keys: [kube.jwk] }))
    writeService(join(at, 'manifests'), 'reviews', { pods: 1, ready: 1 })
  }

  function homeAt(dir: string): RelayHome {
    const logged: string[] = []
    const file = (name: string) => join(dir, 'state', name)
    const relay = () => loadRelaySettings(join(dir, 'isthmus.yaml')).relay
    let running: { stop(): Promise<void> } | undefined
    const stop = async () => {
      await running?.stop()
      running = undefined
    }
    const ask = async (path: string): Promise<string> => {
      const asked = get({ host: '127.0.0.1', port: relay().statusPort, path, agent: false })
      const [answer] = (await once(asked, 'response')) as [AsyncIterable<Buffer>]
      let text = ''
      for await (const part of answer) text += part.toString()
      return text
    }
    const dial = (kind: 'sidecar' | 'router') =>
      openProxy({
        ...{ host: address, port: relay().port, mode: 'delta', relayRoots: centre.ca() },
        headers: { authorization: `Bearer ${kube.token()}` },
        node: {
          id: `${kind}~${kind === 'router' ? '127.0.1.9' : '10.0.0.1'}~reviews-0.shop~shop.svc.cluster.local`,
          cluster: 'reviews.shop',
          metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: 'reviews', CLUSTER_ID: 'west' },
        },
      })
    return {
      dir,
      logged,
      file,
      stop,
      get port() {
        return relay().port
      },
      start: async (token) => {
        logged.length = 0
        const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) })
        const settings = loadRelaySettings(join(dir, 'isthmus.yaml'))
        running = await startRelay({ dir, settings, log, ...(token === undefined ? {} : { token: () => token }) })
        started.add(stop)
        return { stop }
      },
      status: async () => JSON.parse(await ask('/status')) as RelayStatus,
      metrics: () => ask('/metrics'),
      dial,
      served: async () => {
        const proxy = dial('sidecar')
        const late = setTimeout(() => proxy.close(), 5000)
        await Promise.race([proxy.ready, proxy.ended])
        clearTimeout(late)
        const names = Object.values(typeUrls).flatMap((type) => proxy.names(type))
        proxy.close()
        return names
      },
      flip: (name, at = 0.6) => {
        const bytes = readFileSync(file(name))
        const place = Math.floor(bytes.length * at)
        bytes[place] = (bytes[place] ?? 0) ^ 1
        writeFileSync(file(name), bytes)
      },
      cut: (name) => {
        const bytes = readFileSync(file(name))
        writeFileSync(file(name), bytes.subarray(0, bytes.length / 2))
      },
    }
  }
}

/** Puts a directory where a file is: nobody can read it, root neither. */
export function makeUnreadable(path: string): void {
  rmSync(path, { force: true })
  mkdirSync(join(path, 'in-its-place'), { recursive: true })
}
