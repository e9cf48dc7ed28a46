import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'

/** One service of one cluster as the schedule wants it. */
export type WantedService = {
  /** At least one, so that the identities behind it are always known. */
  readonly pods: number
  readonly ready: number
  /** Undefined: not exported; empty: to everybody. */
  readonly exportedTo?: readonly string[]
}

const namespace = 'shop'
const inNamespace = (name: string, more: object = {}) => ({ name, namespace, ...more })

/** Writes, replaces or removes the file of one service, as `kubectl apply` would: at once and whole. */
export function writeService(manifests: string, name: string, wanted: WantedService | undefined): void {
  const path = join(manifests, `${name}.yaml`)
  if (!wanted) {
    rmSync(path, { force: true })
    return
  }
  const pods = Array.from({ length: wanted.pods }, (_, n) => `${name}-${n}`)
  const objects = [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: inNamespace(name),
      spec: { selector: { app: name }, ports: [{ name: 'http', port: 9080, targetPort: 9080 }] },
    },
    ...pods.map((pod) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: inNamespace(pod, { labels: { app: name, 'security.istio.io/tlsMode': 'istio' } }),
      spec: { serviceAccountName: name, containers: [{ name: 'app', image: 'app:v1' }] },
    })),
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: inNamespace(`${name}-1`, { labels: { 'kubernetes.io/service-name': name } }),
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 9080, protocol: 'TCP' }],
      endpoints: pods.map((pod, n) => ({
        addresses: [`10.0.0.${n + 1}`],
        conditions: { ready: n < wanted.ready, serving: n < wanted.ready, terminating: false },
        zone: 'a',
        targetRef: { kind: 'Pod', name: pod, namespace },
      })),
    },
    ...(wanted.exportedTo ? [exportOf(name, wanted.exportedTo)] : []),
  ]
  writeFileSync(`${path}.new`, objects.map((object) => stringify(object)).join('---\n'))
  renameSync(`${path}.new`, path)
}

const exportOf = (name: string, to: readonly string[]) => ({
  apiVersion: 'multicluster.x-k8s.io/v1alpha1',
  kind: 'ServiceExport',
  metadata: inNamespace(name, to.length > 0 ? { annotations: { 'isthmus.dev/consumers': to.join(',') } } : {}),
})
