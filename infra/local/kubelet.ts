import { mkdirSync, watch } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { writeEndpointSlices } from './endpoint-slices.ts'
import { type PodObject, readWanted, type Wanted } from './manifests.ts'
import { appPort, type ClusterPlan, gatewayAddress, podAddresses, relayAddress, relayPort } from './plan.ts'
import { type Program, startProgram } from './program.ts'
import { replaceFile } from './replace-file.ts'
import { type TokenIssuer, tokenLifeSeconds, uidOf } from './token-issuer.ts'

export type KubeletParts = {
  readonly cluster: ClusterPlan
  readonly mesh: string
  readonly trustDomain: string
  /** Control-plane CA, PEM file. */
  readonly caFile: string
  readonly issuer: TokenIssuer
  /** Short directory for sockets and tokens of this run. */
  readonly runDir: string
  readonly logDir: string
  /** `node` and the bundle of `isthmus proxy`. */
  readonly proxyCommand: readonly string[]
  readonly appCommand: readonly string[]
  readonly envoy: string
  readonly say: (line: string) => void
}

type Running = {
  readonly pod: PodObject
  readonly index: number
  readonly app: Program
  readonly proxy: Program
  ready: boolean
  terminating: boolean
}

/** The sandbox's kubelet, endpoint controller and token projector of one cluster. */
export type Kubelet = {
  stop(): Promise<void>
  kill(): Promise<void>
  /** Pods that are ready, of those that the manifests want; the gateway counts as one. */
  readiness(): { readonly ready: number; readonly wanted: number }
  programs(): readonly Program[]
  /** Addresses of the pods with that label `app`, ready or not. */
  addressesOf(app: string): readonly string[]
}

const roundMs = 400
const drainMs = 8000
const sidecarStatusPort = 15020

