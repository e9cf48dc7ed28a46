import { join } from 'node:path'
import type { PodObject } from '#infra/local/manifests.ts'
import { type ClusterPlan, podAddresses } from '#infra/local/plan.ts'
import { hostOfApp } from '#tests/support/fleet-manifests.ts'
import { startProgram } from '#tests/support/fleet-program.ts'
import { answers, type FleetProxy, startFleetProxy } from '#tests/support/fleet-proxy.ts'
import type { Target } from '#tests/support/protocol-client.ts'
import { appPorts, type PortName } from '#tests/support/protocols.ts'
import { eventually } from '#tests/support/until.ts'

/** Every app of the fleet, in an order that never changes: the n-th has its stream address at .10+n of each pod. */
export type AppNames = readonly string[]

export type PodParts = {
  readonly plan: ClusterPlan
  readonly pod: PodObject
  /** 1-based; the third octet of the pod's addresses. */
  readonly index: number
  readonly apps: AppNames
  readonly settings: Readonly<Record<string, string>>
  readonly runDir: string
  readonly logDir: string
  readonly proxyProgram: string
  readonly envoy: string
  /** Readiness moved: write the slices. */
  readonly publish: () => void
}

/** One pod: an application, its `isthmus proxy` and Envoy, on addresses of its own. */
export type FleetPod = FleetProxy & {
  readonly object: PodObject
  readonly ip: string
  /** Where its application listens, without any proxy. */
  readonly application: string
  isReady(): boolean
  isTerminating(): boolean
  /** Where this pod's application calls an app of the mesh, as if its own process did. */
  to(app: string, port: PortName, host?: string): Target
  untilReady(): Promise<void>
  /** Its readiness probe fails, or passes again; whatever it answers. */
  probed(passes: boolean): void
}

const statusPort = 15020
const readyMs = 40_000

export function startFleetPod(parts: PodParts): FleetPod {
  const { plan, pod, index, apps } = parts
  const { inbound: ip, application, outbound } = podAddresses(plan, index)
  const streamAddress = (app: string): string => `127.${plan.octet}.${index}.${10 + apps.indexOf(app)}`
  const tcp = apps.flatMap((app) =>
    [appPorts.tcp, appPorts.tls].map((port) => `${hostOfApp(app)}:${port}=${streamAddress(app)}`),
  )
  let ready = false
  let terminating = false
  let over = false
  const setReady = (now: boolean): void => {
    if (ready === now || over) return
    ready = now
    parts.publish()
  }
  /** As a kubelet: not ready from the moment a program ends until both answer again. */
  const lost = (): void => {
    setReady(false)
    if (!over) becomeReady().catch(() => undefined)
  }
  const app = startProgram({
    name: `${plan.name}/${pod.name}`,
    command: [process.execPath, join(import.meta.dirname, 'protocol-app.ts')],
    env: { CLUSTER: plan.name, POD: pod.name, LISTEN: application },
    log: join(parts.logDir, `${pod.name}.app.log`),
    restart: true,
    onExit: lost,
  })
  const proxy = startFleetProxy({
    name: `${plan.name}/${pod.name}`,
    type: 'sidecar',
    settings: {
      ...parts.settings,
      ...{ 'instance-ips': ip, interception: 'NONE', application, outbound, tcp: tcp.join(',') },
      labels: Object.entries(pod.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
    },
    dir: join(parts.runDir, String(index)),
    log: join(parts.logDir, `${pod.name}.proxy.log`),
    status: { host: application, port: statusPort },
    program: parts.proxyProgram,
    envoy: parts.envoy,
    onExit: lost,
  })
  const becomeReady = async (): Promise<void> => {
    await eventually(readyMs, `pod ${pod.name} of ${plan.name} is ready`, async () => {
      if (over) return true
      const [one, two] = await Promise.all([answers(application, appPorts.http, '/'), proxy.ready()])
      return one && two
    })
    setReady(true)
  }
  const end = () => {
    over = true
    ready = false
  }
  const firstReady = becomeReady()
  firstReady.catch(() => undefined)
  return {
    ...proxy,
    object: pod,
    ip,
    application,
    isReady: () => ready,
    isTerminating: () => terminating,
    untilReady: () => firstReady,
    to: (name, port, host = hostOfApp(name)) => ({
      address: port === 'tcp' || port === 'tls' ? streamAddress(name) : outbound,
      port: appPorts[port],
      host,
    }),
    probed: (passes) => {
      setReady(passes)
    },
    down: async () => {
      await Promise.all([proxy.down(), app.down()])
    },
    up: () => {
      proxy.up()
      app.up()
      lost()
    },
    /** As on Kubernetes: first out of the endpoints, then SIGTERM to both. */
    stop: async () => {
      terminating = true
      parts.publish()
      end()
      await proxy.stop()
      await app.stop(2000)
    },
    kill: async () => {
      end()
      await Promise.all([proxy.kill(), app.kill()])
    },
  }
}
