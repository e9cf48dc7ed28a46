import { typeUrls } from '#mesh/model/resource.ts'
import { type ClusterScale, endpointsName, largeName, nameAt } from '#tests/bench/load/big-cluster.ts'
import type { Floor, Generator } from '#tests/bench/load/drive.ts'
import type { BenchMesh } from '#tests/bench/load/mesh.ts'
import { cpuSecondsOf, type Memory, memoryOf } from '#tests/bench/load/process.ts'

/** Milliseconds from the cause of one change to the first, the middle and the last of all streams. */
export type Spread = { readonly first: number; readonly p50: number; readonly last: number }

/** One cause and all that came of it. */
export type Side = Spread & {
  /** Of the generator, until everything was answered and handled. */
  readonly generatorCpuMs: number
  /** Share of the time to the last stream in which the generator's thread had work. */
  readonly generatorBusy: number
}

/** One kind of change beside the floor's push of as many bytes, medians of all rounds. */
export type Series = {
  readonly bytesPerProxy: number
  readonly relay: Side
  /** Clients of the floor that say nothing, and such that answer with as many bytes as an acknowledgement. */
  readonly floor: Side
  readonly floorAnswered: Side
  /** Last to last: against the plain floor, and against the one that is answered. */
  readonly ratio: number
  readonly ratioAnswered: number
  readonly relayCpuMs: number
}

/** From so busy a generator on, what is measured is the generator. */
export const tooBusy = 0.85

export type FanOut = {
  readonly cold: { readonly ms: number; readonly bytesPerProxy: number }
  readonly endpoint: Series
  readonly largeEndpoint: Series
  readonly serviceAdded: { readonly resources: number; readonly bytesPerProxy: number }
  readonly reconnect: {
    readonly ms: number
    readonly resources: number
    readonly bytesPerProxy: number
    readonly relayCpuMs: number
    readonly generatorBusy: number
  }
  readonly memory: { readonly empty: Memory; readonly loaded: Memory }
}

export type FanOutParts = {
  readonly mesh: BenchMesh
  readonly generator: Generator
  readonly floor: Floor
  readonly scale: ClusterScale
  readonly proxies: number
  readonly rounds: number
}

export const sidecars = 'sidecars'
export const bare = 'bare'
const warmUps = 10

/** So many proxies at one relay: their first connection, one change of each kind, and all of them coming back at once. */
export async function measureFanOut(parts: FanOutParts): Promise<FanOut> {
  const { mesh, generator, scale, proxies, rounds } = parts
  const pid = mesh.relayPid()
  const empty = await memoryOf(pid)
  const opened = await generator.order('open', {
    group: sidecars,
    manners: 'honest',
    members: await mesh.proxies(proxies),
  })
  const { bytes } = await settle(generator, sidecars, 1000)
  const change = { ...parts, group: sidecars, rounds }
  const endpoint = await measureSeries({ ...change, service: nameAt(1) })
  const largeEndpoint = await measureSeries({
    ...{ ...change, service: largeName },
    rounds: Math.ceil(rounds / 3),
  })
  await generator.order('totals', { group: sidecars })
  mesh.shop.add('added', scale.endpoints)
  const added = await settle(generator, sidecars, 3000)
  const loaded = await memoryOf(pid)
  const cpu = cpuSecondsOf(pid)
  const again = await generator.order('reconnect', { group: sidecars })
  const resent = await settle(generator, sidecars, 1000)
  return {
    cold: { ms: opened.ms, bytesPerProxy: bytes / proxies },
    ...{ endpoint, largeEndpoint },
    serviceAdded: { resources: added.resources / proxies, bytesPerProxy: added.bytes / proxies },
    reconnect: {
      ...{ ms: again.ms, resources: resent.resources, bytesPerProxy: resent.bytes / proxies },
      ...{ relayCpuMs: (cpuSecondsOf(pid) - cpu) * 1000, generatorBusy: again.busy },
    },
    memory: { empty, loaded },
  }
}

