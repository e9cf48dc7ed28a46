import { Resolver } from 'node:dns/promises'
import pino from 'pino'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildDefinitions } from '#cli/onboard/manifests/definitions.ts'
import { systemNamespace } from '#cli/onboard/manifests/object.ts'
import { buildRbac } from '#cli/onboard/manifests/rbac.ts'
import { type ClusterSet, openClusterSet } from '#gateway/cluster-set.ts'
import type { Standing } from '#gateway/ground.ts'
import { kubeApi } from '#gateway/kube-api.ts'
import type { OwnKubernetes } from '#gateway/own-kubernetes.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { seenParsers } from '#gateway/status/seen-objects.ts'
import { viewKeeper } from '#gateway/view-keeper.ts'
import { type KubernetesWatch, kubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import { offer, port } from '#mesh/compile/testdata/fleet.ts'
import { parseRange } from '#mesh/mcs/addresses.ts'
import { configOfHome, heard, viewOf, web } from '#mesh/mcs/testing/two-clusters.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import { said as saidIn } from '#tests/support/kubernetes/audit.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { eventually } from '#tests/support/until.ts'

// The multi-cluster services API at a real API server, with exactly the rules that are shipped. The mesh is two clusters that
// were compiled here: what the centre would say.

const user = `system:serviceaccount:${systemNamespace}:relay`
const cidr = '241.0.0.0/24'
const mcs = '/apis/multicluster.x-k8s.io/v1alpha1/namespaces/shop'
const slices =
  '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=multicluster.kubernetes.io/source-cluster'
type Conditioned = { readonly status?: { readonly conditions?: readonly Record<string, unknown>[] } }
type Import = Conditioned & {
  readonly spec: { readonly ips: readonly string[]; readonly type: string }
  readonly status?: { readonly clusters?: readonly unknown[] }
}
const service = (ports: readonly object[]) => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'shop', name: 'web' } },
  spec: { ports, selector: { app: 'web' } },
})
const serviceExport = (name: string) => ({
  ...{ apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport', metadata: { namespace: 'shop', name } },
})

/** The parts of a relay that this is about, around a config that a test gives. */
type Played = {
  readonly set: ClusterSet
  readonly watch: KubernetesWatch
  says(config: ClusterConfig): void
  stop(): Promise<void>
}

describeWithClusters('the multi-cluster services API', () => {
  let cluster: KubeCluster
  let kubeconfig: string
  const played: Played[] = []
  beforeAll(async () => {
    cluster = await startKubeCluster({ name: 'mcs' })
    const namespaces = [systemNamespace, 'shop'].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
    }))
    await cluster.apply(namespaces)
    await cluster.apply([...buildDefinitions(), ...buildRbac()])
    await cluster.apply([
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: systemNamespace, name: 'relay' } },
    ])
    kubeconfig = await cluster.kubeconfigOf({ namespace: systemNamespace, serviceAccount: 'relay' })
    await eventually(20_000, 'the kinds are served', () => get(`${mcs}/serviceimports`))
  })
  afterAll(async () => {
    await Promise.all(played.map((one) => one.stop()))
    await cluster?.stop()
  })

  const get = <T>(path: string): Promise<T> => cluster.api.call('GET', path) as Promise<T>
  const conditionsOf = async (path: string): Promise<Record<string, string>> => {
    const { status } = await get<Conditioned>(path)
    return Object.fromEntries(
      (status?.conditions ?? []).map((one) => [one['type'], `${one['status']} ${one['reason']}`]),
    )
  }

  async function play(config: ClusterConfig): Promise<Played> {
    const { home } = viewOf()
    const log = pino({ level: 'silent' })
    const watch = kubernetesWatch({ api: kubeApi({ kubeconfig }), home, also: seenParsers })
    const kubernetes = {
      ...{ api: kubeApi({ kubeconfig }), settings: { clusterSetCidr: cidr }, lead: { leads: () => true } },
      onLead: () => () => undefined,
    } as unknown as OwnKubernetes
    const settings = { relay: { address: '127.0.0.1', dnsPort: 0 } } as RelaySettings
    const set = openClusterSet({ kubernetes, settings, watch, log })
    await watch.start()
    const keeper = viewKeeper({ home, own: watch.current(), log, clusterSetRange: parseRange(cidr) })
    let now = config
    watch.onChange(() => {
      keeper.own(watch.current())
      set.look()
    })
    set.start({
      view: () => ({ ...keeper.view(), config: now, summaries: heard }),
      remarks: () => [],
      shifts: () => [],
    } as unknown as Standing)
    const one = {
      ...{ set, watch },
      says: (next: ClusterConfig) => {
        now = next
        set.look()
      },
      stop: async () => {
        set.stop()
        await watch.stop()
      },
    }
    played.push(one)
    return one
  }
  const isWritten = (): Promise<unknown> =>
    eventually(20_000, 'all is written', async () => {
      const { status } = await get<Import>(`${mcs}/serviceimports/web`)
      const other = await get<Import>(`${mcs}/serviceimports/db`)
      const { items } = await get<{ items: readonly unknown[] }>(slices)
      return status?.clusters && other.status?.clusters && items.length === 1
    })

  test('imports, slices and conditions are written with the shipped rules; a second relay writes nothing, and keeps the address', async () => {
    const audit = cluster.audit.fromNow()
    await cluster.apply([
      service([{ name: 'http', port: 80, appProtocol: 'tcp' }]),
      serviceExport('web'),
      serviceExport('nothing'),
    ])
    const config = configOfHome([
      offer(web, { ports: [port(80, 'tcp', 'http')], createdAt: 2000, serviceAccounts: ['web'] }),
    ])
    const first = await play(config)
    await isWritten()
    const { spec, status } = await get<Import>(`${mcs}/serviceimports/web`)
    expect(spec).toMatchObject({ type: 'ClusterSetIP', ips: [expect.stringMatching(/^241\.0\.0\./)] })
    expect(status?.clusters).toEqual(['far', 'home', 'near'].map((name) => ({ cluster: name })))
    expect((await get<Import>(`${mcs}/serviceimports/db`)).spec.type).toBe('Headless')
    const said = async (name: string, types: readonly string[]): Promise<string> => {
      const conditions = await conditionsOf(`${mcs}/serviceexports/${name}`)
      return types.map((type) => conditions[type]).join(', ')
    }
    await eventually(20_000, 'the export is told', async () => {
      return (await said('web', ['Valid', 'Ready', 'Conflict'])) === 'True Valid, True Exported, True PortConflict'
    })
    await eventually(20_000, 'the other one too', async () => (await said('nothing', ['Valid'])) === 'False NoService')
    const { items } = await get<{ items: readonly { metadata: object }[] }>(slices)
    expect(items[0]?.metadata).toMatchObject({
      labels: { 'multicluster.kubernetes.io/service-name': 'web', 'multicluster.kubernetes.io/source-cluster': 'near' },
      ownerReferences: [{ kind: 'ServiceImport', name: 'web' }],
    })

    const dnsPort = (): number | undefined =>
      (first.set.facts() as { clusterSet: { dns?: { port: number } } }).clusterSet.dns?.port
    await eventually(20_000, 'DNS is served', dnsPort)
    const resolver = new Resolver({ timeout: 5000, tries: 2 })
    resolver.setServers([`127.0.0.1:${dnsPort()}`])
    const resolved = () => resolver.resolve4('web.shop.svc.clusterset.local').catch(() => [])
    await eventually(20_000, 'the name resolves', async () => (await resolved())[0] === spec.ips[0])

    const noted = () =>
      get<{ items: readonly { reason: string; regarding: { name: string } }[] }>(
        '/apis/events.k8s.io/v1/namespaces/shop/events',
      )
    await eventually(20_000, 'what is wrong is an Event', async () => {
      const told = (await noted()).items.map(({ reason, regarding }) => `${regarding.name} ${reason}`)
      return told.includes('web PortConflict') && told.includes('nothing NoService')
    })

    await first.stop()
    await cluster.settled()
    expect(audit.refusedRequests(user).map(saidIn)).toEqual([])
    const again = cluster.audit.fromNow()
    const second = await play(config)
    second.set.look()
    await eventually(20_000, 'it has looked', () => second.watch.isSynced())
    // What it would write comes before this.
    await cluster.apply([serviceExport('last')])
    await eventually(
      20_000,
      'the last export is told',
      async () => (await conditionsOf(`${mcs}/serviceexports/last`))['Valid'],
    )
    await cluster.settled()
    expect(
      again
        .writes(user)
        .map(saidIn)
        .filter((one) => !one.includes('/last')),
    ).toEqual([])
    expect((await get<Import>(`${mcs}/serviceimports/web`)).spec.ips).toEqual(spec.ips)
  })

  test('policies and groups say whether they are in force, and are listed under one name', async () => {
    const own = '/apis/isthmus.dev/v1alpha1'
    const group = {
      ...{ apiVersion: 'isthmus.dev/v1alpha1', kind: 'SamenessGroup', metadata: { name: 'prod' } },
      ...{ spec: { clusters: ['near'] } },
    }
    const policy = {
      ...{ apiVersion: 'isthmus.dev/v1alpha1', kind: 'GlobalTrafficPolicy' },
      ...{ metadata: { namespace: 'shop', name: 'web' }, spec: { services: { names: ['web'] } } },
    }
    await cluster.apply([group, policy])
    const said = async (path: string) => (await conditionsOf(`${own}/${path}`))['InForce']
    await eventually(20_000, 'the group is told', async () => (await said('samenessgroups/prod')) === 'True Accepted')
    await eventually(20_000, 'the policy is told', async () => {
      return (await said('namespaces/shop/globaltrafficpolicies/web')) === 'Unknown GovernsNothing'
    })
    const { resources } = await get<{ resources: readonly { name: string; categories?: readonly string[] }[] }>(own)
    const listed = resources.filter(({ categories }) => categories?.includes('isthmus')).map(({ name }) => name)
    expect(listed.sort()).toEqual(['globaltrafficpolicies', 'samenessgroups'])
  })

  test('what users change: their own import stays, one of ours is put right, and what is not imported goes', async () => {
    const [, relay] = played
    if (!relay) throw new Error('the test before did not start one')
    const theirs = {
      ...{ apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceImport' },
      metadata: { namespace: 'shop', name: 'theirs', annotations: { 'isthmus.dev/accept': 'false' } },
      spec: { type: 'ClusterSetIP', ports: [] },
    }
    await cluster.apply([theirs])
    const before = await get<Import>(`${mcs}/serviceimports/web`)
    await cluster.api.call('PATCH', `${mcs}/serviceimports/web`, {
      body: { spec: { type: 'Headless' } },
      contentType: 'application/merge-patch+json',
    })
    await eventually(
      20_000,
      'it is put right',
      async () => (await get<Import>(`${mcs}/serviceimports/web`)).spec.type === before.spec.type,
    )
    relay.says({ ...configOfHome(), imports: new Map() })
    await eventually(20_000, 'imports go', async () => {
      const { items } = await get<{ items: readonly { metadata: { name: string } }[] }>(`${mcs}/serviceimports`)
      return items.length === 1 && items[0]?.metadata.name === 'theirs'
    })
  })

  test('a namespace that is deleted, with its exports: nothing is refused for ever, and it comes back with all', async () => {
    const [, relay] = played
    if (!relay) throw new Error('the test before did not start one')
    relay.says(configOfHome())
    await isWritten()
    await cluster.remove({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } })
    await eventually(60_000, 'the namespace is gone', async () =>
      get('/api/v1/namespaces/shop').then(
        () => false,
        () => true,
      ),
    )
    await eventually(20_000, 'that is said', () => {
      const { clusterSet } = relay.set.facts() as { clusterSet: { withoutNamespace: readonly string[] } }
      return clusterSet.withoutNamespace.includes('shop')
    })
    await cluster.apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }])
    await isWritten()
    expect(relay.set.conditions().filter(({ type }) => type === 'StatusNotWritten')).toEqual([])
  })
})
