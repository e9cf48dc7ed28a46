import { watch } from 'node:fs'
import { join } from 'node:path'
import { answers } from './answers.ts'
import { writeEndpointSlices } from './endpoint-slices.ts'
import { imageOf, knownApps } from './image.ts'
import { endLeftBehind } from './left-behind.ts'
import { type PodObject, readWanted, type Wanted } from './manifests.ts'
import { podAddresses, proxyStatusPort, relayAddress } from './plan.ts'
import { gatewayDir, type PodParts, type PodPrograms, startGateway, startPod } from './pod-programs.ts'
import type { Program } from './program.ts'

export type KubeletParts = PodParts & { readonly say: (line: string) => void }

type Running = {
  readonly pod: PodObject
  readonly index: number
  readonly programs: PodPrograms
  ready: boolean
  terminating: boolean
}

/** The sandbox's kubelet, endpoint controller and token projector of one cluster. */
export type Kubelet = {
  stop(): Promise<void>
  /** SIGKILL of everything at once, as when the power goes: nothing is written, nobody is told. */
  kill(): Promise<void>
  /** Stands still, as on a machine that hangs: nothing is looked at, started or written until `go`. */
  freeze(): void
  go(): void
  gatewayRuns(): boolean
  /** Process of the gateway's `isthmus proxy`. */
  gatewayPid(): number | undefined
  killGateway(): Promise<void>
  /** Starts the gateway where it was killed. */
  startGateway(): void
  /** What the manifests want and is not ready, each with the log that says why. */
  missing(): readonly { readonly name: string; readonly log: string }[]
  /** The pods that were started and are wanted still, ready or not. */
  pods(): readonly { readonly pod: PodObject; readonly index: number }[]
  /** Addresses of the pods with that label `app`, ready or not. */
  addressesOf(app: string): readonly string[]
}

const roundMs = 400
const hurryMs = 20
const drainMs = 8000
/** Callers hear that a pod leaves before its application does. */
const leaveMs = 1500
const podsMax = 250

