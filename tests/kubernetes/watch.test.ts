import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { kubeApi } from '#gateway/kube-api.ts'
import { watchedKinds } from '#gateway/watch/kube-kinds.ts'
import { kubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import { parseNetworkName } from '#mesh/model/id.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import type { KubeObject } from '#tests/support/kubernetes/kinds.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'
import { type WatchedApi, watchSuite } from '#tests/support/watch-suite.ts'

describeWithClusters('a real API server', () => {
  let cluster: KubeCluster
  const definition: KubeObject = parse(readFileSync(join(root, 'infra/crds/serviceexports.yaml'), 'utf8'))

  const open = async (): Promise<WatchedApi> => {
    cluster = await startKubeCluster({ name: 'watched' })
    return {
      kubeconfig: cluster.kubeconfig,
      put: async (object) => {
        if (object.kind === 'Pod')
          await eventually(30_000, 'pods are taken', () => cluster.apply([object]).then(() => true))
        else await cluster.apply([object])
      },
      remove: (object) => cluster.remove(object),
      serveExports: (isServed) => (isServed ? cluster.apply([definition]) : cluster.remove(definition)),
      away: (isAway) => (isAway ? cluster.apiServer.kill() : cluster.apiServer.start()),
      stop: () => cluster.stop(),
    }
  }
  watchSuite(open)
})

describeWithClusters('rights that the relay may lack', () => {
  test('are named, one verb short, and the rest goes on', async () => {
    const cluster = await startKubeCluster({ name: 'short' })
    try {
      const role = (servicesVerbs: readonly string[]): KubeObject[] => {
        const name = 'isthmus-relay'
        const groups = Map.groupBy(watchedKinds, ({ group }) => group)
        const rules = [...groups].map(([group, kinds]) => ({
          apiGroups: [group],
          resources: kinds.map(({ resource }) => resource).filter((resource) => resource !== 'services'),
          verbs: ['get', 'list', 'watch'],
        }))
        const services = { apiGroups: [''], resources: ['services'], verbs: servicesVerbs }
        const rbac = 'rbac.authorization.k8s.io'
        return [
          { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: 'default', name: 'relay' } },
          { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name }, ...{ rules: [...rules, services] } },
          {
            ...{ apiVersion: `${rbac}/v1`, kind: 'ClusterRoleBinding', metadata: { name } },
            ...{ roleRef: { apiGroup: rbac, kind: 'ClusterRole', name } },
            ...{ subjects: [{ kind: 'ServiceAccount', namespace: 'default', name: 'relay' }] },
          },
        ]
      }
      await cluster.apply(role(['get', 'list']))
      const kubeconfig = await cluster.kubeconfigOf({ namespace: 'default', serviceAccount: 'relay' })
      const audit = cluster.audit.fromNow()
      const watch = kubernetesWatch({
        ...{ api: kubeApi({ kubeconfig }), home: { network: parseNetworkName('n1'), region: 'r1' } },
        times: { backoff: { firstMs: 100, maxMs: 1000 } },
      })
      try {
        const start = watch.start()
        const rule =
          'add this rule to the ClusterRole of the relay: {"apiGroups":[""],"resources":["services"],"verbs":["watch"]}'
        await eventually(60_000, 'the rule is named', () =>
          watch.rejected().some(({ reason }) => reason.includes(rule)),
        )
        expect(watch.isSynced()).toBe(false)
        await cluster.apply(role(['get', 'list', 'watch']))
        await start
        await eventually(60_000, 'nothing is wrong', () => watch.rejected().length === 0)
        await cluster.settled()
        const user = 'system:serviceaccount:default:relay'
        expect(audit.refusedRequests(user).every(({ objectRef }) => objectRef?.resource === 'services')).toBe(true)
        expect(audit.secretReads(user)).toEqual([])
        expect(audit.writes(user)).toEqual([])
      } finally {
        await watch.stop()
      }
    } finally {
      await cluster.stop()
    }
  })
})
