import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { relayName } from '#gateway/proxy/relay-name.ts'
import { writeEndpointSlices } from '#infra/local/endpoint-slices.ts'
import type { ServiceObject } from '#infra/local/manifests.ts'
import {
  type ClusterPlan,
  gatewayAddress,
  gatewayPort,
  relayAddress,
  relayPort,
  statusPort,
} from '#infra/local/plan.ts'
import { relayEnvironment } from '#infra/local/relay-environment.ts'
import { replaceFile } from '#infra/local/replace-file.ts'
import { issuerOf } from '#infra/local/seed.ts'
import { tokenIssuer, uidOf } from '#infra/local/token-issuer.ts'
import { type FleetCentre, joinTokenOf } from '#tests/support/fleet-centre.ts'
import {
  exportYaml,
  hostOfApp,
  namespace,
  type PodSpec,
  podObjectOf,
  podYaml,
  serviceObjectOf,
  serviceYaml,
} from '#tests/support/fleet-manifests.ts'
import { type AppNames, type FleetPod, startFleetPod } from '#tests/support/fleet-pod.ts'
import { type Program, startProgram } from '#tests/support/fleet-program.ts'
import { answers, type FleetProxy, startFleetProxy } from '#tests/support/fleet-proxy.ts'
import { appPorts, type PortName } from '#tests/support/protocols.ts'
import { eventually } from '#tests/support/until.ts'
import { type RelayCaller, type WorkloadIdentity, workloadIdentity } from '#tests/support/workload-identity.ts'

export type ClusterParts = {
  readonly plan: ClusterPlan
  readonly apps: AppNames
  readonly centre: FleetCentre
  readonly runDir: string
  readonly logDir: string
  readonly programs: { readonly relay: string; readonly proxy: string }
  readonly envoy: string
  /** One where absent. */
  readonly gateways?: number
}

/** One member cluster: a directory of Kubernetes YAML, a relay, an east-west gateway and pods. */
export type FleetCluster = {
  readonly name: string
  readonly dir: string
  readonly trustDomain: string
  readonly relayAddress: string
  readonly gatewayAddress: string
  /** Where `gateways` are dialled, in their order. */
  readonly gatewayAddresses: readonly string[]
  readonly gateway: FleetProxy
  /** `gateway` and those beside it. */
  readonly gateways: readonly FleetProxy[]
  pod(name: string): FleetPod
  /** Writes the Pod, and the Service of its app where there is none; resolves when it is ready and in the slices. */
  addPod(name: string, spec: PodSpec): Promise<FleetPod>
  /** As deleted on Kubernetes: out of the endpoints, drained, gone. */
  removePod(name: string): Promise<void>
  /** Another Service in front of an app's pods; the app's own comes with its first pod. */
  serve(app: string, ports: readonly PortName[], service: string): void
  export(app: string, consumers?: string): void
  unexport(app: string): void
  /** The relay's `/status`. Throws while it does not answer. */
  status(): Promise<Readonly<Record<string, unknown>>>
  /** The relay's metrics whose lines begin with `name`, by the whole sample name. */
  metrics(name: string): Promise<ReadonlyMap<string, number>>
  startRelay(): Promise<void>
  /** Throws while it does not run. */
  relayPid(): number
  /** SIGKILL; the directory stays. */
  killRelay(): Promise<void>
  /** What a pod of a service account, which need not be there, asks this cluster's relay with. */
  caller(serviceAccount: string): RelayCaller
  /** A real workload certificate of this cluster, signed by its relay for a service account. */
  identity(serviceAccount: string): Promise<WorkloadIdentity>
  /** SIGKILL of everything. */
  kill(): Promise<void>
}

const relayMs = 30_000
const proxyStatusPort = 15020

