import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { type Images, imagesOf, ownImages } from '#tests/support/kubernetes/images.ts'
import { type MeshCentre, startMeshCentre } from '#tests/support/kubernetes/mesh.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

// Two clusters whose pods have the same addresses, joined by the command; workloads as users write them, with what
// `isthmus inject` adds, redirect included; and everything that happens to pods, under load from the other cluster.

const testdata = join(root, 'tests/kubernetes/testdata')
const url = 'http://reviews.bookinfo:9080/reviews/1'
const perSecond = 40
type Counts = {
  readonly answered: number
  readonly by: Readonly<Record<string, number>>
  readonly failed: readonly string[]
}

describeWithClusters('two clusters that joined by command', () => {
  let mesh: MeshCentre
  let near: KubeCluster
  let far: KubeCluster

  beforeAll(async () => {
    const own: Images = await ownImages()
    const loadApp = { from: join(root, 'tests/support/kubernetes/load-app.ts'), to: '/app/load-app.ts' }
    const node = { from: process.execPath, to: '/usr/local/bin/node' }
    const images = imagesOf({
      ...own,
      'registry.test/load-app': { command: [node.to, loadApp.to], mounts: [node, loadApp] },
    })
    ;[mesh, near, far] = await Promise.all([
      startMeshCentre(),
      startKubeCluster({ name: 'near', images, nodes: [{ name: 'near-a', region: 'us-east-1', zone: 'us-east-1a' }] }),
      startKubeCluster({
        ...{ name: 'far', images },
        nodes: ['a', 'b'].map((one) => ({ name: `far-${one}`, region: 'eu-west-1', zone: `eu-west-1${one}` })),
      }),
    ])
  })
  afterAll(() => Promise.all([near?.stop(), far?.stop(), mesh?.stop()]))

  async function isthmus(...words: readonly string[]): Promise<string> {
    const { code, out, err } = await mesh.isthmus(...words)
    if (code !== 0) throw new Error(`isthmus ${words.join(' ')} ended with ${code}:\n${err}${out}`)
    return out
  }
  /** As a user does it: what inject prints is applied. */
  async function deploy(cluster: KubeCluster, file: string): Promise<void> {
    await cluster.apply(await isthmus('inject', '-f', join(testdata, file), '--cluster', cluster.name))
  }
  const scale = (cluster: KubeCluster, replicas: number) =>
    cluster.api.call('PATCH', '/apis/apps/v1/namespaces/bookinfo/deployments/reviews-v1', {
      ...{ body: { spec: { replicas } }, contentType: 'application/merge-patch+json' },
    })

  type Pods = {
    readonly items: readonly {
      readonly metadata: { readonly name: string }
      readonly spec: { nodeName: string }
      readonly status: { readonly podIP?: string; readonly conditions?: readonly { type: string; status: string }[] }
    }[]
  }
  const podsOf = async (cluster: KubeCluster, app: string) =>
    (
      (await cluster.api.call('GET', '/api/v1/namespaces/bookinfo/pods', {
        query: { labelSelector: `app=${app}` },
      })) as Pods
    ).items
  const isReady = ({ status }: Pods['items'][number]): boolean =>
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false
  const untilReady = (cluster: KubeCluster, app: string, count: number) =>
    eventually(90_000, `${count} pods of ${app} are ready in ${cluster.name}`, async () => {
      const pods = await podsOf(cluster, app)
      return pods.length === count && pods.every(isReady) && pods
    })

  async function caller(path: string): Promise<Counts> {
    const [pod] = await podsOf(near, 'productpage')
    const ask = `require('http').get('http://${pod?.status.podIP}:8088${path}', (a) => a.pipe(process.stdout))`
    return JSON.parse(await near.run(process.execPath, '-e', ask)) as Counts
  }
  const counts = () => caller('/counts')
  /** Anew, and until calls are answered as `holds` says. */
  async function calling(what: string, holds: (counts: Counts) => boolean): Promise<void> {
    await caller(`/start?${perSecond}&${encodeURIComponent(url)}`)
    await eventually(60_000, what, async () => holds(await counts()))
    await caller(`/start?${perSecond}&${encodeURIComponent(url)}`)
  }
  /** The calls since `calling` failed never. */
  async function withoutFailure(): Promise<Counts> {
    const seen = await counts()
    expect(seen.failed).toEqual([])
    expect(seen.answered).toBeGreaterThan(perSecond)
    return seen
  }
  const podsIn = ({ by }: Counts): readonly string[] => Object.keys(by).map((key) => key.split(' ')[1] ?? '')
  const names = async (cluster: KubeCluster): Promise<readonly string[]> =>
    (await podsOf(cluster, 'reviews')).map(({ metadata }) => metadata.name)

  // On a machine that has nothing else to do it takes about a quarter of a minute, half of it for the pods to start.
  test('each joins by one command', async () => {
    for (const cluster of [near, far]) {
      const begun = performance.now()
      await isthmus('cluster', 'join', cluster.name, ...mesh.at(cluster))
      const seconds = (performance.now() - begun) / 1000
      process.stderr.write(`${cluster.name} joined in ${seconds.toFixed(1)} s\n`)
    }
  })

  test('a service that is exported in both is called at home, and in the other cluster when there are none at home', async () => {
    for (const cluster of [near, far]) {
      await deploy(cluster, 'bookinfo.yaml')
      await cluster.apply([
        {
          ...{ apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport' },
          metadata: { name: 'reviews', namespace: 'bookinfo' },
        },
      ])
    }
    await deploy(near, 'caller.yaml')
    await untilReady(near, 'productpage', 1)
    for (const cluster of [near, far]) await untilReady(cluster, 'reviews', 2)
    const home = await names(near)
    await calling('calls are answered at home', (seen) => seen.answered > 20)
    expect(podsIn(await withoutFailureAfter(2))).toSatisfy((pods: readonly string[]) =>
      pods.every((pod) => home.includes(pod)),
    )
    await scale(near, 0)
    await eventually(60_000, 'calls are answered in the other cluster', async () => {
      const away = await names(far)
      return podsIn(await counts()).some((pod) => away.includes(pod))
    })
    await untilReady(near, 'reviews', 0)
    await withoutFailureAfter(2)
  })

  async function withoutFailureAfter(seconds: number): Promise<Counts> {
    const { answered } = await counts()
    await eventually(60_000, 'more calls', async () => (await counts()).answered > answered + seconds * perSecond * 0.8)
    return await withoutFailure()
  }

  test('a rolling update in the other cluster: no call fails, and the new pods are called soon after', async () => {
    await calling('calls are answered', (seen) => seen.answered > 20)
    const before = await names(far)
    await far.api.call('PATCH', '/apis/apps/v1/namespaces/bookinfo/deployments/reviews-v1', {
      body: { spec: { template: { metadata: { annotations: { 'test/turn': '2' } } } } },
      contentType: 'application/merge-patch+json',
    })
    await eventually(120_000, 'only new pods are there', async () => {
      const now = await podsOf(far, 'reviews')
      return now.length === 2 && now.every((pod) => isReady(pod) && !before.includes(pod.metadata.name))
    })
    const now = await names(far)
    await calling('both new pods answer', (seen) => now.every((pod) => podsIn(seen).includes(pod)))
    await withoutFailureAfter(2)
  })

  test('a pod killed, a node drained: no idempotent call fails', async () => {
    await calling('calls are answered', (seen) => seen.answered > 20)
    const [first] = await podsOf(far, 'reviews')
    await far.api.call('DELETE', `/api/v1/namespaces/bookinfo/pods/${first?.metadata.name}`)
    await withoutFailureAfter(3)
    await untilReady(far, 'reviews', 2)
    await far.api.call('PATCH', '/api/v1/nodes/far-a', {
      ...{ body: { spec: { unschedulable: true } }, contentType: 'application/merge-patch+json' },
    })
    for (const pod of await podsOf(far, 'reviews'))
      if (pod.spec.nodeName === 'far-a')
        await far.api.call('POST', `/api/v1/namespaces/bookinfo/pods/${pod.metadata.name}/eviction`, {
          body: {
            ...{ apiVersion: 'policy/v1', kind: 'Eviction' },
            metadata: { name: pod.metadata.name, namespace: 'bookinfo' },
          },
        })
    await withoutFailureAfter(3)
    await untilReady(far, 'reviews', 2)
  })

  test('scaled back at home: home is called again', async () => {
    await calling('calls are answered', (seen) => seen.answered > 20)
    await scale(near, 2)
    await untilReady(near, 'reviews', 2)
    const home = await names(near)
    await eventually(90_000, 'home answers', async () => podsIn(await counts()).some((pod) => home.includes(pod)))
    await withoutFailureAfter(2)
  })
})
