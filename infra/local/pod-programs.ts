import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { imageOf } from './image.ts'
import type { PodObject } from './manifests.ts'
import {
  type ClusterPlan,
  gatewayAddress,
  podAddresses,
  proxyStatusPort,
  relayAddress,
  relayPort,
  streamPorts,
  streamService,
} from './plan.ts'
import { type Program, startProgram } from './program.ts'
import { replaceFile } from './replace-file.ts'
import { type TokenIssuer, tokenLifeSeconds, uidOf } from './token-issuer.ts'

export type PodParts = {
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
  readonly signal: AbortSignal
}

/** The programs of one pod and its projected token, which is renewed while they run. */
export type PodPrograms = {
  readonly app?: Program
  readonly proxy: Program
  /** Log of the proxy and its Envoy. */
  readonly log: string
  forget(): void
}

const gatewayName = 'eastwest-gateway'
const gatewayNamespace = 'isthmus-system'
const renewMs = tokenLifeSeconds * 750

export const gatewayDir = ({ runDir }: Pick<PodParts, 'runDir'>): string => join(runDir, 'gw')

/** The east-west gateway: `isthmus proxy` and its Envoy, no application. */
export function startGateway(parts: PodParts): PodPrograms {
  const { cluster } = parts
  const pod = { namespace: gatewayNamespace, name: gatewayName, serviceAccount: 'eastwest' }
  const token = projectToken(parts, pod)
  const log = join(parts.logDir, `${gatewayName}.proxy.log`)
  const proxy = startProxy(parts, 'router', log, {
    ...identityFlags(pod, token.path),
    dir: gatewayDir(parts),
    status: `${relayAddress(cluster)}:${proxyStatusPort}`,
    'instance-ips': gatewayAddress(cluster),
    labels: `app=${gatewayName}`,
  })
  return { proxy, log, forget: token.forget }
}

/** An application pod at an index: its program, and the sidecar. `onLost` is told when one of them ends by itself. */
export function startPod(parts: PodParts, pod: PodObject, index: number, onLost: () => void): PodPrograms {
  const { cluster } = parts
  const { inbound, application, outbound, streams } = podAddresses(cluster, index)
  const image = imageOf(pod.image)
  if (!image) throw new Error(`${pod.image} is no image of the sandbox`)
  const token = projectToken(parts, pod)
  const name = `${pod.namespace}.${pod.name}`
  const log = join(parts.logDir, `${name}.proxy.log`)
  const app = startProgram({
    ...{ runDir: parts.runDir, signal: parts.signal, onExit: onLost },
    name: `${cluster.name}/${name}`,
    command: parts.appCommand,
    log: join(parts.logDir, `${name}.app.log`),
    env: {
      ...{ APP: image.app, VERSION: pod.labels['version'] ?? image.version, CLUSTER: cluster.name, POD: pod.name },
      ...{ LISTEN: application, PORT: String(pod.port), OUTBOUND: outbound },
    },
  })
  const proxy = startProxy(
    parts,
    'sidecar',
    log,
    {
      ...identityFlags(pod, token.path),
      dir: join(parts.runDir, String(index)),
      status: `${application}:${proxyStatusPort}`,
      'instance-ips': inbound,
      labels: Object.entries(pod.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
      interception: 'NONE',
      ...{ application, outbound, workload: pod.name },
      tcp: Object.values(streamPorts)
        .map((port) => `${streamService}:${port}=${streams}`)
        .join(','),
    },
    onLost,
  )
  return { app, proxy, log, forget: token.forget }
}

type Subject = Pick<PodObject, 'namespace' | 'name' | 'serviceAccount'>

const identityFlags = ({ namespace, name, serviceAccount }: Subject, tokenFile: string) => ({
  ...{ pod: name, namespace },
  ...{ 'service-account': serviceAccount, 'token-file': tokenFile },
})

function startProxy(
  parts: PodParts,
  type: 'sidecar' | 'router',
  log: string,
  more: Readonly<Record<string, string>> & { readonly dir: string },
  onExit?: () => void,
): Program {
  const { cluster } = parts
  mkdirSync(more.dir, { recursive: true, mode: 0o700 })
  const flags: Record<string, string> = {
    relay: `${relayAddress(cluster)}:${relayPort}`,
    'relay-uri': `spiffe://${parts.trustDomain}/ns/isthmus-system/sa/relay`,
    'ca-file': parts.caFile,
    ...{ cluster: cluster.name, network: cluster.network, mesh: parts.mesh },
    ...{ region: cluster.region, zone: cluster.zone, envoy: parts.envoy, concurrency: '1' },
    ...{ 'drain-seconds-min': '1', 'drain-seconds-max': '6', 'log-level': 'info' },
    ...more,
  }
  return startProgram({
    ...{ runDir: parts.runDir, signal: parts.signal, log },
    name: `${cluster.name}/${more['pod']} proxy`,
    command: [...parts.proxyCommand, type, ...Object.entries(flags).flatMap(([key, value]) => [`--${key}`, value])],
    ...(onExit ? { onExit } : {}),
  })
}

/** Writes a projected token and a new one at three quarters of its life. */
function projectToken(parts: PodParts, { namespace, name, serviceAccount }: Subject) {
  const dir = join(parts.runDir, 'tokens')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const path = join(dir, `${namespace}.${name}`)
  const subject = {
    ...{ namespace, serviceAccount, pod: name },
    uid: uidOf(`${parts.cluster.name}/${namespace}/${name}`),
  }
  const write = () => replaceFile(path, parts.issuer.issue(subject), 0o600)
  write()
  let timer = setTimeout(function renew() {
    let wait = renewMs
    try {
      write()
    } catch {
      wait = 10_000
    }
    timer = setTimeout(renew, wait)
  }, renewMs)
  return {
    path,
    forget: () => {
      clearTimeout(timer)
      rmSync(path, { force: true })
    },
  }
}
