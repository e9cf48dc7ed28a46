import { typeUrls } from '#mesh/model/resource.ts'
import { quiet } from '#tests/bench/fan-out.ts'
import { endpointsName } from '#tests/bench/load/big-cluster.ts'
import type { Generator } from '#tests/bench/load/drive.ts'
import type { BenchMesh } from '#tests/bench/load/mesh.ts'
import { type Memory, memoryOf } from '#tests/bench/load/process.ts'

export type Remotes = {
  readonly clusters: number
  readonly before: Memory
  readonly after: Memory
  /** Heap and buffers, bytes. */
  readonly perCluster: number
}

const services = 300
const endpointsEach = 13
const group = 'callers'
const proxies = 10

/** What a relay of ten proxies holds of each further cluster that offers 300 services with about 4,000 endpoints. */
export async function measureRemotes(mesh: BenchMesh, generator: Generator, clusters: number): Promise<Remotes> {
  const pid = mesh.relayPid()
  await generator.order('open', { group, manners: 'honest', members: await mesh.proxies(proxies) })
  const before = await memoryOf(pid)
  for (let n = 0; n < clusters; n++) {
    const names = Array.from({ length: services }, (_, at) => `far-${n}-${at}`)
    // The last of its services in the last proxy's hands: nothing is measured before it is there.
    const name = endpointsName(names.at(-1) ?? '')
    const { seen } = await generator.expect({ group, type: typeUrls.endpoint, name })
    await mesh.addRemote(`far${n}`, names, endpointsEach)
    await seen
  }
  await quiet(3000)
  const after = await memoryOf(pid)
  const held = (memory: Memory) => memory.heapUsed + memory.arrayBuffers
  return { clusters, before, after, perCluster: (held(after) - held(before)) / clusters }
}
