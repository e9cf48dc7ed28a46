import { typeUrls } from '#mesh/model/resource.ts'
import { quiet } from '#tests/bench/fan-out.ts'
import { endpointsName } from '#tests/bench/load/big-cluster.ts'
import type { Generator } from '#tests/bench/load/drive.ts'
import type { BenchMesh } from '#tests/bench/load/mesh.ts'
import { heldBy, memoryOf } from '#tests/bench/load/process.ts'
import { type Point, slopeOf } from '#tests/bench/slope.ts'

export type Remotes = {
  readonly clusters: number
  /** Heap and buffers after forced collections, bytes, by the number of clusters that were added. */
  readonly held: readonly Point[]
  /** Their slope, and that of the resident bytes. */
  readonly perCluster: number
  readonly rssPerCluster: number
}

const services = 300
const endpointsEach = 13
const group = 'callers'
const proxies = 10
/** Clusters between two looks. */
const step = 2

/** What a relay of ten proxies holds of each further cluster that offers 300 services with about 4,000 endpoints. */
export async function measureRemotes(mesh: BenchMesh, generator: Generator, clusters: number): Promise<Remotes> {
  const pid = mesh.relayPid()
  await generator.order('open', { group, manners: 'honest', members: await mesh.proxies(proxies) })
  const held: Point[] = []
  const rss: Point[] = []
  for (let n = 0; ; n++) {
    if (n % step === 0) {
      await quiet(1500)
      const memory = await memoryOf(pid)
      held.push({ x: n, y: heldBy(memory) })
      rss.push({ x: n, y: memory.rss })
    }
    if (n === clusters) break
    const names = Array.from({ length: services }, (_, at) => `far-${n}-${at}`)
    // The last of its services in the last proxy's hands: nothing is measured before it is there.
    const name = endpointsName(names.at(-1) ?? '')
    const { seen } = await generator.expect({ group, type: typeUrls.endpoint, name })
    await mesh.addRemote(`far${n}`, names, endpointsEach)
    await seen
  }
  await generator.order('close', { group })
  return { clusters, held, perCluster: slopeOf(held), rssPerCluster: slopeOf(rss) }
}
