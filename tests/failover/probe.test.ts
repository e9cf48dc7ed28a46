import { beforeAll, expect, test } from 'vitest'
import { startCalls } from '#tests/support/failover-load.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { httpCall, sayHttp } from '#tests/support/protocol-client.ts'
import { appPorts } from '#tests/support/protocols.ts'
import { eventually } from '#tests/support/until.ts'

// `npm run test:failover`: an application that says it is not well, behind a gateway and a proxy that are, is left by its
// callers, by no failed call, and is called again when it says it is well.

const ports = ['http'] as const
const books = { app: 'books', ports } as const
const fleet = useFleet({
  home: { pods: { 'caller-1': { app: 'caller', ports } }, exports: { caller: '*' } },
  near: { pods: { 'near-1': books }, exports: { books: '*' } },
  far: { region: 'us-east-1', pods: { 'far-1': books }, exports: { books: '*' } },
})

const to = () => fleet().cluster('home').pod('caller-1').to('books', 'http')
const healthz = (status: number) =>
  httpCall(
    { address: fleet().cluster('near').pod('near-1').application, port: appPorts.http, host: 'app' },
    `/answer?status=${status}&part=1&path=/healthz`,
  )

type Sight = { readonly service: string; readonly cluster: string; readonly phase: string; readonly evidence: object }
type Below = { readonly service: string; readonly why: string; readonly servedBy: readonly string[] }
async function traffic() {
  const { traffic: now } = await fleet().cluster('home').status()
  return now as { readonly services: readonly Sight[]; readonly below: readonly Below[] }
}
const probed = async (result: string): Promise<number> => {
  const counts = await fleet().cluster('home').metrics('isthmus_relay_service_probes_total')
  return counts.get(`isthmus_relay_service_probes_total{cluster="near",result="${result}"}`) ?? 0
}

beforeAll(async () => {
  await fleet().centre.call('PUT', '/v1/global-traffic-policies/shop/books', {
    services: { names: ['books'] },
    probe: { kind: 'http', path: '/healthz', everySeconds: 1 },
    failback: { holdSeconds: 2, rampSeconds: 3 },
  })
  await eventually(200_000, 'near answers', async () => (await sayHttp(to())).cluster === 'near')
  await eventually(60_000, 'its probe is answered through gateway and proxy', async () => (await probed('ok')) > 2)
}, 300_000)

test('callers leave a service whose probe says 503, and return when it is well: no call fails', {
  timeout: 300_000,
}, async () => {
  const calls = startCalls(to(), 100)
  const answeredBy = (cluster: string) =>
    eventually(120_000, `${cluster} answers all`, () => {
      const last = calls.of(performance.now() - 1000)
      return last.length > 50 && last.every((one) => one.cluster === cluster)
    })
  try {
    await answeredBy('near')
    await healthz(503)
    await answeredBy('far')
    const { services, below } = await traffic()
    expect(services).toMatchObject([
      { service: 'shop/books', cluster: 'near', phase: 'out', evidence: { probe: 'GET /healthz', said: '503' } },
    ])
    expect(below).toMatchObject([{ service: 'shop/books', why: 'probe', servedBy: ['far'] }])
    const { conditions } = (await fleet().cluster('home').status()) as { conditions: { message: string }[] }
    expect(conditions.map(({ message }) => message).join()).toContain('probe GET /healthz: 503, ')
    await healthz(200)
    await answeredBy('near')
    await eventually(60_000, 'it is whole', async () => (await traffic()).services.length === 0)
    await calls.settled()
    expect(calls.of(0).filter(({ status }) => status !== 200)).toEqual([])
  } finally {
    await calls.stop()
  }
})
