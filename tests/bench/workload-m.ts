import { bare, type FanOut, measureFanOut, sidecars } from '#tests/bench/fan-out.ts'
import { startGenerator } from '#tests/bench/load/drive.ts'
import { startBenchMesh } from '#tests/bench/load/mesh.ts'
import { measureSustained, type Sustained } from '#tests/bench/sustained.ts'
import { startBareFloor, type ThousandScale } from '#tests/bench/thousand.ts'

/** The shape of a large production mesh, ten clusters with 40,000 endpoints; reported, held against nothing. */
export type WorkloadM = {
  readonly scale: ThousandScale
  readonly fanOut: FanOut
  readonly floorRss: number
  readonly sustained: Sustained
  /** Changes a second in all other clusters together, and what all churn sends to one proxy in a second. */
  readonly remoteChurn: number
  readonly perProxySecond: { readonly resources: number; readonly bytes: number }
}

/** What the shape has beyond what is measured here. */
export const leftOutOfM =
  'left out: the service of 5,000 endpoints, scoping, second gateways, roll-outs, a cluster that vanishes and returns'

export const shapeOfM = {
  ...{ services: 1000, endpoints: 3, large: 1000 },
  ...{ remote: 9, remoteServices: 300, remoteEndpoints: 13 },
  ...{ changesPerSecond: 10, further: 0, honest: 0 },
} as const

const remoteChanges = 10

/**
 * Unscoped proxies of a cluster with 1,000 services and 4,000 endpoints, 1,000 of them behind one service; nine
 * clusters more offer the first 300 of its services with 13 endpoints each. Ten endpoints a second change in every cluster.
 */
export async function measureWorkloadM(scale: ThousandScale, say: (text: string) => void): Promise<WorkloadM> {
  const generator = startGenerator(scale)
  const { floor, open } = await startBareFloor(generator)
  const mesh = await startBenchMesh(scale).catch((error: unknown) => {
    generator.stop()
    floor.stop()
    throw error
  })
  let stirring: NodeJS.Timeout | undefined
  try {
    say('m: the mesh is up')
    await open(bare, scale.proxies)
    const parts = { mesh, generator, floor, scale, proxies: scale.proxies, rounds: scale.rounds }
    const fanOut = await measureFanOut(parts)
    say('m: one change of each kind, and a storm: measured')
    let turn = 0
    stirring = setInterval(() => mesh.stirRemote(turn++ % scale.remote, remoteChanges), 1000 / scale.remote)
    await generator.order('totals', { group: sidecars })
    const began = performance.now()
    const { sustainedSeconds: seconds, changesPerSecond } = scale
    const sustained = await measureSustained({ ...parts, seconds, changesPerSecond })
    const took = (performance.now() - began) / 1000
    const { resources, bytes } = await generator.order('totals', { group: sidecars })
    return {
      ...{ scale, fanOut, sustained, floorRss: (await floor.memory()).rss },
      remoteChurn: (turn * remoteChanges) / took,
      perProxySecond: { resources: resources / took / scale.proxies, bytes: bytes / took / scale.proxies },
    }
  } finally {
    clearInterval(stirring)
    generator.stop()
    floor.stop()
    await mesh.end()
  }
}
