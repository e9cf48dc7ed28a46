import { fork } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CentreEngine, CentreFigures, EngineFigures, SyncPoint } from '#tests/bench/centre-figures.ts'
import { answerOf } from '#tests/bench/centre-floors.ts'
import type { LoadAnswer, LoadPlan } from '#tests/bench/centre-load.ts'
import type { MemberPlan } from '#tests/bench/centre-member.ts'
import { freePort } from '#tests/support/flaky-line.ts'
import { fleetCentre, joinTokenOf } from '#tests/support/fleet-centre.ts'
import { tailOf } from '#tests/support/fleet-program.ts'
import { programPath, startPostgres } from '#tests/support/parts.ts'

export type { CentreFigures } from '#tests/bench/centre-figures.ts'

export type CentreOptions = {
  readonly engines?: readonly CentreEngine[]
  readonly points?: readonly SyncPoint[]
  /** Of the usual points those of so many members: a hundred, or twenty. */
  readonly members?: number | undefined
  /** Exported services of each member. */
  readonly services?: number
  readonly warmMs?: number
  readonly measuredMs?: number
  readonly floorMs?: number
  readonly hintChanges?: number
  /** For the centre's process: NODE_OPTIONS to profile it by. */
  readonly env?: Readonly<Record<string, string>>
}

/** Of a hundred members the centre takes 2,000 requests a second: with twenty, its limit for each may be what is seen. */
const usualMembers = 100
const usualPoints: readonly SyncPoint[] = [
  { members: 20, items: 1, watched: false },
  { members: 20, items: 50, watched: false },
  { members: 100, items: 1, watched: false },
  { members: 100, items: 50, watched: false },
  { members: 100, items: 1, watched: true },
]

/**
 * The real centre as a process of its own, on PostgreSQL (fsync on) and on its embedded database, under syncs of members
 * that joined for real; then one change at a time, from the report to another member's hint. With the floors of the same
 * run: the bare store and the bare HTTPS server.
 */
export async function measureCentre(options: CentreOptions = {}): Promise<CentreFigures> {
  const loadBefore = loadavg()[0] ?? Number.NaN
  const engines: Partial<Record<CentreEngine, EngineFigures>> = {}
  for (const engine of options.engines ?? (['postgres', 'embedded'] as const))
    engines[engine] = await measureOn(engine, options)
  return { engines, loadBefore }
}

async function measureOn(engine: CentreEngine, options: CentreOptions): Promise<EngineFigures> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-bench-centre-'))
  const log = join(dir, 'centre.log')
  const postgres = engine === 'postgres' ? await startPostgres(durable) : undefined
  const centre = fleetCentre({
    ...{ program: await programPath('centre'), port: await freePort(), dir: join(dir, 'centre'), log },
    env: { ...options.env, ...(postgres ? { DATABASE_URL: postgres.url } : {}) },
  })
  try {
    await centre.start()
    const wanted = options.members ?? usualMembers
    const points = options.points ?? usualPoints.filter((point) => point.members === wanted)
    if (points.length === 0) throw new Error(`no point has ${wanted} members`)
    const members: MemberPlan[] = []
    for (let n = 0; n < Math.max(...points.map((point) => point.members)); n++) {
      const name = `c${n}`
      const joinToken = await joinTokenOf(centre, { name, network: name, region: 'r1' })
      members.push({ ...{ number: n, name, joinToken, dir: join(dir, name) }, services: options.services ?? 50 })
    }
    return await loaded({
      ...{ engine, points, members },
      centre: {
        url: `https://${centre.host}:${centre.port}`,
        ca: readFileSync(centre.caFile, 'utf8'),
        pid: centre.pid(),
      },
      ...(postgres ? { databaseUrl: postgres.url } : {}),
      duration: { warm: options.warmMs ?? 4000, measured: options.measuredMs ?? 8000 },
      // The embedded engine's code is compiled while it runs: a floor that is cold is none.
      floor: { warm: Math.min(2000, options.warmMs ?? 2000), measured: options.floorMs ?? 2000 },
      hints: { changes: options.hintChanges ?? 300, spaceMs: 50 },
    })
  } catch (cause) {
    throw new Error(`no figures of the centre on ${engine}: ${cause}\n${tailOf(log, 10)}`, { cause })
  } finally {
    await centre.stop()
    await postgres?.stop()
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** As a server is run whose data matter. */
const durable = { fsync: 'on', full_page_writes: 'on', shared_buffers: '128MB' }

/** Runs the load generator, a process that ends with its figures. */
async function loaded(plan: LoadPlan): Promise<EngineFigures> {
  const child = fork(join(import.meta.dirname, 'centre-load.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  try {
    child.send(plan)
    const answer = await answerOf<LoadAnswer>(child)
    if ('fault' in answer) throw new Error(answer.fault)
    return answer.figures
  } finally {
    child.kill('SIGKILL')
  }
}
