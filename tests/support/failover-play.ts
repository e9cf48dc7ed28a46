import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Call, type Calls, startCalls, startGrpcCalls } from '#tests/support/failover-load.ts'
import { type Counted, type Row, slowMs } from '#tests/support/failover-table.ts'
import type { Fleet } from '#tests/support/fleet.ts'
import { sayGrpc, sayHttp } from '#tests/support/protocol-client.ts'
import { eventually } from '#tests/support/until.ts'

/** Something that goes wrong with `near`, and what is to be of those who call from `home`. */
export type Scenario = {
  readonly name: string
  readonly fault: () => unknown
  /** What is to be so before anything is mended. */
  readonly until: () => Promise<unknown>
  readonly mend: () => unknown
  /** Played this often; after the first time not longer than until everything is steady. */
  readonly times?: number
  /** Statuses that are as they should be. */
  readonly right?: readonly number[]
  /** What breaks says so at once: of calls that must not be repeated no others fail than those in flight. */
  readonly refuses?: true
  /** Nobody is sent away: at most this part of the GETs is answered by `far`. */
  readonly awayMax?: number
  /** A row of its own for what happens from its mending on. */
  readonly mending?: string
}

export type Player = {
  /** The row, or two, and what must not be. */
  play(scenario: Scenario): Promise<readonly Played[]>
  /** Resolves with the time from which on the cluster answered all GETs, once that is a second's worth. */
  untilAnsweredBy(cluster: string): Promise<number>
  /** The relay of the callers has given its verdict on `near`. */
  untilOut(): Promise<void>
  phaseOfNear(): Promise<string>
  stop(): Promise<void>
}

export type Played = { readonly row: Row; readonly faults: readonly string[] }

const perSecond = 200
const ordersPerSecond = 20
const backMs = 150_000
const outMs = 60_000
/** After which any machine is steady again; before a relay takes a gateway that answers nothing for dead. */
const steadyMs = 4000
/** On a busy machine a connection's end is heard of only so late. */
const heardMs = 500

/** The load of the whole table: GETs, orders (POSTs), and gRPC of a service that may be repeated and of one that may not. */
export async function startPlayer(fleet: Fleet, services: { once: string; again: string }): Promise<Player> {
  const caller = fleet.cluster('home').pod('caller-1')
  const http = caller.to(services.once, 'http')
  const [grpc, repeatable] = [caller.to(services.once, 'grpc'), caller.to(services.again, 'grpc')]
  await eventually(30_000, 'near answers', async () => {
    const said = [await sayHttp(http), await sayGrpc(grpc, 'look'), await sayGrpc(repeatable, 'look')]
    return said.every(({ cluster }) => cluster === 'near')
  })
  const load = {
    gets: startCalls(http, perSecond),
    repeatable: startGrpcCalls(repeatable, perSecond),
    calls: startGrpcCalls(grpc, ordersPerSecond, 'call'),
    posts: startCalls(http, ordersPerSecond, 'order'),
  }
  return {
    play: async (scenario) => await play(fleet, load, scenario),
    untilAnsweredBy: (cluster) => untilAnsweredBy(load.gets, cluster),
    untilOut: () => eventually(outMs, 'near is out', async () => (await nearAt(fleet))?.phase === 'out').then(() => {}),
    phaseOfNear: async () => (await nearAt(fleet))?.phase ?? 'unknown',
    stop: async () => {
      await Promise.all(Object.values(load).map((one) => one.stop()))
    },
  }
}

type Load = { readonly [K in 'gets' | 'repeatable' | 'calls' | 'posts']: Calls }

async function play(fleet: Fleet, load: Load, scenario: Scenario): Promise<readonly Played[]> {
  const found: (readonly Played[])[] = []
  for (let left = scenario.times ?? 1; left > 0; left--)
    found.push(await playOnce(fleet, load, scenario, found.length > 0))
  return found.flat()
}

async function playOnce(fleet: Fleet, load: Load, scenario: Scenario, isAgain: boolean): Promise<readonly Played[]> {
  const { gets } = load
  await untilWhole(fleet)
  await untilAnsweredBy(gets, 'near')
  const before = doubledOrders(fleet)
  const begun = performance.now()
  await pause(500)
  const broken = performance.now()
  await scenario.fault()
  const hit = performance.now()
  await (isAgain ? pause(steadyMs) : scenario.until())
  await pause(1000)
  const mended = performance.now()
  await scenario.mend()
  const back = await untilAnsweredBy(gets, 'near')
  await pause(1000)
  await Promise.all(Object.values(load).map((one) => one.settled()))
  const all = { load, scenario, doubled: doubledOrders(fleet) - before, back: Math.max(0, back - mended) }
  const row = rowSince(begun, { ...all, broken, hit, mended })
  if (scenario.mending === undefined) return [row]
  return [row, rowSince(mended, { ...all, doubled: 0, scenario: { ...scenario, name: scenario.mending } })]
}

