import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, type Calls, startCalls } from '#tests/support/failover-load.ts'
import { type Row, slowMs, tableOf } from '#tests/support/failover-table.ts'
import { useFleet } from '#tests/support/fleet.ts'
import type { FleetPod } from '#tests/support/fleet-pod.ts'
import { httpCall, sayHttp } from '#tests/support/protocol-client.ts'
import { appPorts } from '#tests/support/protocols.ts'
import { eventually } from '#tests/support/until.ts'

// `npm run test:failover`: what those who call notice while things die, as a table. The callers of `home` are answered by
// `near`, which is in their region, and by `far` when it cannot. The only thing anybody wrote is how fast to come back.

const perSecond = 200
const ordersPerSecond = 20
/** A bar for any machine; what a quiet one takes stands in the table. */
const stallMs = 6000
const backMs = 150_000

const ports = ['http'] as const
const books = { app: 'books', ports } as const
const fleet = useFleet({
  home: { pods: { 'caller-1': { app: 'caller', ports } }, exports: { caller: '*' } },
  near: { gateways: 2, pods: { 'near-1': books, 'near-2': books }, exports: { books: '*' } },
  far: { region: 'us-east-1', pods: { 'far-1': books }, exports: { books: '*' } },
})
const failback = { services: { names: ['books'] }, failback: { holdSeconds: 2, rampSeconds: 5 } }

const near = () => fleet().cluster('near')
const nearPods = (): readonly FleetPod[] => ['near-1', 'near-2'].map((name) => near().pod(name))
let gets: Calls
let posts: Calls
const rows: Row[] = []

beforeAll(async () => {
  await fleet().centre.call('PUT', '/v1/global-traffic-policies/shop/books', failback)
  const target = fleet().cluster('home').pod('caller-1').to('books', 'http')
  await eventually(30_000, 'near answers', async () => (await sayHttp(target)).cluster === 'near')
  gets = startCalls(target, perSecond)
  posts = startCalls(target, ordersPerSecond, 'order')
}, 120_000)

afterAll(async () => {
  await Promise.all([gets?.stop(), posts?.stop()])
  if (rows.length === 0) return
  mkdirSync('test-output', { recursive: true })
  writeFileSync('test-output/failover.md', `${tableOf(rows)}\n`)
  process.stderr.write(`${tableOf(rows)}\n`)
})

type Scenario = {
  readonly name: string
  readonly fault: () => void | Promise<void>
  /** What is to be so before anything is mended. */
  readonly until: () => Promise<unknown>
  readonly mend: () => void | Promise<void>
  /** Statuses that are as they should be. */
  readonly right?: readonly number[]
}

const scenarios: readonly Scenario[] = [
  {
    name: 'both gateways killed',
    fault: gatewaysDown,
    until: untilOut,
    mend: gatewaysUp,
  },
  {
    name: 'both gateways hung (SIGSTOP)',
    fault: () => {
      for (const gateway of near().gateways) gateway.hang()
    },
    until: untilOut,
    mend: () => {
      for (const gateway of near().gateways) gateway.goOn()
    },
  },
  {
    name: 'one of two gateways killed',
    fault: () => near().gateway.down(),
    until: () => pause(12_000),
    mend: () => near().gateway.up(),
  },
  {
    name: 'all pods killed',
    fault: async () => void (await Promise.all(nearPods().map((pod) => pod.down()))),
    until: () => untilAnsweredBy('far'),
    mend: () => {
      for (const pod of nearPods()) pod.up()
    },
  },
  {
    name: 'all pods fail their readiness',
    fault: () => probed(false),
    until: () => untilAnsweredBy('far'),
    mend: () => probed(true),
  },
  {
    name: 'half of the answers are 503',
    fault: () => answer(503, 0.5),
    until: () => pause(8000),
    mend: () => answer(200, 0),
  },
  {
    name: 'every answer is 500: the application’s word',
    fault: () => answer(500, 1),
    until: () => pause(3000),
    mend: () => answer(200, 0),
    right: [200, 500],
  },
  {
    // The last one: the centre stays away until its end.
    name: 'centre down throughout, both gateways killed',
    fault: async () => {
      await fleet().centre.kill()
      await gatewaysDown()
    },
    until: untilOut,
    mend: gatewaysUp,
  },
]