/** All that a group is sent until nothing came for so long. */
export async function settle(
  generator: Generator,
  group: string,
  quietMs: number,
): Promise<{ readonly resources: number; readonly bytes: number }> {
  const sum = { resources: 0, bytes: 0 }
  for (;;) {
    await quiet(quietMs)
    const { resources, bytes } = await generator.order('totals', { group })
    sum.resources += resources
    sum.bytes += bytes
    if (bytes === 0) return sum
  }
}

/** A service's endpoints change, and the floor pushes as many bytes, one after the other, so that all see one machine. */
export async function measureSeries(
  parts: Pick<FanOutParts, 'mesh' | 'generator' | 'floor' | 'rounds'> & {
    readonly group: string
    readonly service: string
    /** The floor's group: as many streams. */
    readonly floorGroup?: string
  },
): Promise<Series> {
  const { mesh, generator, floor, group, service, rounds, floorGroup = bare } = parts
  const pid = mesh.relayPid()
  const name = endpointsName(service)
  const push = async (bytes: number, answer: number) => {
    await generator.order('answer', { group: floorGroup, bytes: answer })
    return await measureOnce(generator, { group: floorGroup, type: '', name: '' }, () => floor.push(bytes))
  }
  const seen = { relay: [] as Side[], floor: [] as Side[], floorAnswered: [] as Side[] }
  let bytes = 0
  let cpu = 0
  for (let round = -warmUps; round < rounds; round++) {
    await generator.order('totals', { group })
    const before = cpuSecondsOf(pid)
    const changed = await measureOnce(generator, { group, type: typeUrls.endpoint, name }, async () =>
      mesh.shop.change(service),
    )
    const used = cpuSecondsOf(pid) - before
    bytes = Math.round(changed.bytes)
    const { sent } = await generator.order('totals', { group })
    const plain = await push(bytes, 0)
    const answered = await push(bytes, Math.round(sent.bytes / sent.messages))
    if (round < 0) continue
    cpu += used
    seen.relay.push(changed)
    seen.floor.push(plain)
    seen.floorAnswered.push(answered)
  }
  const [relay, plain, answered] = [medianOf(seen.relay), medianOf(seen.floor), medianOf(seen.floorAnswered)]
  return {
    ...{ bytesPerProxy: bytes, relay, floor: plain, floorAnswered: answered },
    ...{ ratio: relay.last / plain.last, ratioAnswered: relay.last / answered.last },
    relayCpuMs: (cpu * 1000) / rounds,
  }
}

/** Causes one thing, which tells when it began, and waits until every stream has it and has said so. */
async function measureOnce(
  generator: Generator,
  expected: { readonly group: string; readonly type: string; readonly name: string },
  cause: () => Promise<bigint>,
): Promise<Side & { readonly bytes: number }> {
  const before = await generator.order('cpu', {})
  const { seen } = await generator.expect(expected)
  const at = await cause()
  const { at: reads, bytes, busy } = await seen
  await quiet(100)
  const after = await generator.order('cpu', {})
  const generatorCpuMs = (after.user + after.system - before.user - before.system) * 1000
  return { ...spreadOf(at, reads), generatorCpuMs, generatorBusy: busy, bytes }
}

export function spreadOf(cause: bigint, at: readonly bigint[]): Spread {
  const ms = at.map((one) => Number(one - cause) / 1e6).toSorted((a, b) => a - b)
  const of = (share: number) => ms[Math.min(ms.length - 1, Math.floor(ms.length * share))] ?? Number.NaN
  return { first: of(0), p50: of(0.5), last: of(1) }
}

function medianOf(all: readonly Side[]): Side {
  const of = (pick: (one: Side) => number) => median(all.map(pick))
  return {
    ...{ first: of((s) => s.first), p50: of((s) => s.p50), last: of((s) => s.last) },
    ...{ generatorCpuMs: of((s) => s.generatorCpuMs), generatorBusy: of((s) => s.generatorBusy) },
  }
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

export const quiet = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
