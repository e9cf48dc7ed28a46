import type { CentreFigures } from '#tests/bench/centre-figures.ts'
import { centreRows, centreTables } from '#tests/bench/centre-table.ts'
import { type CompileCost, compileRows } from '#tests/bench/compile.ts'
import { type FanOut, type Series, tooBusy } from '#tests/bench/fan-out.ts'
import { companySize, type Hostile } from '#tests/bench/hostile.ts'
import type { Issuance } from '#tests/bench/issuance.ts'
import { type KubernetesCost, kubernetesRows } from '#tests/bench/kubernetes.ts'
import type { Pushes } from '#tests/bench/pushes.ts'
import { type RehearsalCost, rehearsalRows } from '#tests/bench/rehearse.ts'
import type { Remotes } from '#tests/bench/remotes.ts'
import type { Restart } from '#tests/bench/restart.ts'
import type { Sustained } from '#tests/bench/sustained.ts'
import type { Thousand, ThousandScale } from '#tests/bench/thousand.ts'
import type { WholeState } from '#tests/bench/whole-state.ts'
import { leftOutOfM, type WorkloadM } from '#tests/bench/workload-m.ts'

export type Machine = { readonly cpus: string; readonly memoryGb: number; readonly node: string; readonly load: number }

export type Bench = {
  readonly machine: Machine
  readonly pushes: Pushes
  readonly restart?: Restart
  readonly issuance?: Issuance
  readonly thousand?: Thousand
  /** Reported without a bar. */
  readonly m?: WorkloadM
  readonly centre?: CentreFigures
  readonly compile?: readonly CompileCost[]
  readonly rehearsal?: readonly RehearsalCost[]
  readonly kubernetes?: KubernetesCost
}

export type Row = {
  readonly what: string
  readonly seen: string
  /** What the figure is held against, and whether it reaches that; absent: reported without a bar. */
  readonly bar?: { readonly text: string; readonly reached: boolean }
}

/** The figures as rows, each beside its bar. No bar makes the run fail: times are ratios of one run, and still noise. */
export function rowsOf({ restart, issuance, thousand, centre, compile, rehearsal, kubernetes, m }: Bench): Row[] {
  return [
    ...(thousand ? thousandRows(thousand) : []),
    ...(restart ? restartRows(restart) : []),
    ...(issuance ? issuanceRows(issuance) : []),
    ...(centre ? centreRows(centre) : []),
    ...(compile ? compileRows(compile) : []),
    ...(rehearsal ? rehearsalRows(rehearsal) : []),
    ...(kubernetes ? kubernetesRows(kubernetes) : []),
    ...(m ? workloadRows(m) : []),
  ]
}

function thousandRows({ scale, fanOut, sustained, wholeState, hostile, remotes, floor }: Thousand): Row[] {
  return [
    ...(fanOut ? fanOutRows(scale, fanOut, floor?.rss) : []),
    ...(sustained ? sustainedRows(sustained) : []),
    ...(wholeState ? wholeStateRows(scale, wholeState) : []),
    ...(hostile ? hostileRows(scale, hostile) : []),
    ...(remotes ? remotesRows(remotes) : []),
  ]
}