export function startKubelet(parts: KubeletParts): Kubelet {
  const { cluster } = parts
  const manifests = join(cluster.dir, 'manifests')
  const running = new Map<string, Running>()
  let gatewayReady = false
  let over = false
  let wanted: Wanted = { pods: [], services: [] }
  let timer: NodeJS.Timeout | undefined
  let hurried = false
  const tokens = new Map<string, () => void>()
  mkdirSync(join(parts.runDir, 'tokens'), { recursive: true, mode: 0o700 })
  const gateway = startGateway()
  const renewal = setInterval(() => {
    for (const write of tokens.values()) write()
  }, tokenLifeSeconds * 750)
  const watcher = watch(manifests, { recursive: true }, (_, file) => {
    if (!String(file).startsWith('live')) hurry()
  })
  watcher.on('error', () => undefined)
  let round: Promise<void> = turn()

  return {
    programs: () => [gateway, ...[...running.values()].flatMap((one) => [one.app, one.proxy])],
    addressesOf: (app) =>
      [...running.values()]
        .filter((one) => one.pod.labels['app'] === app && !one.terminating)
        .map((one) => podAddresses(cluster, one.index).inbound),
    readiness: () => ({
      ready: [...running.values()].filter((one) => one.ready).length + (gatewayReady ? 1 : 0),
      wanted: wanted.pods.length + 1,
    }),
    stop: async () => {
      await end()
      await Promise.all(
        [gateway, ...[...running.values()].flatMap((one) => [one.proxy, one.app])].map((p) => p.stop(2000)),
      )
    },
    kill: async () => {
      // All at once, as when the power goes: nothing is written, nobody is told.
      over = true
      await Promise.all([gateway, ...[...running.values()].flatMap((one) => [one.proxy, one.app])].map((p) => p.kill()))
      await end()
    },
  }

  async function end(): Promise<void> {
    over = true
    watcher.close()
    clearInterval(renewal)
    if (timer) clearTimeout(timer)
    await round
  }

  function hurry(): void {
    if (hurried || over) return
    hurried = true
    setTimeout(() => {
      hurried = false
      if (timer) clearTimeout(timer)
      round = round.then(turn)
    }, 20)
  }

  async function turn(): Promise<void> {
    if (over) return
    wanted = readWanted(manifests)
    const names = new Map(wanted.pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod]))
    for (const [name, one] of running) if (!names.has(name) && !one.terminating) void retire(name, one)
    for (const [name, pod] of names) if (!running.has(name)) start(name, pod)
    await Promise.all([...running.values()].map(probe).concat(probeGateway()))
    if (over) return
    publish()
    timer = setTimeout(() => {
      round = turn()
    }, roundMs)
  }

  function publish(): void {
    const pods = [...running.values()].map((one) => ({
      pod: one.pod,
      ip: podAddresses(cluster, one.index).inbound,
      ready: one.ready,
      terminating: one.terminating,
    }))
    writeEndpointSlices(manifests, cluster.zone, wanted.services, pods)
  }

  async function probe(one: Running): Promise<void> {
    const ip = podAddresses(cluster, one.index).application
    if (one.terminating) return
    const [app, proxy] = await Promise.all([
      answers(ip, appPort, '/health'),
      answers(ip, sidecarStatusPort, '/healthz/ready'),
    ])
    one.ready = app && proxy
  }

  async function probeGateway(): Promise<void> {
    gatewayReady = await answers(relayAddress(cluster), sidecarStatusPort, '/healthz/ready')
  }

  /** As on Kubernetes: first out of the endpoints, then SIGTERM, then gone. */
  async function retire(name: string, one: Running): Promise<void> {
    one.terminating = true
    publish()
    await Promise.all([
      one.proxy.stop(drainMs),
      new Promise((r) => setTimeout(r, 1500)).then(() => one.app.stop(drainMs)),
    ])
    running.delete(name)
    tokens.delete(name)
    if (!over) publish()
  }

  function start(name: string, pod: PodObject): void {
    const index = freeIndex(running)
    const { inbound, application, outbound } = podAddresses(cluster, index)
    const dir = join(parts.runDir, String(index))
    const token = projectToken(name, pod.namespace, pod.serviceAccount, pod.name)
    const app = startProgram({
      name: `${cluster.name}/${pod.name}`,
      command: parts.appCommand,
      log: join(parts.logDir, `${pod.name}.app.log`),
      restart: true,
      env: {
        APP: pod.image
          .replace(/^.*\//, '')
          .replace(/^bookinfo-/, '')
          .replace(/:.*$/, ''),
        VERSION: pod.labels['version'] ?? pod.image.replace(/^.*:/, ''),
        CLUSTER: cluster.name,
        POD: pod.name,
        LISTEN: application,
        PORT: String(appPort),
        OUTBOUND: outbound,
      },
      onExit: () => lost(name),
    })
    const proxy = startProxy('sidecar', pod.name, dir, `${application}:${sidecarStatusPort}`, {
      namespace: pod.namespace,
      serviceAccount: pod.serviceAccount,
      tokenFile: token,
      instanceIps: inbound,
      labels: Object.entries(pod.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
      interception: 'NONE',
      application,
      outbound,
      workload: pod.name,
    })
    running.set(name, { pod, index, app, proxy, ready: false, terminating: false })
  }

  function startGateway(): Program {
    const token = projectToken('gateway', 'isthmus-system', 'eastwest', 'eastwest-gateway')
    return startProxy(
      'router',
      'eastwest-gateway',
      join(parts.runDir, 'gw'),
      `${relayAddress(cluster)}:${sidecarStatusPort}`,
      {
        namespace: 'isthmus-system',
        serviceAccount: 'eastwest',
        tokenFile: token,
        instanceIps: gatewayAddress(cluster),
        labels: 'app=eastwest-gateway',
      },
    )
  }

  function startProxy(
    type: 'sidecar' | 'router',
    pod: string,
    dir: string,
    status: string,
    more: Record<string, string>,
  ): Program {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const flags: Record<string, string> = {
      relay: `${relayAddress(cluster)}:${relayPort}`,
      'relay-uri': `spiffe://${parts.trustDomain}/ns/isthmus-system/sa/relay`,
      'ca-file': parts.caFile,
      pod,
      cluster: cluster.name,
      network: cluster.network,
      mesh: parts.mesh,
      region: cluster.region,
      zone: cluster.zone,
      dir,
      status,
      envoy: parts.envoy,
      concurrency: '1',
      'drain-seconds-min': '1',
      'drain-seconds-max': '6',
      'log-level': 'info',
      ...Object.fromEntries(
        Object.entries(more).map(([key, value]) => [key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`), value]),
      ),
    }
    return startProgram({
      name: `${cluster.name}/${pod} proxy`,
      command: [...parts.proxyCommand, type, ...Object.entries(flags).flatMap(([key, value]) => [`--${key}`, value])],
      log: join(parts.logDir, `${pod}.proxy.log`),
      restart: true,
      onExit: () => lost(pod),
    })
  }

  /** A program ended by itself: its pod is not ready from this moment on. */
  function lost(name: string): void {
    const one = running.get(name) ?? [...running.values()].find(({ pod }) => pod.name === name)
    if (!one || over) return
    one.ready = false
    publish()
  }

  function projectToken(name: string, namespace: string, serviceAccount: string, pod: string): string {
    const path = join(parts.runDir, 'tokens', name.replace('/', '.'))
    const subject = { namespace, serviceAccount, pod, uid: uidOf(`${cluster.name}/${namespace}/${pod}`) }
    const write = () => replaceFile(path, parts.issuer.issue(subject), 0o600)
    write()
    tokens.set(name, write)
    return path
  }
}

function freeIndex(running: ReadonlyMap<string, { readonly index: number }>): number {
  const used = new Set([...running.values()].map(({ index }) => index))
  for (let index = 1; ; index++) if (!used.has(index)) return index
}

/** Whether `GET http://<host>:<port><path>` says 200 within half a second. */
export function answers(host: string, port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host, port, path, timeout: 500, agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
  })
}