describe('no call that may be repeated fails, and no order is carried out twice', () => {
  test.each(scenarios)('$name', { timeout: 300_000 }, async (scenario) => {
    const row = await play(scenario)
    rows.push(row)
    process.stderr.write(`${tableOf([row]).split('\n').at(-1)}\n`)
    expect(faultsOf(row)).toEqual([])
  })
})

/** What a row says that must not be. */
const faultsOf = (row: Row): string[] => [
  ...(row.failed > 0 ? [`${row.failed} of ${row.gets} GETs failed: ${row.note}`] : []),
  ...(row.doubled > 0 ? [`${row.doubled} orders were carried out twice`] : []),
  ...(row.slowestMs > stallMs ? [`a GET took ${Math.round(row.slowestMs)} ms`] : []),
]

async function play({ name, fault, until, mend, right = [200] }: Scenario): Promise<Row> {
  await untilAnsweredBy('near')
  const begun = performance.now()
  await pause(500)
  const postsInFlight = posts.open()
  const broken = performance.now()
  await fault()
  await until()
  await pause(1000)
  const mended = performance.now()
  await mend()
  const back = await untilAnsweredBy('near')
  await pause(1000)
  await Promise.all([gets.settled(), posts.settled()])
  const isWrong = ({ status, fault }: Call) => fault !== undefined || !right.includes(status ?? 0)
  const [got, posted] = [gets.of(begun), posts.of(begun)]
  const failed = got.filter(isWrong)
  const slow = got.filter((one) => one.begun < mended && one.ended - one.begun > slowMs)
  return {
    scenario: name,
    ...{ gets: got.length, failed: failed.length, posts: posted.length },
    ...{ postsFailed: posted.filter(isWrong).length, postsInFlight, doubled: doubledOrders() },
    slowestMs: Math.max(0, ...got.map((one) => one.ended - one.begun)),
    steadyMs: Math.max(0, ...slow.map(({ ended }) => ended - broken)),
    backMs: Math.max(0, back - mended),
    note: noteOf(failed, got),
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
  return [[...by].map(([who, count]) => `${who}: ${count}`).join(', '), ...[...how].slice(0, 3)].join('; ')
}

/** Resolves with the time from which on the cluster answered everything, once that is a second's worth. */
async function untilAnsweredBy(cluster: string): Promise<number> {
  const from = performance.now()
  return await eventually(backMs, `${cluster} answers all`, () => {
    const calls = gets.of(from).toSorted((a, b) => a.begun - b.begun)
    const after = calls.slice(calls.findLastIndex((one) => one.cluster !== cluster || one.status !== 200) + 1)
    return after.length >= perSecond && after[0]?.begun
  })
}

/** The relay of the callers has given its verdict on `near`. */
async function untilOut(): Promise<void> {
  await eventually(60_000, 'near is out', async () => {
    const { traffic } = await fleet().cluster('home').status()
    const { clusters } = traffic as { clusters: { cluster: string; phase: string }[] }
    return clusters.some(({ cluster, phase }) => cluster === 'near' && phase === 'out')
  })
}

async function gatewaysDown(): Promise<void> {
  await Promise.all(near().gateways.map((gateway) => gateway.down()))
}

function gatewaysUp(): void {
  for (const gateway of near().gateways) gateway.up()
}

function probed(passes: boolean): void {
  for (const pod of nearPods()) pod.probed(passes)
}

/** What the pods of `near` answer from now on, in this part of the cases. */
async function answer(status: number, part: number): Promise<void> {
  await Promise.all(
    nearPods().map(({ application }) =>
      httpCall({ address: application, port: appPorts.http, host: 'app' }, `/answer?status=${status}&part=${part}`),
    ),
  )
}

/** Over all pods and since the beginning: an order is a line that an application wrote before it answered. */
function doubledOrders(): number {
  const logs = join(fleet().dir, 'logs')
  const orders = readdirSync(logs, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.app.log'))
    .flatMap((file) => readFileSync(join(logs, file), 'utf8').match(/^order .*$/gm) ?? [])
  return orders.length - new Set(orders).size
}