/** The cluster joins by a token of the centre; resolves when its relay serves proxies. No proxy runs yet but the gateway's. */
export async function startFleetCluster(parts: ClusterParts): Promise<FleetCluster> {
  const { plan, runDir, logDir } = parts
  const { name, dir } = plan
  const manifests = join(dir, 'manifests')
  const pods = new Map<string, FleetPod>()
  const services = new Map<string, ServiceObject>()
  let next = 1
  const addresses = gatewayAddresses(plan, parts.gateways ?? 1)
  for (const one of [manifests, join(runDir, 'tokens'), logDir]) mkdirSync(one, { recursive: true, mode: 0o700 })
  replaceFile(join(dir, 'isthmus.yaml'), relaySettings(plan, addresses))
  const issuer = tokenIssuer(plan)
  const publish = (): void =>
    writeEndpointSlices(
      manifests,
      plan.zone,
      [...services.values()],
      [...pods.values()].map((pod) => ({
        ...{ pod: pod.object, ip: pod.ip },
        ...{ ready: pod.isReady(), terminating: pod.isTerminating() },
      })),
    )
  const tokenFor = (pod: string, serviceAccount: string, inNamespace = namespace): string => {
    const path = join(runDir, 'tokens', pod)
    const uid = uidOf(`${name}/${inNamespace}/${pod}`)
    replaceFile(path, issuer.issue({ namespace: inNamespace, serviceAccount, pod, uid }), 0o600)
    return path
  }

  let relay: Program | undefined
  const startRelay = async (): Promise<void> => {
    const joined = existsSync(join(dir, 'state/membership.json'))
    const token = joined ? [] : ['--join', await joinTokenOf(parts.centre, plan)]
    relay = startProgram({
      name: `${name}/relay`,
      command: [process.execPath, parts.programs.relay, '--dir', dir, ...token],
      env: relayEnvironment,
      log: join(logDir, 'relay.log'),
    })
  }
  await startRelay()
  await eventually(relayMs, `the relay of ${name} serves`, () => answers(relayAddress(plan), statusPort, '/readyz'))
  const { mesh, trustDomain } = JSON.parse(readFileSync(join(dir, 'state/membership.json'), 'utf8')) as {
    readonly mesh: string
    readonly trustDomain: string
  }

  const controlPlaneCa = join(dir, 'state/control-plane-ca.pem')
  const proxySettings = (pod: string, serviceAccount: string, inNamespace = namespace) => ({
    relay: `${relayAddress(plan)}:${relayPort}`,
    'relay-uri': `spiffe://${trustDomain}/ns/isthmus-system/sa/relay`,
    'ca-file': controlPlaneCa,
    'token-file': tokenFor(pod, serviceAccount, inNamespace),
    ...{ pod, cluster: name, network: plan.network, mesh, region: plan.region, zone: plan.zone },
    ...{ namespace: inNamespace, 'service-account': serviceAccount },
  })
  const caller = (serviceAccount: string): RelayCaller => ({
    relay: { host: relayAddress(plan), port: relayPort },
    name: relayName(`spiffe://${trustDomain}/ns/isthmus-system/sa/relay`, name),
    caFile: controlPlaneCa,
    tokenFile: tokenFor(`visitor-${serviceAccount}`, serviceAccount),
    cluster: name,
  })
  const startGateway = (address: string, n: number): FleetProxy => {
    const suffix = n === 0 ? '' : `-${n + 1}`
    return startFleetProxy({
      name: `${name}/gateway${suffix}`,
      type: 'router',
      settings: {
        ...proxySettings(`eastwest-gateway${suffix}`, 'eastwest', 'isthmus-system'),
        'instance-ips': address,
      },
      dir: join(runDir, `gw${suffix}`),
      log: join(logDir, `gateway${suffix}.proxy.log`),
      status: { host: n === 0 ? relayAddress(plan) : address, port: proxyStatusPort },
      program: parts.programs.proxy,
      envoy: parts.envoy,
      onExit: () => undefined,
    })
  }
  const gateway = startGateway(gatewayAddress(plan), 0)
  const gateways = [gateway, ...addresses.slice(1).map((address, n) => startGateway(address, n + 1))]

  const found = (pod: string): FleetPod => {
    const one = pods.get(pod)
    if (!one) throw new Error(`cluster ${name} has no pod "${pod}", but ${[...pods.keys()].join(', ')}`)
    return one
  }
  const serve = (app: string, ports: readonly PortName[], service = app): void => {
    const object = serviceObjectOf(app, ports, service)
    services.set(service, object)
    replaceFile(join(manifests, `${service}.service.yaml`), serviceYaml(object))
  }
  return {
    ...{ name, dir, trustDomain, gateway, gateways, startRelay },
    relayAddress: relayAddress(plan),
    gatewayAddress: gatewayAddress(plan),
    gatewayAddresses: addresses,
    pod: found,
    addPod: async (pod, spec) => {
      const object = podObjectOf(pod, spec)
      replaceFile(join(manifests, `${pod}.pod.yaml`), podYaml(object))
      if (!services.has(spec.app)) serve(spec.app, spec.ports)
      const started = startFleetPod({
        ...{ plan, pod: object, index: next++, apps: parts.apps, runDir, logDir, envoy: parts.envoy, publish },
        settings: proxySettings(pod, object.serviceAccount),
        proxyProgram: parts.programs.proxy,
      })
      pods.set(pod, started)
      publish()
      await started.untilReady()
      return started
    },
    removePod: async (pod) => {
      const one = found(pod)
      rmSync(join(manifests, `${pod}.pod.yaml`))
      await one.stop()
      pods.delete(pod)
      publish()
    },
    serve: (app, ports, service) => {
      serve(app, ports, service)
      publish()
    },
    export: (app, consumers) => replaceFile(join(manifests, `${app}.export.yaml`), exportYaml(app, consumers)),
    unexport: (app) => rmSync(join(manifests, `${app}.export.yaml`)),
    status: async () => JSON.parse(await textOf(relayAddress(plan), '/status')) as Readonly<Record<string, unknown>>,
    metrics: async (wanted) => samplesOf(await textOf(relayAddress(plan), '/metrics'), wanted),
    killRelay: async () => relay?.kill(),
    relayPid: () => {
      const pid = relay?.pid()
      if (pid === undefined) throw new Error(`the relay of ${name} does not run`)
      return pid
    },
    caller,
    identity: (serviceAccount) => workloadIdentity(caller(serviceAccount)),
    kill: async () => {
      await Promise.all([
        relay?.kill(),
        ...gateways.map((one) => one.kill()),
        ...[...pods.values()].map((pod) => pod.kill()),
      ])
    },
  }
}

