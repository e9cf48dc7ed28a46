import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { prepareFile, replaceFile } from '#infra/local/replace-file.ts'

/** How large the bench's cluster is; printed with every figure. */
export type ClusterScale = {
  readonly services: number
  readonly endpoints: number
  /** Endpoints of one more service. */
  readonly large: number
  readonly remote: number
  /** Services that each remote cluster offers, the first of ours, and endpoints of each; absent: all, and as many. */
  readonly remoteServices?: number
  readonly remoteEndpoints?: number
}

export const namespace = 'shop'
export const servicePort = 80
const targetPort = 8080
const sliceMax = 100
export const largeName = 'large'
export const nameAt = (n: number): string => `svc-${n}`

/** The name under which a sidecar asks for a service's endpoints. */
export const endpointsName = (service: string): string =>
  `outbound|${servicePort}||${service}.${namespace}.svc.cluster.local`

export type BigCluster = {
  /** One endpoint comes, or the one that came goes: writes the slice that changes. */
  readonly change: (service: string) => bigint
  readonly add: (service: string, endpoints: number) => void
  readonly addressOf: (service: string, pod: number) => string
}

/** Writes a cluster of ordinary Kubernetes YAML into `dir`: a file per object and change, as an exporter would. */
export function writeBigCluster(dir: string, scale: ClusterScale): BigCluster {
  const live = join(dir, 'live')
  mkdirSync(live, { recursive: true })
  const index = new Map<string, number>()
  const addressOf = (service: string, pod: number) => {
    const at = index.get(service) ?? 0
    return `10.${100 + (at >> 6)}.${((at & 63) << 2) + (pod >> 8)}.${pod & 255}`
  }
  const pod = (service: string, n: number) => ({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: {
      ...{ name: `${service}-${n}`, namespace },
      labels: { app: service, version: 'v1', 'security.istio.io/tlsMode': 'istio' },
    },
    spec: { serviceAccountName: service, containers: [{ name: 'app', image: `${service}:v1` }] },
    status: { phase: 'Running', podIP: addressOf(service, n) },
  })
  const slice = (service: string, part: number, pods: readonly number[]) => ({
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
    metadata: { name: `${service}-${part}`, namespace, labels: { 'kubernetes.io/service-name': service } },
    ports: [{ name: 'http', port: targetPort, protocol: 'TCP', appProtocol: 'http' }],
    endpoints: pods.map((n) => ({
      addresses: [addressOf(service, n)],
      conditions: { ready: true, serving: true, terminating: false },
      zone: 'eu-west-1a',
      targetRef: { kind: 'Pod', name: `${service}-${n}`, namespace },
    })),
  })
  const text = (objects: readonly object[]) => objects.map((one) => stringify(one)).join('---\n')
  const podsOf = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n)
  const sizes = new Map<string, number>()

  const resize = (service: string, endpoints: number) => {
    const before = sizes.get(service) ?? 0
    sizes.set(service, endpoints)
    const parts = (count: number) => Math.ceil(count / sliceMax)
    const prepared: (() => void)[] = []
    for (let part = 0; part < Math.max(parts(before), parts(endpoints)); part++) {
      const wanted = podsOf(part * sliceMax, Math.min((part + 1) * sliceMax, endpoints))
      const had = podsOf(part * sliceMax, Math.min((part + 1) * sliceMax, before))
      if (wanted.length === had.length) continue
      const file = join(live, `${service}.${part}.endpoints.yaml`)
      prepared.push(prepareFile(file, stringify(slice(service, part, wanted))))
    }
    const at = process.hrtime.bigint()
    for (const put of prepared) put()
    return at
  }
  const add = (service: string, endpoints: number) => {
    index.set(service, index.size)
    const metadata = { name: service, namespace }
    // One pod more than stands behind the service: it is what comes and goes.
    replaceFile(join(dir, `${service}.pods.yaml`), text(podsOf(0, endpoints + 1).map((n) => pod(service, n))))
    resize(service, endpoints)
    const ports = [{ name: 'http', port: servicePort, targetPort, appProtocol: 'http' }]
    const spec = { clusterIP: `10.96.${index.size >> 8}.${index.size & 255}`, selector: { app: service }, ports }
    const exported = { apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport', metadata }
    const object = { apiVersion: 'v1', kind: 'Service', metadata, spec }
    replaceFile(join(dir, `${service}.service.yaml`), text([object, exported]))
  }
  for (let n = 0; n < scale.services; n++) add(nameAt(n), scale.endpoints)
  add(largeName, scale.large)
  const change = (service: string) => {
    const usual = service === largeName ? scale.large : scale.endpoints
    return resize(service, sizes.get(service) === usual ? usual + 1 : usual)
  }
  return { change, add, addressOf }
}
