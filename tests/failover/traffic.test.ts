import { beforeAll, expect, test } from 'vitest'
import { startCalls } from '#tests/support/failover-load.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { sayHttp } from '#tests/support/protocol-client.ts'
import { eventually } from '#tests/support/until.ts'

// `npm run test:failover`: what proxies measure of real calls is what the centre shows, beside what was meant.

const ports = ['http', 'tcp'] as const
const books = { app: 'books', ports } as const
const fleet = useFleet({
  home: { pods: { 'caller-1': { app: 'caller', ports } }, exports: { caller: '*' } },
  near: { pods: { 'near-1': books }, exports: { books: '*' } },
  far: { region: 'us-east-1', pods: { 'far-1': books }, exports: { books: '*' } },
})

type Row = {
  readonly caller: string
  readonly callee: string
  readonly service: string
  readonly intended: number | null
  readonly measured: number | null
  readonly requestsPerSecond: number | null
  readonly proxies: { readonly measured: number; readonly notMeasured: number } | null
}

const to = () => fleet().cluster('home').pod('caller-1').to('books', 'http')
const rows = async () =>
  ((await fleet().centre.call('GET', '/v1/traffic?limit=500')) as { items: Row[] }).items.filter(
    ({ caller, service }) => caller === 'home' && service.endsWith('/books'),
  )

beforeAll(async () => {
  await eventually(200_000, 'books answers', async () => (await sayHttp(to())).cluster !== '')
}, 300_000)

test('70/30 is intended and measured, by what proxies report', { timeout: 300_000 }, async () => {
  await fleet().centre.call('PUT', '/v1/global-traffic-policies/shop/books', {
    services: { names: ['books'] },
    tiers: [
      {
        targets: [
          { cluster: 'near', weight: 70 },
          { cluster: 'far', weight: 30 },
        ],
      },
    ],
  })
  const calls = startCalls(to(), 200)
  try {
    const seen = await eventually(120_000, 'a window in which shares are as they are meant', async () => {
      const all = await rows()
      const isAsMeant = ({ intended, measured }: Row) =>
        intended !== null && measured !== null && Math.abs(intended - measured) < 0.02
      const [near] = all.filter(({ callee }) => callee === 'near')
      return near?.intended === 0.7 && all.length === 2 && all.every(isAsMeant) && all
    })
    expect(seen.map(({ proxies }) => proxies?.notMeasured)).toEqual([0, 0])
    for (const { callee, intended, measured, requestsPerSecond } of seen)
      process.stderr.write(`${callee}: intended ${intended}, measured ${measured}, ${requestsPerSecond} a second\n`)
  } finally {
    await calls.stop()
  }
})
