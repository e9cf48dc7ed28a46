import type { BenchMesh } from '#tests/bench/load/mesh.ts'
import { type Memory, memoryOf } from '#tests/bench/load/process.ts'
import { eventually } from '#tests/support/until.ts'

export type Remotes = {
  readonly clusters: number
  readonly before: Memory
  readonly after: Memory
  /** Heap and buffers, bytes. */
  readonly perCluster: number
}

const services = 300
const endpointsEach = 13

/** What a relay holds of each further cluster that offers 300 services with about 4,000 endpoints. */
export async function measureRemotes(mesh: BenchMesh, clusters: number): Promise<Remotes> {
  const pid = mesh.relayPid()
  const before = await memoryOf(pid)
  for (let n = 0; n < clusters; n++) {
    const names = Array.from({ length: services }, (_, at) => `far-${n}-${at}`)
    await mesh.addRemote(`far${n}`, names, endpointsEach)
  }
  await eventually(120_000, 'the relay knows all of them', async () => {
    const status = (await mesh.cluster.status()) as { centre: { streams: Record<string, number> } }
    return Object.keys(status.centre.streams).filter((name) => name.startsWith('ep/far')).length >= clusters
  })
  await new Promise((resolve) => setTimeout(resolve, 3000))
  const after = await memoryOf(pid)
  const held = (memory: Memory) => memory.heapUsed + memory.arrayBuffers
  return { clusters, before, after, perCluster: (held(after) - held(before)) / clusters }
}
