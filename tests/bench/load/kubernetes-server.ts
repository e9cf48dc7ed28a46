import { watchedKinds } from '#gateway/watch/kube-kinds.ts'
import { FakeKubeApi, type FakeObject } from '#tests/support/fake-kube-api.ts'

// A process of its own that answers as the API server of a large cluster; its parent tells it what changes.

export type ServerOrder =
  | { readonly order: 'slice'; readonly service: number; readonly ready: boolean }
  | { readonly order: 'roll'; readonly service: number; readonly generation: number }
  | { readonly order: 'expire' }
export type ServerReady = { readonly kubeconfig: string }

const [services = 1000, endpointsEach = 10, pods = 5000, nodes = 100] = process.argv.slice(2).map(Number)
const fake = await FakeKubeApi.start(watchedKinds.map(({ resource }) => resource))

/** As long as objects are in a cluster: most of it is nothing to a relay. */
const ballast = (bytes: number): string => 'x'.repeat(bytes)
const namespaceOf = (service: number): string => `team-${service % 50}`
const nameOf = (service: number): string => `service-${service}`
const podOf = (n: number): { name: string; namespace: string; ip: string } => {
  // Where there are more endpoints than pods: those of a neighbour in the same namespace, too.
  const at = n < pods ? n : (n + 50) % pods
  const service = at % services
  return {
    name: `${nameOf(service)}-${at}`,
    namespace: namespaceOf(service),
    ip: `10.${1 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`,
  }
}
const meta = (name: string, namespace: string, labels: object): FakeObject['metadata'] => ({
  ...{ name, namespace, labels, uid: `3f0c1f6e-${name}`, creationTimestamp: '2026-11-22T12:00:00Z' },
  ...{ annotations: { 'kubectl.kubernetes.io/last-applied-configuration': ballast(1500) } },
  managedFields: [{ manager: 'kube-controller-manager', operation: 'Update', fieldsV1: { said: ballast(1200) } }],
})

function putPod(n: number, account = 'default'): void {
  const { name, namespace, ip } = podOf(n)
  const labels = { app: nameOf(n % services), 'security.istio.io/tlsMode': 'istio', 'pod-template-hash': `${n}` }
  const containers = [{ name: 'app', image: 'registry.example/app:1', env: [{ name: 'A', value: ballast(1500) }] }]
  fake.put('pods', {
    metadata: meta(name, namespace, labels),
    spec: { serviceAccountName: account, nodeName: `node-${n % nodes}`, containers },
    status: { podIP: ip, podIPs: [{ ip }], phase: 'Running', conditions: [{ type: 'Ready', message: ballast(800) }] },
  })
}

function putSlice(service: number, ready = true): void {
  const endpoints = Array.from({ length: endpointsEach }, (_, i) => {
    const { name, namespace, ip } = podOf(service + i * services)
    return {
      ...{
        addresses: [ip],
        conditions: { ready, serving: ready, terminating: false },
        nodeName: `node-${service % nodes}`,
      },
      targetRef: { kind: 'Pod', name, namespace, uid: `3f0c1f6e-${name}` },
    }
  })
  fake.put('endpointslices', {
    metadata: meta(`${nameOf(service)}-abcde`, namespaceOf(service), { 'kubernetes.io/service-name': nameOf(service) }),
    ...{ addressType: 'IPv4', endpoints, ports: [{ name: 'http', port: 8080, protocol: 'TCP' }] },
  })
}

for (let n = 0; n < 50; n++) fake.put('namespaces', { metadata: { name: `team-${n}` } })
for (let n = 0; n < nodes; n++) {
  const labels = { 'topology.kubernetes.io/region': 'eu', 'topology.kubernetes.io/zone': `eu-${n % 3}` }
  fake.put('nodes', { metadata: { name: `node-${n}`, labels }, status: { images: ballast(8000) } })
}
for (let n = 0; n < pods; n++) putPod(n)
for (let n = 0; n < services; n++) {
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
  fake.put('services', {
    metadata: meta(nameOf(n), namespaceOf(n), { app: nameOf(n) }),
    spec: { clusterIP: `10.96.${n >> 8}.${n & 255}`, ports },
  })
  if (n % 5 === 0) fake.put('serviceexports', { metadata: { name: nameOf(n), namespace: namespaceOf(n) } })
  putSlice(n)
}

process.on('message', (said: ServerOrder) => {
  if (said.order === 'slice') putSlice(said.service, said.ready)
  else if (said.order === 'expire') fake.expire()
  else {
    for (let i = 0; i < endpointsEach; i++) putPod(said.service + i * services, `generation-${said.generation}`)
    putSlice(said.service, said.generation % 2 === 0)
  }
})
process.on('disconnect', () => process.exit())
process.send?.({ kubeconfig: fake.kubeconfig } satisfies ServerReady)
