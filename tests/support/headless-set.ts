import { join } from 'node:path'
import { stringify } from 'yaml'
import { replaceFile } from '#infra/local/replace-file.ts'
import type { FleetCluster } from '#tests/support/fleet-cluster.ts'
import { namespace } from '#tests/support/fleet-manifests.ts'
import { appPorts } from '#tests/support/protocols.ts'

/**
 * A headless Service over pods of whatever app, as a StatefulSet has one: the n-th is `<set>-<n>`. Exported, with a name
 * for its cluster. The slice is written here and not by readiness, so the pods are to be ready.
 */
export function writeHeadlessSet(cluster: FleetCluster, set: string, pods: readonly string[]): void {
  const metadata = { name: set, namespace }
  const objects = [
    {
      ...{ apiVersion: 'v1', kind: 'Service', metadata },
      spec: { clusterIP: 'None', ports: [{ name: 'http', port: appPorts.http }] },
    },
    {
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': set } },
      ports: [{ name: 'http', port: appPorts.http }],
      endpoints: pods.map((name, n) => ({
        ...{ addresses: [cluster.pod(name).ip], hostname: `${set}-${n}` },
        targetRef: { kind: 'Pod', name, namespace },
      })),
    },
    {
      ...{ apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport' },
      metadata: { ...metadata, annotations: { 'isthmus.dev/per-cluster-name': 'true' } },
    },
  ]
  const text = objects.map((object) => stringify(object)).join('---\n')
  replaceFile(join(cluster.dir, 'manifests', `${set}.set.yaml`), text)
}
