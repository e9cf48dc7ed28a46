import { measureSeries, quiet, type Series } from '#tests/bench/fan-out.ts'
import { nameAt } from '#tests/bench/load/big-cluster.ts'
import type { Floor, Generator } from '#tests/bench/load/drive.ts'
import type { BenchMesh } from '#tests/bench/load/mesh.ts'
import { rssOf } from '#tests/bench/load/process.ts'

export type Hostile = {
  readonly quiet: Series
  readonly company: Series
  /** Last of the honest streams, in company against quiet. */
  readonly ratio: number
  /** Resident bytes: before, a second after they came, and at the end. */
  readonly rss: { readonly before: number; readonly second: number; readonly end: number }
  /** Honest streams that ended while the others were there. */
  readonly honestEnded: number
}

const honest = 'honest'
const floorGroup = 'bare honest'

/**
 * Honest proxies beside ten that never read, ten that refuse everything, ten that reconnect in a loop and one that asks
 * for 50,000 names: what the honest ones notice.
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
  const members = await mesh.proxies(parts.honest + 31)
  const own = members.slice(0, parts.honest)
  const [deaf, refusing, restless, greedy] = [0, 10, 20, 30].map((at) => members.slice(parts.honest + at).slice(0, 10))
  await generator.order('open', { group: honest, manners: 'honest', members: own })
  await parts.openFloor(floorGroup, parts.honest)
  const series = {
    mesh,
    generator,
    floor,
    rounds,
    group: honest,
    floorGroup,
    service: nameAt(1),
  }
  const alone = await measureSeries(series)
  const before = rssOf(pid)
  await generator.order('totals', { group: honest })
  await generator.order('open', { group: 'deaf', manners: 'deaf', members: deaf ?? [] })
  await generator.order('open', { group: 'refusing', manners: 'refusing', members: refusing ?? [] })
  await generator.order('open', { group: 'restless', manners: 'restless', members: restless ?? [] })
  await generator.order('stir', { group: 'restless', perSecond: 20 })
  await generator.order('open', { group: 'greedy', manners: 'greedy', members: greedy ?? [] })
  await quiet(1000)
  const second = rssOf(pid)
  const company = await measureSeries(series)
  const { ended } = await generator.order('totals', { group: honest })
  const end = rssOf(pid)
  for (const group of ['deaf', 'refusing', 'restless', 'greedy', honest, floorGroup])
    await generator.order('close', { group })
  const ratio = company.relay.last / alone.relay.last
  return { quiet: alone, company, ratio, rss: { before, second, end }, honestEnded: ended }
}
