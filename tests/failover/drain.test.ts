import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Calls, startCalls } from '#tests/support/failover-load.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { type LongLived, openLongLived } from '#tests/support/long-lived.ts'
import { sayHttp } from '#tests/support/protocol-client.ts'
import { eventually } from '#tests/support/until.ts'

// `npm run test:failover`: a cluster is led out of traffic under load, and back.

const perSecond = 200
const ports = ['http', 'http2', 'grpc', 'tcp'] as const
const books = { app: 'books', ports } as const
const fleet = useFleet({
  home: { pods: { 'caller-1': { app: 'caller', ports } }, exports: { caller: '*' } },
  near: { gateways: 2, pods: { 'near-1': books, 'near-2': books }, exports: { books: '*' } },
  far: { region: 'us-east-1', pods: { 'far-1': books }, exports: { books: '*' } },
})

type Drain = {
  readonly id: string
  readonly state: string
  readonly percent: number
  readonly why: string
  readonly proof: string
}

const to = (port: 'http' | 'grpc' | 'tcp') => fleet().cluster('home').pod('caller-1').to('books', port)
let gets: Calls
let open: readonly LongLived[] = []

beforeAll(async () => {
  await eventually(30_000, 'near answers', async () => (await sayHttp(to('http'))).cluster === 'near')
  gets = startCalls(to('http'), perSecond)
}, 120_000)

// What a test that failed left behind is none of the next one's business.
beforeEach(async () => {
  const { items } = (await fleet().centre.call('GET', '/v1/drains')) as { items: readonly Drain[] }
  for (const { id, state } of items) if (state !== 'undone') await undone(id)
}, 300_000)

afterAll(async () => {
  await gets?.stop()
  for (const one of open) one.close()
})

const drainOf = async (id: string) => (await fleet().centre.call('GET', `/v1/drains/${id}`)) as Drain
const begin = async (spec: object) => (await fleet().centre.call('POST', '/v1/drains', spec)) as Drain

async function until(id: string, state: string, ms = 240_000): Promise<Drain> {
  let last = ''
  return eventually(ms, `the drain is ${state}`, async () => {
    const drain = await drainOf(id)
    const line = `${Math.round(performance.now())} ${drain.state} ${drain.percent} ${drain.why}`
    if (line.slice(6) !== last.slice(6)) process.stderr.write(`${line}\n`)
    last = line
    return drain.state === state && drain
  })
}

/** All calls of the last second went to this cluster. */
const untilAnsweredBy = (cluster: string) =>
  eventually(120_000, `${cluster} answers all`, () => {
    const calls = gets.of(performance.now() - 1500)
    return calls.length > perSecond / 2 && calls.every((one) => one.cluster === cluster)
  })

const failedSince = (since: number): readonly object[] =>
  gets.of(since).filter((one) => one.fault !== undefined || one.status !== 200)

async function undone(id: string): Promise<void> {
  // A machine that is busy with others may let it wait; the same again changes nothing.
  await eventually(60_000, 'it is being undone', () => fleet().centre.call('POST', `/v1/drains/${id}/undo`, {}))
  await until(id, 'undone')
  await untilAnsweredBy('near')
}

/** The gateway lets live for 20 s what is open on a chain that is gone; the rest of the grace period comes before. */
const graceSeconds = 25

test('under load nothing fails, what is open ends in time, zero is proved, and it comes back', {
  timeout: 900_000,
}, async () => {
  open = await openLongLived({ http: to('http'), grpc: to('grpc'), tcp: to('tcp') })
  expect(open.map(({ kind, cluster }) => `${kind} ${cluster}`)).toEqual([
    'WebSocket near',
    'gRPC stream near',
    'TCP near',
  ])
  const begun = performance.now()
  const { id } = await begin({ kind: 'cluster', subject: 'near', overSeconds: 10, graceSeconds })
  await expect(begin({ kind: 'cluster', subject: 'far' })).rejects.toThrow(/409 .*near is drained too/)
  await until(id, 'closing')
  expect(open.filter((one) => one.ended() !== undefined)).toEqual([])
  await untilAnsweredBy('far')
  const done = await until(id, 'done')
  expect(open.filter((one) => one.ended() === undefined)).toEqual([])
  expect(done.proof).toMatch(/^0 calls and 0 open connections of 1 service from far, home and at its gateways/)
  await undone(id)
  await gets.settled()
  expect(failedSince(begun)).toEqual([])
})

test('a relay and the centre that are killed in the middle of it change nothing', { timeout: 900_000 }, async () => {
  const begun = performance.now()
  const { id } = await begin({ kind: 'cluster', subject: 'near', overSeconds: 10, graceSeconds: 20 })
  const at = (percent: number) =>
    eventually(240_000, `it is at ${percent} %`, async () => (await drainOf(id)).percent <= percent)
  await at(75)
  await fleet().cluster('home').killRelay()
  await at(50)
  await fleet().cluster('home').startRelay()
  await at(25)
  await fleet().centre.kill()
  await fleet().centre.start()
  await until(id, 'done')
  await untilAnsweredBy('far')
  await undone(id)
  await gets.settled()
  expect(failedSince(begun)).toEqual([])
})

test('one of two gateways, and one service alone', { timeout: 900_000 }, async () => {
  const begun = performance.now()
  const [first, second] = fleet()
    .cluster('near')
    .gatewayAddresses.map((address) => `near/${address}:15443`)
  const gateway = await begin({ kind: 'gateway', subject: first, graceSeconds: 0 })
  await expect(begin({ kind: 'gateway', subject: second })).rejects.toThrow(/409 .*no other gateway of near/)
  await until(gateway.id, 'done')
  await untilAnsweredBy('near')
  await undone(gateway.id)
  const service = await begin({ kind: 'service', subject: 'near/shop/books', overSeconds: 5, graceSeconds: 0 })
  await until(service.id, 'done')
  await untilAnsweredBy('far')
  await undone(service.id)
  await gets.settled()
  expect(failedSince(begun)).toEqual([])
})
