import { relayServingNames, rootNames } from '#mesh/trust/names.ts'
import { bare, type FanOut, measureFanOut, sidecars } from '#tests/bench/fan-out.ts'
import { type Hostile, measureHostile } from '#tests/bench/hostile.ts'
import type { ClusterScale } from '#tests/bench/load/big-cluster.ts'
import { type Answering, type Floor, type Generator, startFloor, startGenerator } from '#tests/bench/load/drive.ts'
import type { Member } from '#tests/bench/load/generator.ts'
import { startBenchMesh } from '#tests/bench/load/mesh.ts'
import { measureRemotes, type Remotes } from '#tests/bench/remotes.ts'
import { measureSustained, type Sustained } from '#tests/bench/sustained.ts'
import { measureWholeState, type WholeState } from '#tests/bench/whole-state.ts'
import { domain, make, makeControlPlaneCa, makeRoot, mesh as meshName } from '#tests/support/authorities.ts'

export type ThousandScale = ClusterScale &
  Answering & {
    readonly proxies: number
    readonly rounds: number
    readonly honest: number
    readonly sustainedSeconds: number
    readonly changesPerSecond: number
    /** Further clusters for the slope. */
    readonly further: number
  }

/** The parts of it; one alone is measured sooner. */
export const thousandParts = ['fan-out', 'sustained', 'sotw', 'hostile', 'remotes'] as const
export type ThousandPart = (typeof thousandParts)[number]

export type Thousand = {
  readonly scale: ThousandScale
  readonly fanOut?: FanOut
  readonly floor?: { readonly rss: number; readonly streams: number }
  readonly sustained?: Sustained
  readonly wholeState?: WholeState
  readonly hostile?: Hostile
  readonly remotes?: Remotes
  readonly generator: { readonly user: number; readonly system: number; readonly rss: number }
}

/**
 * The bundled relay of a real cluster under the load of a thousand proxies, each on a TLS connection of its own, beside
 * the floor: a bare HTTP/2 server with as many. One run, three processes of the bench: relay, floor, generator.
 */
export async function measureThousand(
  scale: ThousandScale,
  wants: (part: ThousandPart) => boolean,
  say: (text: string) => void,
): Promise<Thousand> {
  const generator = startGenerator(scale)
  const { floor, open: openFloor } = await startBareFloor(generator)
  const mesh = await startBenchMesh(scale).catch((error: unknown) => {
    generator.stop()
    floor.stop()
    throw error
  })
  const { proxies, rounds, honest, sustainedSeconds: seconds, changesPerSecond } = scale
  const parts = { mesh, generator, floor, scale, proxies, rounds, openFloor }
  const part = async <T extends object>(name: ThousandPart, measure: () => Promise<T>): Promise<T | object> => {
    if (!wants(name)) return {}
    const seen = await measure()
    say(`${name}: measured`)
    return seen
  }
  const many = async () => ({
    ...(await part('fan-out', async () => {
      await openFloor(bare, proxies)
      return { fanOut: await measureFanOut(parts) }
    })),
    ...(await part('sustained', async () => {
      if (!wants('fan-out'))
        await generator.order('open', { group: sidecars, manners: 'honest', members: await mesh.proxies(proxies) })
      return { sustained: await measureSustained({ ...parts, seconds, changesPerSecond }) }
    })),
    floor: await floor.memory(),
  })
  try {
    say('the mesh is up')
    const seen = await many()
    await generator.order('close', { group: sidecars })
    await generator.order('close', { group: bare })
    const few = { ...parts, proxies: Math.min(proxies, wholeStateProxies) }
    return {
      ...{ scale, ...seen },
      ...(await part('sotw', async () => ({ wholeState: await measureWholeState(few) }))),
      ...(await part('hostile', async () => ({ hostile: await measureHostile({ ...parts, honest }) }))),
      ...(await part('remotes', async () => ({ remotes: await measureRemotes(mesh, generator, scale.further) }))),
      generator: await generator.order('cpu', {}),
    }
  } finally {
    generator.stop()
    floor.stop()
    await mesh.end()
  }
}

const wholeStateProxies = 200

/** A number once it has stopped to move: streams that were dropped are not gone at once. */
async function settled(read: () => Promise<number>): Promise<number> {
  for (let last = await read(); ; ) {
    await new Promise((resolve) => setTimeout(resolve, 250))
    const next = await read()
    if (next === last) return next
    last = next
  }
}

/** The floor, and what opens bare clients of it. */
export async function startBareFloor(
  generator: Generator,
): Promise<{ floor: Floor; open: (group: string, count: number) => Promise<void> }> {
  const [root, controlPlane] = [await makeRoot(), await makeControlPlaneCa()]
  const names = relayServingNames(domain('a'), { asIstiod: false, ips: ['127.0.0.1'] })
  const holder = await make({ profile: 'relay-serving', names, by: controlPlane })
  const client = await make({ profile: 'root', names: rootNames(meshName, 1) })
  const floor = await startFloor({ key: holder.key.keyPem, cert: holder.pem + controlPlane.pem, clientCas: root.pem })
  const dial = { host: '127.0.0.1', port: floor.port, cert: client.pem, key: client.key.keyPem }
  return {
    floor,
    open: async (group, count) => {
      const before = await settled(async () => (await floor.memory()).streams)
      const members: Member[] = Array.from({ length: count }, () => ({
        ...{ dial, node: { id: '', cluster: '', metadata: {} } },
      }))
      await generator.order('open', { group, manners: 'bare', members })
      while ((await floor.memory()).streams < before + count) await new Promise((resolve) => setTimeout(resolve, 50))
    },
  }
}
