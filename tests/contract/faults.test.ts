import { readFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type FaultCluster, type FaultFleet, startFaultFleet } from '#tests/support/fault-fleet.ts'
import { type WantedService, writeService } from '#tests/support/fault-manifests.ts'
import { type Holding, holdingOf, oracleOf } from '#tests/support/fault-oracle.ts'
import { type Postgres, startPostgres } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

/**
 * A seeded schedule of edits and faults on real processes: the centre, the database, the relays and the line between them
 * are cut, stalled, killed and restarted while the clusters' YAML changes. After each round of faults everything is healed,
 * and every relay must hold exactly what a compiler that never saw a fault makes of the manifests; at no moment may a
 * revision that was served go back. A failing seed runs again with ISTHMUS_SEED=<seed>; `npm run test:faults` runs for
 * minutes instead of seconds.
 */
const long = process.env['ISTHMUS_FAULTS'] !== undefined
const seed = Number(process.env['ISTHMUS_SEED'] ?? Math.floor(Math.random() * 1e9))
const budgetMs = long ? Number(process.env['ISTHMUS_FAULTS']) * 1000 || 300_000 : 10_000

const names = ['a', 'b', 'c']
const services = ['cart', 'pay', 'ship']
/** Five seconds on a machine that has time for us. */
const healMs = () => 5000 * Math.max(1, (loadavg()[0] ?? 0) / cpus().length)

/** Numbers that are the same for the same seed (mulberry32). */
function dice(start: number) {
  let state = start >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const upTo = (n: number): number => Math.floor(next() * n)
  const pick = <T>(list: readonly T[]): T => list[upTo(list.length)] as T
  return { upTo, pick, chance: (p: number) => next() < p }
}
type Dice = ReturnType<typeof dice>
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

function edit(roll: Dice, clusters: readonly FaultCluster[]): string {
  const cluster = roll.pick(clusters)
  const name = roll.pick(services)
  const pods = 1 + roll.upTo(4)
  const to = roll.pick([[], [], [], ['a', 'b'], ['b', 'c'], ['c']])
  const wanted: WantedService | undefined = roll.chance(0.15)
    ? undefined
    : { pods, ready: roll.upTo(pods + 1), ...(roll.chance(0.8) ? { exportedTo: to } : {}) }
  writeService(cluster.manifests, name, wanted)
  return `${cluster.name}/${name} ${JSON.stringify(wanted ?? 'removed')}`
}

type Undo = () => Promise<void> | void
type Fault = (fleet: FaultFleet, roll: Dice) => Promise<{ readonly what: string; readonly heal: Undo }>

const killCentre: Fault = async ({ centre }) => {
  await centre.kill()
  return { what: 'centre killed', heal: () => centre.start() }
}
const killRelay: Fault = async ({ clusters }, roll) => {
  const { name, relay } = roll.pick(clusters)
  if (!relay.running()) return { what: 'nothing', heal: () => undefined }
  await relay.kill()
  // It comes back before the rest is healed, so that it starts from its own disk.
  const early = roll.chance(0.7)
  if (early) relay.start()
  return { what: `relay ${name} killed${early ? ' and started' : ''}`, heal: () => (early ? undefined : relay.start()) }
}
const stopRelay: Fault = async ({ clusters }, roll) => {
  const { name, relay } = roll.pick(clusters)
  relay.signal('SIGSTOP')
  return { what: `relay ${name} paused`, heal: () => relay.signal('SIGCONT') }
}
const cutLine: Fault = async ({ line }, roll) => {
  const at = roll.upTo(9000)
  line.fault(roll.chance(0.5) ? { cutUpAt: at } : { cutDownAt: at })
  line.cut()
  return { what: `line cut at ${at}`, heal: () => line.fault({}) }
}
const stallLine: Fault = async ({ line }, roll) => {
  const stall = roll.pick(['up', 'down', 'both'] as const)
  line.fault({ stall })
  return {
    what: `line silent ${stall}`,
    heal: () => {
      if (roll.chance(0.5)) line.cut()
      line.fault({})
    },
  }
}
const refuseLine: Fault = async ({ line }) => {
  line.fault({ refuse: true })
  line.cut()
  return { what: 'line refused', heal: () => line.fault({}) }
}
const slowLine: Fault = async ({ line }, roll) => {
  const delayMs = 20 + roll.upTo(200)
  line.fault({ delayMs })
  return { what: `line slow by ${delayMs} ms`, heal: () => line.fault({}) }
}
/** The moment at which what was served is easiest to lose: served a moment ago, killed, and nobody there to tell it again. */
const killAfterChange: Fault = async ({ clusters, line }, roll) => {
  const [source, reader] = roll.chance(0.5) ? [clusters[0], clusters[1]] : [clusters[1], clusters[2]]
  if (!source || !reader?.relay.running()) return { what: 'nothing', heal: () => undefined }
  const seen = async () => (await reader.status()).centre.streams[`ep/${source.name}/all`]
  const before = await seen().catch(() => undefined)
  for (let ready = 1; ready <= 2; ready++) {
    writeService(source.manifests, roll.pick(services), { pods: 4, ready: ready + roll.upTo(2), exportedTo: [] })
    for (let n = 0; n < 20 && (await seen().catch(() => before)) === before; n++) await pause(10)
  }
  await pause(roll.upTo(100))
  line.fault({ refuse: true })
  line.cut()
  await reader.relay.kill()
  reader.relay.start()
  await eventually(10_000, 'it serves again', async () => (await reader.status()).state === 'serving')
  await pause(100)
  return { what: `relay ${reader.name} killed after a change`, heal: () => line.fault({}) }
}
const killDatabase =
  (postgres: Postgres): Fault =>
  async () => {
    await postgres.kill9()
    return { what: 'database killed', heal: () => postgres.restart() }
  }
