import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keptCluster } from '#gateway/kept-cluster.ts'
import '#gateway/start-relay.ts'
import { kubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import { parseNetworkName } from '#mesh/model/id.ts'

// All that a relay has in memory before it is anybody, and its watch of a Kubernetes cluster. Tells its parent each change.

export type RelaySaid =
  | { readonly said: 'imported'; readonly rss: number }
  | {
      readonly said: 'synced'
      readonly ms: number
      readonly rssMax: number
      readonly endpoints: number
      readonly pods: number
    }
  | { readonly said: 'changed'; readonly at: number; readonly wrong: readonly string[] }

const [kubeconfig = ''] = process.argv.slice(2)
const say = (said: RelaySaid): void => void process.send?.(said)
const dir = mkdtempSync(join(tmpdir(), 'isthmus-bench-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
process.on('disconnect', () => process.exit())
void main()

async function main(): Promise<void> {
  // As the relay does, and only where there is a Kubernetes cluster.
  const { kubeApi } = await import('#gateway/kube-api.ts')
  say({ said: 'imported', rss: process.memoryUsage.rss() })
  let rssMax = 0
  const sampling = setInterval(() => {
    rssMax = Math.max(rssMax, process.memoryUsage.rss())
  }, 20)
  const watch = kubernetesWatch({
    ...{ api: kubeApi({ kubeconfig }), home: { network: parseNetworkName('n1'), region: 'eu' } },
    kept: keptCluster(dir, (text) => console.error(text)),
    times: { keepMs: 2000 },
  })
  const started = performance.now()
  await watch.start()
  const ms = performance.now() - started
  watch.onChange(() =>
    say({
      said: 'changed',
      at: performance.timeOrigin + performance.now(),
      wrong: watch.rejected().map(({ reason }) => reason),
    }),
  )
  const { endpoints, pods } = watch.current()
  const count = [...endpoints.values()].reduce((sum, some) => sum + some.length, 0)
  setTimeout(() => {
    clearInterval(sampling)
    say({ said: 'synced', ms, rssMax: Math.max(rssMax, process.memoryUsage.rss()), endpoints: count, pods: pods.size })
  }, 8000)
}