function fanOutRows(scale: ThousandScale, fanOut: FanOut, floorRss = Number.NaN): Row[] {
  const { endpoint, largeEndpoint, reconnect, memory, cold, serviceAdded } = fanOut
  const loaded = memory.loaded.rss / mb
  return [
    {
      what: `one endpoint of ${scale.endpoints} changes: file renamed → last of ${scale.proxies} delta streams`,
      seen: seriesText(endpoint),
      bar: { text: '≤ 2 × floor', reached: endpoint.ratio <= 2 },
    },
    {
      what: `one endpoint of ${scale.large} changes, same`,
      seen: seriesText(largeEndpoint),
      bar: { text: '≤ 2 × floor', reached: largeEndpoint.ratio <= 2 },
    },
    {
      what: 'processor time of a round: relay; generator beside relay, floor and answered floor',
      seen: `${ms(endpoint.relayCpuMs)}; ${costText(endpoint)}; of the large one ${ms(largeEndpoint.relayCpuMs)}; ${costText(largeEndpoint)}`,
    },
    {
      what: 'bytes to each proxy for it',
      seen: `${bytes(endpoint.bytesPerProxy)}; of the large one ${bytes(largeEndpoint.bytesPerProxy)}`,
    },
    {
      what: 'one service added',
      seen: `${serviceAdded.resources.toFixed(1)} resources, ${bytes(serviceAdded.bytesPerProxy)} per proxy`,
    },
    { what: 'first connection of all', seen: `${ms(cold.ms)}, ${bytes(cold.bytesPerProxy)} per proxy` },
    {
      what: 'all reconnect at once, nothing changed: resources sent again',
      seen: `${reconnect.resources}, ${bytes(reconnect.bytesPerProxy)} per proxy`,
      bar: { text: '0', reached: reconnect.resources === 0 },
    },
    {
      what: 'all reconnect at once: in sync after',
      seen: `${ms(reconnect.ms)}, ${ms(reconnect.relayCpuMs)} of the relay's processor; generator ${percent(reconnect.generatorBusy)} busy`,
      bar: { text: '≤ 3 s', reached: reconnect.ms <= 3000 },
    },
    {
      what: `relay with ${scale.proxies} streams: resident after a forced collection`,
      seen: `${loaded.toFixed(0)} MB; empty ${(memory.empty.rss / mb).toFixed(0)} MB; floor ${(floorRss / mb).toFixed(0)} MB`,
      bar: { text: '≤ 250 MB', reached: loaded <= 250 },
    },
  ]
}

function sustainedRows(sustained: Sustained): Row[] {
  const { changesPerSecond, seconds, updates, offered, lag, growth } = sustained
  const [first, half, last] = [growth.rss[0], growth.rss[1], growth.rss.at(-1)].map((point) => (point?.y ?? 0) / mb)
  const perSecond = sustained.updatesPerCpuSecond
  return [
    {
      what: `sustained: ${changesPerSecond} changes a second for ${seconds.toFixed(0)} s`,
      seen: `${sustained.updatesPerSecond.toFixed(0)} proxy updates a second, ${percent(updates / offered)} of those offered; in the first half the relay uses ${percent(sustained.relayShare)} of a core: ${perSecond.toFixed(0)} per second and core`,
      bar: {
        text: '≥ 10,000 per second per core, all that is offered',
        reached: perSecond >= 10_000 && updates === offered,
      },
    },
    {
      what: `the same: changes that the last stream read within two rounds, ${ms(2000 / changesPerSecond)}: its own and one queued`,
      seen: `${percent(lag.inTime)}; p50 ${ms(lag.p50)}, p99 ${ms(lag.p99)}, worst ${ms(lag.max)}, not read by all: ${lag.missed}; the generator uses ${percent(sustained.generatorShare)} of a core`,
      bar: { text: 'all', reached: lag.inTime === 1 },
    },
    {
      what: 'the same: growth over the second half, after forced collections',
      seen: `heap and buffers ${perMinute(growth.heldPerMinute)}, resident ${perMinute(growth.rssPerMinute)}; resident ${first?.toFixed(0)} → ${half?.toFixed(0)} → ${last?.toFixed(0)} MB`,
      bar: { text: '≤ 1 MB a minute of heap and buffers', reached: growth.heldPerMinute <= mb },
    },
  ]
}

function wholeStateRows(scale: ThousandScale, { proxies, cold, endpoint, answerBytes, reconnect }: WholeState): Row[] {
  return [
    {
      what: `state of the world: one endpoint of ${scale.endpoints} changes → last of ${proxies} streams`,
      seen: `${seriesText(endpoint)}; ${bytes(endpoint.bytesPerProxy)} to each proxy, ${bytes(answerBytes)} in its answer`,
    },
    {
      what: 'the same: first connection; reconnect',
      seen: `${ms(cold.ms)}, ${bytes(cold.bytesPerProxy)} per proxy; ${ms(reconnect.ms)}, ${reconnect.resources.toFixed(0)} resources and ${bytes(reconnect.bytesPerProxy)} per proxy`,
    },
  ]
}