type Sight = {
  readonly load: Load
  readonly scenario: Scenario
  readonly doubled: number
  readonly back: number
  readonly broken?: number
  readonly hit?: number
  readonly mended?: number
}

function rowSince(begun: number, { load, scenario, doubled, back, broken, hit, mended }: Sight): Played {
  const { right = [200], refuses, awayMax } = scenario
  const isWrong = ({ status, fault }: Call) => fault !== undefined || !right.includes(status ?? 200)
  const wasOpen = ({ begun, ended }: Call) => broken !== undefined && begun <= (hit ?? broken) && ended >= broken
  const [gets, repeatable, calls, posts] = [load.gets, load.repeatable, load.calls, load.posts].map((one) =>
    one.of(begun),
  )
  const counted = (all: readonly Call[] = [], isOnce = false): Counted => ({
    ...{ made: all.length, failed: all.filter(isWrong).length },
    ...(isOnce && broken !== undefined ? { inFlight: all.filter(wasOpen).length } : {}),
  })
  const again = [...(gets ?? []), ...(repeatable ?? [])]
  const slow = again.filter((one) => one.begun < (mended ?? Infinity) && one.ended - one.begun > slowMs)
  const row: Row = {
    scenario: scenario.name,
    ...{
      gets: counted(gets),
      repeatable: counted(repeatable),
      calls: counted(calls, true),
      posts: counted(posts, true),
    },
    doubled,
    slowestMs: [Math.max(0, ...again.map((one) => one.ended - one.begun))],
    steadyMs: broken === undefined ? [] : [Math.max(0, ...slow.map(({ ended }) => ended - broken))],
    backMs: [back],
    note: noteOf([...(gets ?? []), ...(repeatable ?? [])].filter(isWrong), gets ?? []),
  }
  const late = [...(calls ?? []), ...(posts ?? [])].filter(
    (one) => isWrong(one) && one.begun > (hit ?? begun) + heardMs,
  )
  const away = (gets ?? []).filter(({ cluster }) => cluster === 'far').length / Math.max(1, row.gets.made)
  return {
    row,
    faults: [
      ...(row.gets.failed > 0 ? [`${row.gets.failed} of ${row.gets.made} GETs failed: ${row.note}`] : []),
      ...(row.repeatable.failed > 0
        ? [`${row.repeatable.failed} calls of gRPC that may be repeated failed: ${row.note}`]
        : []),
      ...(doubled > 0 ? [`${doubled} orders were carried out twice`] : []),
      ...(refuses && late.length > 0
        ? [`${late.length} orders failed that were not under way: ${noteOf(late, [])}`]
        : []),
      ...(awayMax !== undefined && away > awayMax ? [`far answered ${(away * 100).toFixed(1)} % of the GETs`] : []),
    ],
  }
}

/** Who answered how many, and how the first ones failed. */
function noteOf(failed: readonly Call[], all: readonly Call[]): string {
  const by = new Map<string, number>()
  for (const { cluster, status } of all) {
    const who = `${cluster ?? 'nobody'} ${status ?? ''}`.trim()
    by.set(who, (by.get(who) ?? 0) + 1)
  }
  const how = new Set(failed.map(({ fault, status }) => fault ?? `answered ${status}`))
  return [
    ...(by.size > 0 ? [[...by].map(([who, count]) => `${who}: ${count}`).join(', ')] : []),
    ...[...how].slice(0, 3),
  ].join('; ')
}

async function untilAnsweredBy(gets: Calls, cluster: string): Promise<number> {
  const from = performance.now()
  return await eventually(backMs, `${cluster} answers all`, () => {
    const calls = gets.of(from).toSorted((a, b) => a.begun - b.begun)
    const after = calls.slice(calls.findLastIndex((one) => one.cluster !== cluster || one.status !== 200) + 1)
    return after.length >= perSecond && after[0]?.begun
  })
}

/** Nothing is left of what went wrong before: the relay of the callers has all gateways of `near` for good. */
async function untilWhole(fleet: Fleet): Promise<void> {
  await eventually(backMs, 'near is whole', async () => {
    const near = await nearAt(fleet)
    return near?.phase === 'in' && near.gatewaysDown.length === 0
  })
}

async function nearAt(fleet: Fleet) {
  const { traffic } = await fleet.cluster('home').status()
  const { clusters } = traffic as { clusters: { cluster: string; phase: string; gatewaysDown: string[] }[] }
  return clusters.find(({ cluster }) => cluster === 'near')
}

/** Over all pods and since the beginning: an order is a line that an application wrote before it answered. */
function doubledOrders(fleet: Fleet): number {
  const logs = join(fleet.dir, 'logs')
  const orders = readdirSync(logs, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.app.log'))
    .flatMap((file) => readFileSync(join(logs, file), 'utf8').match(/^order .*$/gm) ?? [])
  return orders.length - new Set(orders).size
}
