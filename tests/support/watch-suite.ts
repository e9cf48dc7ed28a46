import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type KubeApi, kubeApi } from '#gateway/kube-api.ts'
import type { KeptObjects } from '#gateway/watch/kube-keep.ts'
import { watchedKinds } from '#gateway/watch/kube-kinds.ts'
import type { KubernetesWatch, KubernetesWatchSettings } from '#gateway/watch/kubernetes-watch.ts'
import { kubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import { parseNetworkName, serviceKey } from '#mesh/model/id.ts'
import { eventually } from '#tests/support/until.ts'

export type WatchedObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
  }
  readonly [more: string]: unknown
}

/** An API server under test. Objects are put as a whole. */
export type WatchedApi = {
  readonly kubeconfig: string
  put(object: WatchedObject): Promise<void>
  remove(object: WatchedObject): Promise<void>
  /** The definition of ServiceExports is there, or no longer. */
  serveExports(isServed: boolean): Promise<void>
  /** Away: nobody answers at its address, and who was connected no longer is. */
  away(isAway: boolean): Promise<void>
  stop(): Promise<void>
}

const namespace = 'watched'
const shop = serviceKey(namespace, 'web')
const home = { network: parseNetworkName('n1'), region: 'r1' }
const times = { absentMs: 300, backoff: { firstMs: 50, maxMs: 1000 }, keepMs: 50 }
const patience = 60_000

const pod = (name: string, app = 'web'): WatchedObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod' },
  metadata: { name, namespace, labels: { app, 'security.istio.io/tlsMode': 'istio' } },
  spec: { automountServiceAccountToken: false, containers: [{ name: 'app', image: 'app' }] },
})
const service: WatchedObject = {
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace } },
  spec: { ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }] },
}
const slice = (...pods: readonly string[]): WatchedObject => ({
  ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
  metadata: { name: 'web-1', namespace, labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  endpoints: pods.map((name, at) => ({
    ...{ addresses: [`10.11.0.${at + 1}`], conditions: { ready: true } },
    targetRef: { kind: 'Pod', name, namespace },
  })),
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
})
const exported: WatchedObject = {
  ...{ apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport', metadata: { name: 'web', namespace } },
}

/** What a relay relies on of any API server: real ones, and the one that the other tests of the watch ask. */
export function watchSuite(open: () => Promise<WatchedApi>): void {
  describe('an API server, watched', () => {
    let server: WatchedApi
    let api: KubeApi
    let running: KubernetesWatch[] = []
    beforeAll(async () => {
      server = await open()
      api = kubeApi({ kubeconfig: server.kubeconfig })
      await server.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
    })
    afterEach(async () => {
      await Promise.all(running.map((one) => one.stop()))
      running = []
    })
    afterAll(() => server?.stop())

    const started = async (more: Partial<KubernetesWatchSettings> = {}): Promise<KubernetesWatch> => {
      const watch = kubernetesWatch({ api, home, times, ...more })
      running.push(watch)
      await watch.start()
      return watch
    }
    const pods = (watch: KubernetesWatch): string[] =>
      [...watch.current().pods.values()]
        .filter((one) => one.namespace === namespace)
        .map(({ name }) => name)
        .toSorted()
    const shows = (watch: KubernetesWatch, ...names: readonly string[]): Promise<unknown> =>
      eventually(patience, `pods ${names.join(', ')}`, () => {
        if (pods(watch).join() !== names.join()) throw new Error(`${pods(watch)}; ${JSON.stringify(watch.rejected())}`)
        return true
      })

    test('is read whole, in pages, and followed', async () => {
      for (const name of ['a', 'b', 'c', 'd', 'e']) await server.put(pod(name))
      await server.put(service)
      await server.put(slice('a', 'b'))
      const watch = await started({ pageLimit: 2 })
      expect(pods(watch)).toEqual(['a', 'b', 'c', 'd', 'e'])
      expect(watch.current().endpoints.get(shop)).toMatchObject([
        { pod: 'watched/a', meshed: true },
        { pod: 'watched/b' },
      ])
      await server.put(pod('f'))
      await server.put(slice('a', 'b', 'f'))
      await eventually(patience, 'f is an endpoint', () => watch.current().endpoints.get(shop)?.[2]?.meshed)
      for (const name of ['c', 'd', 'e', 'f']) await server.remove(pod(name))
      await shows(watch, 'a', 'b')
      expect([watch.rejected(), watch.isSynced()]).toEqual([[], true])
    })

    test('has a kind later, and no longer', async () => {
      const watch = await started()
      expect([watch.current().exports.size, watch.isSynced(), watch.version('ServiceExport')]).toEqual([
        0,
        true,
        undefined,
      ])
      await server.serveExports(true)
      await eventually(patience, 'it can be exported', () => server.put(exported).then(() => true))
      await eventually(patience, 'it is exported', () => watch.current().exports.has(shop))
      await server.serveExports(false)
      await eventually(patience, 'it is no longer', () => watch.current().exports.size === 0)
      await eventually(patience, 'all is well', () => watch.rejected().length === 0)
    })

    test('goes away and comes back: nothing is lost, and all is followed again', async () => {
      const files = new Map<string, string>()
      const kept: KeptObjects = {
        load: (kind) => JSON.parse(files.get(kind) ?? 'null') ?? undefined,
        save: (kind, objects) => void files.set(kind, JSON.stringify(objects)),
      }
      const watch = await started({ kept })
      await eventually(patience, 'objects are kept', () => files.size === watchedKinds.length)
      const seen: unknown[] = []
      watch.onChange(() => seen.push(watch.current().endpoints.get(shop)?.length))
      await server.away(true)
      await eventually(patience, 'it is said', () => watch.faults().length > 0)
      const again = await started({ kept })
      expect([pods(again), again.isSynced()]).toEqual([['a', 'b'], false])
      expect(again.current().endpoints.get(shop)).toEqual(watch.current().endpoints.get(shop))
      await server.away(false)
      for (const one of [watch, again])
        await eventually(patience, 'all is followed', () => one.isSynced() && one.rejected().length === 0)
      expect(seen.filter((count) => count !== 3)).toEqual([])
      await server.remove(pod('a'))
      await server.put(slice('b'))
      for (const one of [watch, again]) {
        await shows(one, 'b')
        await eventually(patience, 'one endpoint is left', () => one.current().endpoints.get(shop)?.length === 1)
      }
    })
  })
}