function hostileRows(scale: ThousandScale, hostile: Hostile): Row[] {
  const { deaf, paused } = hostile.perSlowReader
  const { before, second, end, most } = hostile.rss
  const growth = (end - second) / second
  return [
    {
      what: `hostile company of ${companySize} beside ${scale.honest} honest: last of the honest`,
      seen: `${ms(hostile.company.relay.last)}, alone ${ms(hostile.quiet.relay.last)}: ${times(hostile.ratio)}`,
      bar: { text: '≤ 2 × alone', reached: hostile.ratio <= 2 },
    },
    {
      what: 'the same: honest streams that ended',
      seen: String(hostile.honestEnded),
      bar: { text: '0', reached: hostile.honestEnded === 0 },
    },
    {
      what: `the same: resident after forced collections, from the first second over ${hostile.seconds.toFixed(0)} s`,
      seen: `${(second / mb).toFixed(0)} → ${(end / mb).toFixed(0)} MB: ${percent(growth)}; without company ${(before / mb).toFixed(0)} MB; at most, uncollected, ${(most / mb).toFixed(0)} MB`,
      bar: { text: 'flat: ≤ 5 % more', reached: growth <= 0.05 },
    },
    {
      what: 'resident bytes of one slow reader: without HTTP/2 credit; that does not read TCP',
      seen: `${bytes(deaf)}; ${bytes(paused)}`,
      bar: { text: '≤ 200 kB', reached: Math.max(deaf, paused) <= 200_000 },
    },
  ]
}

const remotesRows = ({ clusters, perCluster, rssPerCluster }: Remotes): Row[] => [
  {
    what: `heap and buffers per added remote cluster (300 services, 4,000 endpoints; slope over ${clusters})`,
    seen: `${(perCluster / mb).toFixed(2)} MB; resident ${(rssPerCluster / mb).toFixed(2)} MB`,
    bar: { text: '≤ 3 MB', reached: perCluster <= 3 * mb },
  },
]

function seriesText({ relay, floor, floorAnswered, ratio, ratioAnswered }: Series): string {
  const answered = `answered floor ${ms(floorAnswered.last)}: ${times(ratioAnswered)}`
  return `${ms(relay.last)}, floor ${ms(floor.last)}: ${times(ratio)}; ${answered}${busyText(relay.generatorBusy)}`
}

const costText = ({ relay, floor, floorAnswered }: Series): string =>
  [relay, floor, floorAnswered].map(({ generatorCpuMs }) => ms(generatorCpuMs)).join(', ')

/** A figure that may be the generator's own is marked. */
const busyText = (busy: number): string =>
  busy > tooBusy ? `; **generator ${(busy * 100).toFixed(0)} % busy meanwhile**` : ''

function workloadRows({ scale, fanOut, floorRss, sustained, remoteChurn, perProxySecond }: WorkloadM): Row[] {
  const { services, large, remote, remoteServices, remoteEndpoints, proxies } = scale
  const rows: Row[] = [
    {
      what: `${services} services and one of ${large}; ${remote} clusters more with ${remoteServices} × ${remoteEndpoints}; ${proxies} unscoped proxies`,
      seen: leftOutOfM,
    },
    ...fanOutRows(scale, fanOut, floorRss),
    ...sustainedRows(sustained),
    {
      what: `the same, beside ${remoteChurn.toFixed(0)} changes a second in the other clusters: what reaches one proxy in a second`,
      seen: `${perProxySecond.resources.toFixed(1)} resources, ${bytes(perProxySecond.bytes)}`,
    },
  ]
  return rows.map(({ what, seen }) => ({ what: `M: ${what}`, seen }))
}

const restartRows = ({ toPort, toServed }: Restart): Row[] => [
  {
    what: 'relay started again, centre dead: exec → port open; → a redialling proxy has everything',
    seen: `${ms(toPort)}; ${ms(toServed)}`,
    bar: { text: '≤ 0.5 s', reached: toServed <= 500 },
  },
]

const issuanceRows = ({ perCpuSecond, barePerCpuSecond, ratio, storm }: Issuance): Row[] => [
  {
    what: 'workload certificates by a second of processor time: token checked, request checked, signed, read back, logged',
    seen: `${perCpuSecond.toFixed(0)}; one bare verification and signature ${barePerCpuSecond.toFixed(0)}: ${times(ratio)} that cost`,
    bar: { text: '≥ 1,000 a second and core', reached: perCpuSecond >= 1000 },
  },
  {
    what: `${storm.proxies} proxies ask at once, a TLS connection each: the last has its chain`,
    seen: `${ms(storm.ms)} (${ms(storm.relayCpuMs)} of the relay's processor), ${storm.refusals} were told to ask again, ${storm.failed} without one`,
    bar: { text: '≤ 5 s, none without', reached: storm.ms <= 5000 && storm.failed === 0 },
  },
]

