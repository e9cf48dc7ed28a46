import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type CentreOptions, measureCentre } from '#tests/bench/centre.ts'
import { centreTables } from '#tests/bench/centre-table.ts'
import { measureCompiles } from '#tests/bench/compile.ts'
import { measureIssuance } from '#tests/bench/issuance.ts'
import { measureKubernetes } from '#tests/bench/kubernetes.ts'
import { measurePushes, type Pushes } from '#tests/bench/pushes.ts'
import { measureRehearsals } from '#tests/bench/rehearse.ts'
import { type Bench, pageOf, rowsOf } from '#tests/bench/report.ts'
import { measureRestart } from '#tests/bench/restart.ts'
import { measureThousand, type ThousandPart, type ThousandScale, thousandParts } from '#tests/bench/thousand.ts'
import { measureWorkloadM, shapeOfM } from '#tests/bench/workload-m.ts'

// `npm run bench`: what travels to a proxy for one change, and a thousand proxies at one relay. `--smoke` is the short
// form for CI: it fails when a count that cannot be noise is not what the design promises. The long form also takes
// times, and fails on none of them. `--only` measures one part (restart, issuance, thousand, centre, compile, rehearsal,
// kubernetes, m) or one of the thousand's (fan-out, sustained, sotw, hostile, remotes), and may stand several times;
// `--page` writes docs/performance.md.
// ISTHMUS_BENCH_ … PROXIES, ROUNDS, HONEST: how many; SECONDS, CHANGES: how long changes go on, and how many a second;
// ENGINE (postgres or embedded), MEMBERS (20 or 100): only those points of the centre;
// ACK_MS, SEED: the latest answer, and what answers are drawn from; M_PROXIES, M_ROUNDS: of the larger mesh.
const parts = ['restart', 'issuance', 'thousand', 'centre', 'compile', 'rehearsal', 'kubernetes', 'm'] as const
const all: readonly string[] = [...parts, ...thousandParts]
const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [...parts] },
  },
})
for (const one of values.only) if (!all.includes(one)) throw new Error(`--only ${one}: say ${all.join(', ')}`)
const load = loadavg()[0] ?? Number.NaN
const scale = { services: 200, endpoints: 10, large: values.smoke ? 100 : 1000, remote: 2 }
const pushes = await measurePushes(scale)

console.log(
  `One sidecar, delta ADS over TLS: ${scale.services} services × ${scale.endpoints} endpoints, one of ${scale.large}, ${scale.remote} remote clusters.`,
)
console.table(
  Object.fromEntries(
    Object.entries(pushes).map(([name, { resources, removed, bytes }]) => [name, { resources, removed, bytes }]),
  ),
)
const machine = {
  cpus: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
  ...{ memoryGb: Math.round(totalmem() / 1e9), node: process.version, load },
}
const bench: Bench = values.smoke ? { machine, pushes } : { machine, pushes, ...(await long()) }
for (const { what, seen, bar } of rowsOf(bench))
  console.log(`${bar ? (bar.reached ? '✔' : '✘') : '·'} ${what}: ${seen}${bar ? ` (${bar.text})` : ''}`)
if (bench.centre) for (const table of Object.values(centreTables(bench.centre))) console.table(table)
const root = join(import.meta.dirname, '../..')
mkdirSync(join(root, 'test-output'), { recursive: true })
writeFileSync(join(root, 'test-output/bench.json'), JSON.stringify(bench, null, 2))
if (values.page) writeFileSync(join(root, 'docs/performance.md'), pageOf(bench))

async function long(): Promise<Omit<Bench, 'machine' | 'pushes'>> {
  const wants = (part: (typeof parts)[number]) => values.only.includes(part)
  const restart = wants('restart') ? { restart: await measureRestart() } : {}
  const issuance = wants('issuance') ? { issuance: await measureIssuance() } : {}
  const some = (part: ThousandPart) => wants('thousand') || values.only.includes(part)
  const thousand = thousandParts.some(some) ? { thousand: await measureThousand(thousandScale(), some, say) } : {}
  const centre = wants('centre') ? { centre: await measureCentre(centreOptions()) } : {}
  const compile = wants('compile') ? { compile: measureCompiles() } : {}
  const rehearsal = wants('rehearsal') ? { rehearsal: measureRehearsals() } : {}
  const kubernetes = wants('kubernetes') ? { kubernetes: await measureKubernetes() } : {}
  const m = wants('m') ? await workloadM() : {}
  return { ...restart, ...issuance, ...thousand, ...centre, ...compile, ...rehearsal, ...kubernetes, ...m }
}

/** Each engine takes about a minute and a half with twenty members, about three with a hundred (which is what is usual). */
function centreOptions(): CentreOptions {
  const { ISTHMUS_BENCH_ENGINE: engine, ISTHMUS_BENCH_MEMBERS: members } = process.env
  if (engine !== undefined && engine !== 'postgres' && engine !== 'embedded')
    throw new Error(`ISTHMUS_BENCH_ENGINE=${engine}: say postgres or embedded`)
  return {
    ...(engine === undefined ? {} : { engines: [engine] }),
    ...(members === undefined ? {} : { members: Number(members) }),
  }
}

/** Beside the others and after them: where it cannot be measured, they are told all the same. */
async function workloadM(): Promise<Pick<Bench, 'm'>> {
  const seconds = Math.min(60, thousandScale().sustainedSeconds)
  const size = { proxies: count('M_PROXIES', 200), rounds: count('M_ROUNDS', 5) }
  const shape = { ...thousandScale(), ...shapeOfM, ...size, sustainedSeconds: seconds }
  return await measureWorkloadM(shape, say).then(
    (m) => ({ m }),
    (error: unknown) => {
      say(`m: not measured: ${error instanceof Error ? error.message : error}`)
      return {}
    },
  )
}

function thousandScale(): ThousandScale {
  return {
    ...{ ...scale, proxies: count('PROXIES', 1000), rounds: count('ROUNDS', 20), honest: count('HONEST', 200) },
    ...{ sustainedSeconds: count('SECONDS', 60), changesPerSecond: count('CHANGES', 10), further: 10 },
    ...{ ackMs: count('ACK_MS', 50), seed: count('SEED', 7) },
  }
}

function say(text: string): void {
  console.error(`· ${text}`)
}

function count(name: string, usual: number): number {
  const said = process.env[`ISTHMUS_BENCH_${name}`]
  return said === undefined ? usual : Number(said)
}

const faults = check(pushes)
for (const fault of faults) console.error(`✘ ${fault}`)
process.exitCode = faults.length === 0 ? 0 : 1

/** The promises, by change: at most so many resources. */
function check(seen: Pushes): string[] {
  const most: Readonly<Record<string, number>> = {
    nothing: 0,
    'one endpoint added': 1,
    'one weight changed': 1,
    'one remote count changed': 1,
    'one service added': 3,
    'one service removed': 3,
    'reconnect, nothing changed': 0,
  }
  const over = Object.entries(most).flatMap(([name, limit]) => {
    const push = seen[name]
    if (!push) return [`${name}: not measured`]
    return push.resources + push.removed > limit
      ? [
          `${name}: ${push.resources} resources sent and ${push.removed} removed, at most ${limit}: ${push.names.join(', ')}`,
        ]
      : []
  })
  const first = seen['first connection']
  return (first?.resources ?? 0) > scale.services
    ? over
    : [...over, 'the first connection was sent too little to be true']
}
