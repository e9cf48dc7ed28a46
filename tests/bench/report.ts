import type { centreTables } from '#tests/bench/centre.ts'
import { type Series, tooBusy } from '#tests/bench/fan-out.ts'
import type { Pushes } from '#tests/bench/pushes.ts'
import type { Restart } from '#tests/bench/restart.ts'
import type { Thousand } from '#tests/bench/thousand.ts'

export type Machine = { readonly cpus: string; readonly memoryGb: number; readonly node: string; readonly load: number }

export type Bench = {
  readonly machine: Machine
  readonly pushes: Pushes
  readonly restart?: Restart
  readonly thousand?: Thousand
  readonly centre?: ReturnType<typeof centreTables>
}

export type Row = {
  readonly what: string
  readonly seen: string
  /** What the figure is held against, and whether it reaches that; absent: reported without a bar. */
  readonly bar?: { readonly text: string; readonly reached: boolean }
}

/** The figures as rows, each beside its bar. No bar makes the run fail: times are ratios of one run, and still noise. */
export function rowsOf({ restart, thousand }: Bench): Row[] {
  return [...(thousand ? thousandRows(thousand) : []), ...(restart ? restartRows(restart) : [])]
}

function thousandRows({ scale, fanOut, sustained, hostile, remotes, floor }: Thousand): Row[] {
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
      seen: `${ms(reconnect.ms)}, ${ms(reconnect.relayCpuMs)} of the relay's processor${busyText(reconnect.generatorBusy)}`,
      bar: { text: '≤ 3 s', reached: reconnect.ms <= 3000 },
    },
    {
      what: `relay with ${scale.proxies} streams: resident after a forced collection`,
      seen: `${loaded.toFixed(0)} MB; empty ${(memory.empty.rss / mb).toFixed(0)} MB; floor ${(floor.rss / mb).toFixed(0)} MB`,
      bar: { text: '≤ 250 MB', reached: loaded <= 250 },
    },
    {
      what: `sustained ${sustained.changesPerSecond.toFixed(0)} changes a second for ${sustained.seconds.toFixed(0)} s`,
      seen: `${sustained.updatesPerSecond.toFixed(0)} proxy updates a second, ${sustained.updatesPerCpuSecond.toFixed(0)} per processor second of the relay`,
      bar: { text: '≥ 10,000 per second per core', reached: sustained.updatesPerCpuSecond >= 10_000 },
    },
    {
      what: 'the same: last stream after a change',
      seen: `p50 ${ms(sustained.lastMs.p50)}, most ${ms(sustained.lastMs.max)}; resident ${(sustained.rss.before / mb).toFixed(0)} → ${(sustained.rss.after / mb).toFixed(0)} MB`,
    },
    {
      what: `hostile company of 31 beside ${scale.honest} honest: last of the honest`,
      seen: `${ms(hostile.company.relay.last)}, alone ${ms(hostile.quiet.relay.last)}: ${times(hostile.ratio)}`,
      bar: { text: '≤ 2 × alone', reached: hostile.ratio <= 2 },
    },
    {
      what: 'the same: honest streams that ended; resident memory',
      seen: `${hostile.honestEnded}; ${[hostile.rss.before, hostile.rss.second, hostile.rss.end].map((one) => (one / mb).toFixed(0)).join(' → ')} MB`,
      bar: { text: '0 ended', reached: hostile.honestEnded === 0 },
    },
    {
      what: `heap and buffers per added remote cluster (300 services, 4,000 endpoints; slope over ${remotes.clusters})`,
      seen: `${(remotes.perCluster / mb).toFixed(2)} MB`,
      bar: { text: '≤ 3 MB', reached: remotes.perCluster <= 3 * mb },
    },
  ]
}

function seriesText({ relay, floor, floorAnswered, ratio, ratioAnswered }: Series): string {
  const answered = `answered floor ${ms(floorAnswered.last)}: ${times(ratioAnswered)}`
  return `${ms(relay.last)}, floor ${ms(floor.last)}: ${times(ratio)}; ${answered}${busyText(relay.generatorBusy)}`
}

const costText = ({ relay, floor, floorAnswered }: Series): string =>
  [relay, floor, floorAnswered].map(({ generatorCpuMs }) => ms(generatorCpuMs)).join(', ')

/** A figure that may be the generator's own is marked. */
const busyText = (busy: number): string =>
  busy > tooBusy ? `; **generator ${(busy * 100).toFixed(0)} % busy meanwhile**` : ''

const restartRows = ({ toPort, toServed }: Restart): Row[] => [
  {
    what: 'relay started again, centre dead: exec → port open; → a redialling proxy has everything',
    seen: `${ms(toPort)}; ${ms(toServed)}`,
    bar: { text: '≤ 0.5 s', reached: toServed <= 500 },
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
    '## What travels to one proxy',
    '',
    '| change | resources | removed | bytes |',
    '|---|---|---|---|',
    ...Object.entries(pushes).map(
      ([what, { resources, removed, bytes: size }]) => `| ${what} | ${resources} | ${removed} | ${size} |`,
    ),
    '',
    ...(bench.centre ? ['## The centre', '', ...Object.values(bench.centre).flatMap(tableOf)] : []),
  ].join('\n')
}

function tableOf(rows: Readonly<Record<string, Readonly<Record<string, unknown>>>>): string[] {
  const columns = Object.keys(Object.values(rows)[0] ?? {})
  const line = (cells: readonly unknown[]) => `| ${cells.join(' | ')} |`
  const body = Object.entries(rows).map(([name, row]) => line([name, ...columns.map((column) => row[column])]))
  return [line(['', ...columns]), line(['', ...columns].map(() => '---')), ...body, '']
}

const mb = 1e6
const ms = (value: number): string => (value < 10_000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`)
const times = (ratio: number): string => `${ratio.toFixed(2)} ×`
const bytes = (value: number): string => (value < 10_000 ? `${value.toFixed(0)} B` : `${(value / 1000).toFixed(1)} kB`)