/** A page of the documentation, whole. */
export function pageOf(bench: Bench): string {
  const { machine, pushes, thousand } = bench
  const row = ({ what, seen, bar }: Row) =>
    `| ${what} | ${seen} | ${bar ? `${bar.text}: ${bar.reached ? 'reached' : '**missed**'}` : ''} |`
  return [
    '# Performance',
    '',
    'Written by `npm run bench -- --page`: every figure is of one run. Times are ratios against the floor of the same run, a bare',
    'HTTP/2 server on TLS that writes the same bytes to as many streams; what a machine adds to both falls out.',
    '',
    `Machine: ${machine.cpus}, ${machine.memoryGb} GB, Node ${machine.node}; load average at the start ${machine.load.toFixed(1)}.`,
    ...(thousand
      ? [
          `Scale: ${thousand.scale.proxies} proxies, one TLS connection each; ${thousand.scale.services} services × ${thousand.scale.endpoints} endpoints and one of ${thousand.scale.large}; ${thousand.scale.remote} remote clusters.`,
          `The load generator used ${(thousand.generator.user + thousand.generator.system).toFixed(0)} s of processor time and ${(thousand.generator.rss / mb).toFixed(0)} MB; its proxies answer 0 to ${thousand.scale.ackMs} ms after they read (seed ${thousand.scale.seed}), at once while they connect.`,
        ]
      : []),
    '',
    '| what | seen | bar |',
    '|---|---|---|',
    ...rowsOf(bench).map(row),
    '',
    ...(thousand || bench.m ? howToRead : []),
    '## What travels to one proxy',
    '',
    '| change | resources | removed | bytes |',
    '|---|---|---|---|',
    ...Object.entries(pushes).map(
      ([what, { resources, removed, bytes: size }]) => `| ${what} | ${resources} | ${removed} | ${size} |`,
    ),
    '',
    ...(bench.centre ? ['## The centre', '', ...Object.values(centreTables(bench.centre)).flatMap(tableOf)] : []),
  ].join('\n')
}

const howToRead: readonly string[] = [
  '## How to read it',
  '',
  '* A stream has a change when the last byte of the response was read by its client: before it is parsed, applied or answered.',
  '* The *floor* writes as many bytes to clients that only count them; bars are held against it. The clients of the *answered',
  '  floor* say as many bytes as an acknowledgement has, as late as proxies do: it shows what of a ratio is the answering.',
  '* The generator runs on the second core. Where its thread was busy for more than 85 % of a round, the row says so: then the',
  '  figure is as much its own as that of the relay.',
  '* A proxy that comes back is in sync when the relay has answered the last thing it asked, a name that nobody has.',
  '* Sustained: every single change is followed to its last stream. It is in time when that stream has read it before the change',
  '  after the next one is made: its own round, and at most one in which it was queued. Memory is looked at while nothing is',
  '  offered, at half time and five times more; `ISTHMUS_BENCH_SECONDS=600` is the long form, in which a slope means something.',
  '  What is judged of lateness and cost is the first half, after two seconds: a forced collection throws compiled code away, which',
  '  no relay in service does to itself.',
  '* A slow reader is one of 50 that ask for everything and take nothing: no HTTP/2 credit, or a TCP socket that nobody reads.',
  '* Rows that begin with M are a larger mesh, for comparison with what others publish; there is no bar for them.',
  '',
]

function tableOf(rows: Readonly<Record<string, Readonly<Record<string, unknown>>>>): string[] {
  const columns = Object.keys(Object.values(rows)[0] ?? {})
  const line = (cells: readonly unknown[]) => `| ${cells.join(' | ')} |`
  const body = Object.entries(rows).map(([name, row]) => line([name, ...columns.map((column) => row[column])]))
  return [line(['', ...columns]), line(['', ...columns].map(() => '---')), ...body, '']
}

const mb = 1e6
const ms = (value: number): string => (value < 10_000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`)
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
const perMinute = (value: number): string => `${(value / mb).toFixed(2)} MB a minute`
const times = (ratio: number): string => `${ratio.toFixed(2)} ×`
const bytes = (value: number): string => (value < 10_000 ? `${value.toFixed(0)} B` : `${(value / 1000).toFixed(1)} kB`)
