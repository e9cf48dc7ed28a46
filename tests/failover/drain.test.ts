import { afterAll, beforeAll, expect, test } from 'vitest'
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

type Drain = { readonly id: string; readonly state: string; readonly percent: number; readonly why: string }

const to = (port: 'http' | 'grpc' | 'tcp') => fleet().cluster('home').pod('caller-1').to('books', port)
let gets: Calls
let open: readonly LongLived[] = []

beforeAll(async () => {
  await eventually(30_000, 'near answers', async () => (await sayHttp(to('http'))).cluster === 'near')
  gets = startCalls(to('http'), perSecond)
}, 120_000)

afterAll(async () => {
  await gets?.stop()
  for (const one of open) one.close()
})

const drainOf = async (id: string) => (await fleet().centre.call('GET', `/v1/drains/${id}`)) as Drain
const begin = async (spec: object) => (await fleet().centre.call('POST', '/v1/drains', spec)) as Drain

async function until(id: string, state: string, ms = 90_000): Promise<Drain> {
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
  eventually(30_000, `${cluster} answers all`, () => {
    const calls = gets.of(performance.now() - 1500)
    return calls.length > perSecond / 2 && calls.every((one) => one.cluster === cluster)
  })

test('under load nothing fails, what is open is ended in time, and undrain brings it back', {
  timeout: 300_000,
}, async () => {
  open = await openLongLived({ http: to('http'), grpc: to('grpc'), tcp: to('tcp') })
  expect(open.map(({ kind, cluster }) => `${kind} ${cluster}`)).toEqual([
    'WebSocket near',
    'gRPC stream near',
    'TCP near',
  ])
  const begun = performance.now()
  const { id } = await begin({ kind: 'cluster', subject: 'near', overSeconds: 10, graceSeconds: 25 })
  const closing = await until(id, 'closing')
  await untilAnsweredBy('far')
  await eventually(60_000, 'what was open is ended', () => open.every((one) => one.ended() !== undefined))
  for (const one of open) process.stderr.write(`${one.kind} ${Math.round((one.ended() ?? 0) - begun)}\n`)
  await until(id, 'proving')
  process.stderr.write(`${closing.why}\n`)
  await fleet().centre.call('POST', `/v1/drains/${id}/undo`, {})
  await until(id, 'undone')
  await untilAnsweredBy('near')
  await gets.settled()
  const bad = gets.of(begun).filter((one) => one.fault !== undefined || one.status !== 200)
  process.stderr.write(`${gets.of(begun).length} ${JSON.stringify(bad.slice(0, 5))}\n`)
  expect(bad.length).toBe(0)
})
