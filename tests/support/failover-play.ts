import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Calls, startCalls, startGrpcCalls } from '#tests/support/failover-load.ts'
import { type Load, type Played, rowSince, type Scenario } from '#tests/support/failover-row.ts'
import type { Fleet } from '#tests/support/fleet.ts'
import { sayGrpc, sayHttp } from '#tests/support/protocol-client.ts'
import { eventually } from '#tests/support/until.ts'

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

const perSecond = 200
const ordersPerSecond = 20
const backMs = 150_000
const outMs = 60_000
/** After which any machine is steady again; before a relay takes a gateway that answers nothing for dead. */
const steadyMs = 4000
const triesMax = 3
/** Longer than this, and far proxies seem dead that are not. */
const stillMsMax = 1000
/** What starts is busy with itself at first. */
const startedMs = 3000

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
  await pause(startedMs)
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

async function play(fleet: Fleet, load: Load, scenario: Scenario): Promise<readonly Played[]> {
  const found: (readonly Played[])[] = []
  for (let left = scenario.times ?? 1; left > 0; left--)
    found.push(await playInPeace(fleet, load, scenario, found.length > 0))
  return found.flat()
}

/** What is seen while the machine stands still says nothing: it is played again. */
async function playInPeace(fleet: Fleet, load: Load, scenario: Scenario, isAgain: boolean): Promise<readonly Played[]> {
  for (let left = triesMax; ; left--) {
    const played = await playOnce(fleet, load, scenario, isAgain)
    if (left <= 1 || played.every(({ row }) => row.stillMs < stillMsMax)) return played
    process.stderr.write(`played again, because the machine stood still: ${scenario.name}\n`)
  }
}

/** How long this process stood still at most: what a busy machine did, and nothing that was tested. */
function watchStill(): { readonly longestMs: () => number } {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }, 20).unref()
  return {
    longestMs: () => {
      clearInterval(timer)
      return longest
    },
  }
}

async function playOnce(fleet: Fleet, load: Load, scenario: Scenario, isAgain: boolean): Promise<readonly Played[]> {
  const { gets } = load
  await untilWhole(fleet)
  await untilAnsweredBy(gets, 'near')
  const before = doubledOrders(fleet)
  const begun = performance.now()
  const still = watchStill()
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
  const all = {
    ...{ load, scenario, doubled: doubledOrders(fleet) - before },
    ...{ back: Math.max(0, back - mended), stillMs: still.longestMs() },
  }
  const row = rowSince(begun, { ...all, broken: { from: broken, to: hit, mended } })
  if (scenario.mending === undefined) return [row]
  return [row, rowSince(mended, { ...all, doubled: 0, scenario: { ...scenario, name: scenario.mending } })]
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