/** The first is the plan's own; those beside it stand in the same /24, behind it. */
const gatewayAddresses = (plan: ClusterPlan, count: number): string[] =>
  Array.from({ length: count }, (_, n) => (n === 0 ? gatewayAddress(plan) : `127.${plan.octet}.0.${100 + n}`))

const relaySettings = (plan: ClusterPlan, addresses: readonly string[]): string =>
  stringify({
    ...{ cluster: plan.name, region: plan.region, network: plan.network },
    gateways: addresses.map((address) => ({ address, port: gatewayPort })),
    relay: {
      ...{ address: relayAddress(plan), port: relayPort },
      ...{ statusAddress: relayAddress(plan), statusPort },
    },
    tokens: { issuer: issuerOf(plan), jwks: 'jwks.json' },
  })

function textOf(host: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = get({ host, port: statusPort, path, agent: false, timeout: 2000 }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part) => {
        text += part
      })
      answer.on('error', reject)
      answer.on('end', () => (answer.statusCode === 200 ? resolve(text) : reject(new Error(`${path}: ${text}`))))
    })
    call.on('timeout', () => call.destroy(new Error(`no answer to ${path}`)))
    call.on('error', reject)
  })
}

const samplesOf = (text: string, wanted: string): ReadonlyMap<string, number> =>
  new Map(
    text.split('\n').flatMap((line) => {
      const at = line.lastIndexOf(' ')
      return line.startsWith(wanted) ? [[line.slice(0, at), Number(line.slice(at + 1))] as const] : []
    }),
  )

/** The SNI at which a gateway answers for one port of an app. */
export const sniOfApp = (app: string, port: PortName): string => `outbound_.${appPorts[port]}_._.${hostOfApp(app)}`
