import { typeUrls } from '#mesh/model/resource.ts'
import { type FanOutParts, quiet, sidecars } from '#tests/bench/fan-out.ts'
import { endpointsName, nameAt } from '#tests/bench/load/big-cluster.ts'
import { cpuSecondsOf, heldBy, memoryOf } from '#tests/bench/load/process.ts'
import { type Lag, lagOf } from '#tests/bench/rounds.ts'
import { type Point, slopeOf } from '#tests/bench/slope.ts'

export type Sustained = {
  readonly seconds: number
  readonly changesPerSecond: number
  /** Changes that streams were sent, of all streams, and those that were offered: a change for each. */
  readonly updates: number
  readonly offered: number
  readonly updatesPerSecond: number
  readonly updatesPerCpuSecond: number
  /** Of one core, while changes were made. */
  readonly relayShare: number
  readonly generatorShare: number
  readonly lag: Lag
  readonly growth: {
    /** Bytes after forced collections, by minutes under load: at the start, at half time, and on from there. */
    readonly rss: readonly Point[]
    readonly held: readonly Point[]
    /** Bytes a minute over the second half. */
    readonly rssPerMinute: number
    readonly heldPerMinute: number
  }
}

/**
 * The first half is what is judged: how late changes are, and what they cost. In the second half memory is looked at
 * between parts, while nothing is offered, after forced collections: they throw compiled code away, which no relay in
 * service does to itself, and whatever follows is slower for seconds.
 */
const laterParts = 5

/** So long a relay takes to find its pace. */
const settleSeconds = 2

/** What has not come so long after the last change is lost. */
const lateMs = 30_000

/**
 * Endpoints of service after service change at a fixed rate, for so long: what arrives of every single change and when,
 * what it costs, what grows.
 */
export async function measureSustained(
  parts: Pick<FanOutParts, 'mesh' | 'generator' | 'scale' | 'proxies'> & {
    readonly seconds: number
    readonly changesPerSecond: number
    readonly group?: string
  },
): Promise<Sustained> {
  const { mesh, scale, proxies, seconds, changesPerSecond } = parts
  const pid = mesh.relayPid()
  const periodMs = 1000 / changesPerSecond
  const counts = [seconds / 2, ...Array.from({ length: laterParts }, () => seconds / 2 / laterParts)].map((part) =>
    Math.max(1, Math.round(part * changesPerSecond)),
  )
  const made: { readonly at: bigint; readonly last: bigint; readonly streams: number }[] = []
  const [rss, held]: [Point[], Point[]] = [[], []]
  const look = async () => {
    const memory = await memoryOf(pid)
    const x = (made.length * periodMs) / 60_000
    rss.push({ x, y: memory.rss })
    held.push({ x, y: heldBy(memory) })
  }
  const generatorSeconds = async () => {
    const { user, system } = await parts.generator.order('cpu', {})
    return user + system
  }
  const spent = async () => ({ relay: cpuSecondsOf(pid), generator: await generatorSeconds() })
  await look()
  const before = await spent()
  let after = before
  for (const count of counts) {
    const isFirst = made.length === 0
    made.push(...(await changeSteadily({ ...parts, count, from: made.length, services: scale.services })))
    if (isFirst) after = await spent()
    await look()
  }
  const first = made.slice(0, counts[0])
  const firstSeconds = (first.length * periodMs) / 1000
  const firstUpdates = first.reduce((sum, { streams }) => sum + streams, 0)
  const cpu = after.relay - before.relay
  const updates = made.reduce((sum, { streams }) => sum + streams, 0)
  const took = (made.length * periodMs) / 1000
  return {
    ...{ seconds: took, changesPerSecond, updates, offered: made.length * proxies, relayShare: cpu / firstSeconds },
    generatorShare: (after.generator - before.generator) / firstSeconds,
    ...{ updatesPerSecond: updates / took, updatesPerCpuSecond: firstUpdates / cpu },
    lag: lagOf(first.slice(settleSeconds * changesPerSecond), { periodMs, proxies }),
    growth: {
      ...{ rss, held },
      ...{ rssPerMinute: slopeOf(rss.slice(1)), heldPerMinute: slopeOf(held.slice(1)) },
    },
  }
}

/** So many changes at their rate, each of another service than those before it; what arrived of each, a while later. */
async function changeSteadily(
  parts: Pick<FanOutParts, 'mesh' | 'generator'> & {
    readonly count: number
    readonly from: number
    readonly services: number
    readonly changesPerSecond: number
    readonly group?: string
  },
): Promise<{ readonly at: bigint; readonly last: bigint; readonly streams: number }[]> {
  const { mesh, generator, count, from, services, changesPerSecond, group = sidecars } = parts
  const nameOf = (n: number) => nameAt((from + n) % services)
  // Announced so far ahead that no announcement is late, and no service is announced before its last change arrived.
  const ahead = Math.max(1, Math.min(Math.ceil(changesPerSecond), Math.floor(services / 4)))
  const announce = (start: number) => {
    const names = Array.from({ length: Math.min(ahead, count - start) }, (_, n) => endpointsName(nameOf(start + n)))
    return names.length > 0 ? generator.order('announce', { group, type: typeUrls.endpoint, names }) : undefined
  }
  await announce(0)
  const causes: bigint[] = []
  const announced: (Promise<unknown> | undefined)[] = []
  const began = performance.now()
  for (let n = 0; n < count; n++) {
    if (n % ahead === 0) announced.push(announce(n + ahead))
    causes.push(mesh.shop.change(nameOf(n)))
    await quiet(Math.max(0, began + ((n + 1) * 1000) / changesPerSecond - performance.now()))
  }
  await Promise.all(announced)
  const { changes } = await generator.order('arrived', { group, waitMs: lateMs })
  await quiet(300)
  return causes.map((at, n) => ({ at, last: changes[n]?.last ?? 0n, streams: changes[n]?.streams ?? 0 }))
}