const faults: readonly Fault[] = [
  killCentre,
  killRelay,
  killRelay,
  stopRelay,
  cutLine,
  cutLine,
  stallLine,
  refuseLine,
  slowLine,
  killAfterChange,
  killAfterChange,
]

/** Looks all the time, and remembers what went back. */
function watchRevisions(fleet: FaultFleet): { stop(): Promise<readonly string[]> } {
  const best = new Map<string, number>()
  const faults: string[] = []
  let stopped = false
  const look = async (cluster: FaultCluster): Promise<void> => {
    while (!stopped) {
      await cluster.status().then(
        ({ state, centre, config }) => {
          if (state !== 'serving' || centre === undefined) return
          if (config.fault !== undefined) faults.push(`${cluster.name}: ${config.fault}`)
          for (const lasting of [`cfg/${cluster.name}`, 'trust/mesh1'])
            if (best.has(`${cluster.name} ${lasting}`) && centre.streams[lasting] === undefined)
              faults.push(`${cluster.name} lost ${lasting}`)
          for (const [stream, rev] of Object.entries(centre.streams)) {
            const key = `${cluster.name} ${stream}`
            const before = best.get(key) ?? 0
            if (rev < before) faults.push(`${key} went back from ${before} to ${rev}`)
            best.set(key, Math.max(before, rev))
          }
        },
        () => undefined,
      )
      await pause(50)
    }
  }
  const looking = fleet.clusters.map(look)
  return {
    stop: async () => {
      stopped = true
      await Promise.all(looking)
      return [...new Set(faults)]
    },
  }
}

async function agree(fleet: FaultFleet, wanted: ReadonlyMap<string, Holding>): Promise<boolean> {
  for (const cluster of fleet.clusters) {
    const held = holdingOf(cluster)
    const should = wanted.get(cluster.name)
    for (const part of ['config', 'summaries'] as const) {
      const missing = should?.[part].filter((line) => !held[part].includes(line)) ?? []
      const over = held[part].filter((line) => !should?.[part].includes(line))
      if (missing.length + over.length > 0)
        throw new Error(`${cluster.name} ${part}: missing ${missing.join(' | ')}; too much ${over.join(' | ')}`)
    }
  }
  return true
}

async function healed({ centre, centreReady, clusters }: FaultFleet): Promise<void> {
  if (!centre.running()) centre.start()
  for (const { relay } of clusters) if (!relay.running()) relay.start()
  await eventually(30_000, 'the centre is ready', centreReady)
  for (const cluster of clusters)
    await eventually(30_000, `${cluster.name} serves`, async () => (await cluster.status()).state === 'serving')
}

async function schedule(fleet: FaultFleet, more: readonly Fault[], ms: number): Promise<void> {
  const roll = dice(seed)
  const story: string[] = []
  const times: number[] = []
  const watch = watchRevisions(fleet)
  try {
    const end = performance.now() + ms
    for (let round = 1; round <= 2 || performance.now() < end; round++) {
      const undo: Undo[] = []
      for (let n = 1 + roll.upTo(2); n > 0; n--) {
        for (let e = roll.upTo(3); e > 0; e--) story.push(`${round}: ${edit(roll, fleet.clusters)}`)
        const { what, heal } = await roll.pick([...faults, ...more, ...more])(fleet, roll)
        story.push(`${round}: ${what}`)
        undo.push(heal)
        await pause(roll.upTo(600))
      }
      for (let e = 1 + roll.upTo(3); e > 0; e--) story.push(`${round}: ${edit(roll, fleet.clusters)}`)
      await pause(roll.upTo(300))
      for (const heal of undo) await heal()
      await healed(fleet)
      const started = performance.now()
      const wanted = await oracleOf(fleet.clusters)
      await eventually(healMs(), `round ${round}: all relays hold what the manifests say`, () => agree(fleet, wanted))
      times.push(Math.round(performance.now() - started))
    }
  } catch (error) {
    const tail = (name: string) => `── ${name}\n${readFileSync(join(fleet.dir, `${name}.log`), 'utf8').slice(-2500)}`
    const logs = ['centre', ...names].map(tail).join('\n')
    throw new Error(`seed ${seed}: ${(error as Error).message}\n${story.slice(-25).join('\n')}\n${logs}`, {
      cause: error,
    })
  } finally {
    const back = await watch.stop()
    console.info(`faults: seed ${seed}, ${times.length} rounds, healed after ${times.join(', ')} ms`)
    expect(back, `seed ${seed}`).toEqual([])
  }
}

describe('edits and faults in any order: nothing lost, nothing back from the dead, nothing older than before', () => {
  test('with the embedded database', { timeout: budgetMs + 110_000 }, async () => {
    const fleet = await startFaultFleet(names)
    try {
      await schedule(fleet, [], budgetMs)
    } finally {
      await fleet.end()
    }
  })

  test('with PostgreSQL, which is killed too', { timeout: budgetMs + 110_000 }, async () => {
    const postgres = await startPostgres()
    try {
      const fleet = await startFaultFleet(names, postgres.url)
      try {
        await schedule(fleet, [killDatabase(postgres)], long ? budgetMs : budgetMs / 2)
      } finally {
        await fleet.end()
      }
    } finally {
      await postgres.stop()
    }
  })
})
