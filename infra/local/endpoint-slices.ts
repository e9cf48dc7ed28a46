import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { PodObject, ServiceObject } from './manifests.ts'
import { replaceFile } from './replace-file.ts'

/** A pod as it runs. */
export type RunningPod = {
  readonly pod: PodObject
  readonly ip: string
  readonly ready: boolean
  readonly terminating: boolean
}

/**
 * Writes one EndpointSlice per service into `<manifests>/live`, as Kubernetes' own controller would, and removes those
 * of services that are gone. A file is written only when it says something new.
 */
export function writeEndpointSlices(
  manifests: string,
  zone: string,
  services: readonly ServiceObject[],
  pods: readonly RunningPod[],
): void {
  const dir = join(manifests, 'live')
  mkdirSync(dir, { recursive: true })
  const files = new Set<string>()
  for (const service of services) {
    const file = `${service.namespace}.${service.name}.endpoints.yaml`
    files.add(file)
    const text = stringify(sliceOf(service, zone, pods))
    const path = join(dir, file)
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) replaceFile(path, text)
  }
  for (const file of readdirSync(dir)) if (file.endsWith('.endpoints.yaml') && !files.has(file)) rmSync(join(dir, file))
}

function sliceOf(service: ServiceObject, zone: string, pods: readonly RunningPod[]): object {
  const selected = pods.filter(
    ({ pod }) =>
      pod.namespace === service.namespace &&
      Object.entries(service.selector).every(([label, value]) => pod.labels[label] === value),
  )
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service.name}-live`,
      namespace: service.namespace,
      labels: { 'kubernetes.io/service-name': service.name },
    },
    addressType: 'IPv4',
    ports: service.ports.map(({ name, targetPort, appProtocol }) => ({
      name,
      port: targetPort,
      protocol: 'TCP',
      ...(appProtocol ? { appProtocol } : {}),
    })),
    endpoints: selected.map(({ pod, ip, ready, terminating }) => ({
      addresses: [ip],
      conditions: { ready: ready && !terminating, serving: ready, terminating },
      zone,
      // Source: ShouldSetHostname of Kubernetes' endpoint slice controller.
      ...(pod.hostname && pod.subdomain === service.name ? { hostname: pod.hostname } : {}),
      targetRef: { kind: 'Pod', name: pod.name, namespace: pod.namespace },
    })),
  }
}
