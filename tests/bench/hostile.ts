import { measureSeries, quiet, type Series } from '#tests/bench/fan-out.ts'
import { nameAt } from '#tests/bench/load/big-cluster.ts'
import type { Manners } from '#tests/bench/load/client.ts'
import type { Floor, Generator } from '#tests/bench/load/drive.ts'
import type { BenchMesh } from '#tests/bench/load/mesh.ts'
import { memoryOf, rssOf } from '#tests/bench/load/process.ts'

export type Hostile = {
  readonly quiet: Series
  readonly company: Series
  /** Last of the honest streams, in company against quiet. */
  readonly ratio: number
  /** Bytes that one more client costs the relay: such that give no HTTP/2 credit, such that do not read TCP. */
  readonly perSlowReader: { readonly deaf: number; readonly paused: number }
  /** Resident bytes after forced collections: before they came, a second after, and at the end; the most in between. */
  readonly rss: { readonly before: number; readonly second: number; readonly end: number; readonly most: number }
  /** Of company, from the second look to the last. */
  readonly seconds: number
  /** Honest streams that ended while the others were there. */
  readonly honestEnded: number
}

const honest = 'honest'
const floorGroup = 'bare honest'
/** A cost of so few is noise; of so many it is not. */
const slowReaders = 50

const company = [
  ['deaf', 10],
  ['paused', 10],
  ['refusing', 10],
  ['restless', 10],
  ['greedy', 1],
] as const satisfies readonly (readonly [Manners, number])[]

export const companySize: number = company.reduce((sum, [, count]) => sum + count, 0)

/**
 * Honest proxies beside ten that give no credit, ten that do not read their socket, ten that refuse everything, ten that
 * reconnect in a loop and one that asks for 50,000 names: what the honest ones notice, and what it costs.
 */
export async function measureHostile(parts: {
  readonly mesh: BenchMesh
  readonly generator: Generator
  readonly floor: Floor
  readonly openFloor: (group: string, count: number) => Promise<void>
  readonly honest: number
  readonly rounds: number
}): Promise<Hostile> {
  const { mesh, generator, floor, rounds } = parts
  const pid = mesh.relayPid()
  const members = await mesh.proxies(parts.honest + companySize)
  const series = { ...{ mesh, generator, floor, rounds, floorGroup }, group: honest, service: nameAt(1) }
  const open = (group: string, manners: Manners, from: number, count: number) =>
    generator.order('open', { group, manners, members: members.slice(from, from + count) })

  await open(honest, 'honest', 0, parts.honest)
  await parts.openFloor(floorGroup, parts.honest)
  const alone = await measureSeries(series)
  const costOf = async (manners: 'deaf' | 'paused') => {
    const before = await memoryOf(pid)
    await generator.order('open', { group: manners, manners, members: (await mesh.proxies(slowReaders)).slice() })
    await quiet(2000)
    const after = await memoryOf(pid)
    await generator.order('close', { group: manners })
    await quiet(1000)
    return (after.rss - before.rss) / slowReaders
  }
  const perSlowReader = { deaf: await costOf('deaf'), paused: await costOf('paused') }

  const { rss: before } = await memoryOf(pid)
  const { ended: endedBefore } = await generator.order('totals', { group: honest })
  let from = parts.honest
  for (const [manners, count] of company) {
    await open(manners, manners, from, count)
    from += count
  }
  await generator.order('stir', { group: 'restless', perSecond: 20 })
  await quiet(1000)
  const { rss: second } = await memoryOf(pid)
  const began = performance.now()
  let most = second
  const watch = setInterval(() => {
    most = Math.max(most, rssOf(pid))
  }, 1000)
  const beside = await measureSeries(series).finally(() => clearInterval(watch))
  const { rss: end } = await memoryOf(pid)
  const seconds = (performance.now() - began) / 1000
  const { ended } = await generator.order('totals', { group: honest })
  for (const group of [...company.map(([manners]) => manners), honest, floorGroup])
    await generator.order('close', { group })
  return {
    ...{ quiet: alone, company: beside, ratio: beside.relay.last / alone.relay.last, perSlowReader },
    ...{ rss: { before, second, end, most }, seconds, honestEnded: ended - endedBefore },
  }
}