/** Starts the gateway and then, round by round, makes what runs equal to what the manifests say. */
export function startKubelet(parts: KubeletParts): Kubelet {
  const { cluster } = parts
  const manifests = join(cluster.dir, 'manifests')
  const running = new Map<string, Running>()
  const told = new Map<string, string>()
  let gateway: PodPrograms | undefined = startGateway(parts)
  let gatewayReady = false
  let frozen = false
  let over = false
  let wanted: Wanted = { pods: [], services: [] }
  let timer: NodeJS.Timeout | undefined
  let hurried: NodeJS.Timeout | undefined
  const watcher = watchFolder()
  let round: Promise<void> = turn()

  return {
    pods: () => [...running.values()].filter((one) => !one.terminating),
    addressesOf: (app) =>
      [...running.values()]
        .filter((one) => one.pod.labels['app'] === app && !one.terminating)
        .map((one) => podAddresses(cluster, one.index).inbound),
    missing: () => [
      ...(gatewayReady ? [] : [{ name: `${cluster.name}/eastwest-gateway`, log: gateway?.log ?? '' }]),
      ...wanted.pods.filter(isKnown).flatMap((pod) => {
        const one = running.get(nameOf(pod))
        return one?.ready ? [] : [{ name: `${cluster.name}/${pod.name}`, log: one?.programs.log ?? '' }]
      }),
    ],
    freeze: () => {
      frozen = true
    },
    go: () => {
      frozen = false
      hurry()
    },
    gatewayRuns: () => gateway !== undefined,
    gatewayPid: () => gateway?.proxy.pid(),
    killGateway: async () => {
      const killed = gateway
      gateway = undefined
      gatewayReady = false
      await killed?.proxy.kill()
      // Its Envoy is of a process group of its own.
      await endLeftBehind(gatewayDir(parts))
      killed?.forget()
    },
    startGateway: () => {
      gateway ??= startGateway(parts)
    },
    stop: async () => {
      await end()
      await Promise.all(programs().map((one) => one.stop(2000)))
    },
    kill: async () => {
      over = true
      await Promise.all(programs().map((one) => one.kill()))
      await end()
    },
  }

  function programs(): Program[] {
    return [...(gateway ? [gateway] : []), ...[...running.values()].map((one) => one.programs)].flatMap(
      ({ app, proxy }) => (app ? [proxy, app] : [proxy]),
    )
  }

  async function end(): Promise<void> {
    over = true
    watcher?.close()
    clearTimeout(timer)
    clearTimeout(hurried)
    await round
    for (const { programs: one } of running.values()) one.forget()
    gateway?.forget()
  }

  /** Without a watch (no inotify watches left) the next round sees the change a moment later. */
  function watchFolder() {
    try {
      const folder = watch(manifests, { recursive: true }, (_, file) => {
        if (!String(file).startsWith('live')) hurry()
      })
      return folder.on('error', () => undefined)
    } catch {
      return undefined
    }
  }

  function hurry(): void {
    if (over) return
    hurried ??= setTimeout(() => {
      hurried = undefined
      clearTimeout(timer)
      round = round.then(turn)
    }, hurryMs)
  }

  async function turn(): Promise<void> {
    if (over) return
    clearTimeout(timer)
    if (!frozen) await look()
    if (over) return
    timer = setTimeout(() => {
      round = turn()
    }, roundMs)
  }

  async function look(): Promise<void> {
    try {
      wanted = readWanted(manifests)
      arrange()
      tell('manifests', undefined)
    } catch (error) {
      if (!parts.signal.aborted) tell('manifests', `${(error as Error).message}; everything stays as it was`)
    }
    await Promise.all([...[...running.values()].map(probe), probeGateway()])
    if (!over && !frozen) publish()
  }

  /** A pod that is new is started, one that is gone or says something else is retired; the next round starts it anew. */
  function arrange(): void {
    const named = new Map(wanted.pods.map((pod) => [nameOf(pod), pod]))
    for (const [name, one] of running) {
      const now = named.get(name)
      if (!one.terminating && (!now || JSON.stringify(now) !== JSON.stringify(one.pod))) void retire(name, one)
    }
    for (const [name, pod] of named) {
      if (running.has(name)) continue
      const index = freeIndex(running)
      if (!isKnown(pod)) tell(name, `pod ${name} is not started: image ${pod.image} is none of ${knownApps.join(', ')}`)
      else if (index > podsMax) tell(name, `pod ${name} is not started: the sandbox has ${podsMax} pods at most`)
      else start(name, pod, index)
    }
  }

  function start(name: string, pod: PodObject, index: number): void {
    const programs = startPod(parts, pod, index, () => {
      // A program ended by itself: its pod is not ready from this moment on.
      const one = running.get(name)
      if (!one || over) return
      one.ready = false
      publish()
    })
    running.set(name, { pod, index, programs, ready: false, terminating: false })
  }

  /** As on Kubernetes: first out of the endpoints, then SIGTERM, then gone. */
  async function retire(name: string, one: Running): Promise<void> {
    one.terminating = true
    one.ready = false
    publish()
    const { app, proxy, forget } = one.programs
    await Promise.all([proxy.stop(drainMs), pause(leaveMs).then(() => app?.stop(drainMs))])
    forget()
    running.delete(name)
    hurry()
  }

  function publish(): void {
    const pods = [...running.values()].map(({ pod, index, ready, terminating }) => ({
      ...{ pod, ready, terminating },
      ip: podAddresses(cluster, index).inbound,
    }))
    try {
      writeEndpointSlices(manifests, cluster.zone, wanted.services, pods)
      tell('endpoints', undefined)
    } catch (error) {
      tell('endpoints', `endpoints cannot be written: ${(error as Error).message}; tried again`)
    }
  }

  async function probe(one: Running): Promise<void> {
    const ip = podAddresses(cluster, one.index).application
    const [app, proxy] = await Promise.all([
      answers(ip, one.pod.port, '/health'),
      answers(ip, proxyStatusPort, '/healthz/ready'),
    ])
    if (!frozen) one.ready = app && proxy && !one.terminating
  }

  async function probeGateway(): Promise<void> {
    const ready = await answers(relayAddress(cluster), proxyStatusPort, '/healthz/ready')
    if (!frozen) gatewayReady = ready && gateway !== undefined
  }

  /** Says what is wrong with a thing once, and again after it was well. */
  function tell(about: string, line: string | undefined): void {
    if (told.get(about) === line) return
    if (line === undefined) return void told.delete(about)
    told.set(about, line)
    parts.say(`  ${cluster.name}: ${line}`)
  }
}

const nameOf = (pod: PodObject): string => `${pod.namespace}/${pod.name}`
const isKnown = (pod: PodObject): boolean => imageOf(pod.image) !== undefined
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

function freeIndex(running: ReadonlyMap<string, { readonly index: number }>): number {
  const used = new Set([...running.values()].map(({ index }) => index))
  for (let index = 1; ; index++) if (!used.has(index)) return index
}
