import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openLatencies } from '#gateway/latencies.ts'
import { type CallTimesReader, callTimesOf } from '#gateway/proxy/call-times.ts'
import { type HostLoad, loadReports } from '#gateway/relay/load-reports.ts'
import { countOf, latencyBoundsMs } from '#mesh/model/latency.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type CaseText, caseOf } from '#mesh/translate/testdata/case.ts'
import { type Answers, callsTo, httpPort, type SharesRig, startSharesRig } from '#tests/support/shares-rig.ts'
import { eventually } from '#tests/support/until.ts'

type Imports = NonNullable<NonNullable<CaseText['config']>['imports']>
type Counted = { issued: number; ok: number; errors: number }

/** By `<Envoy cluster> <sub_zone>`: what was counted so far, and what goes on. */
const counted = new Map<string, Counted>()
let active = new Map<string, number>()
let reports = 0
const gone: string[] = []
let intervalMs = 1000
const loads = loadReports<string>({
  authenticate: async ({ certificateUris: [uri = ''] }) => {
    const [, trustDomain = '', namespace = '', serviceAccount] = /^spiffe:..(.+).ns.(.+).sa.(.+)$/.exec(uri) ?? []
    if (serviceAccount === undefined) throw new Problem('unauthenticated', 'authentication failure')
    return { trustDomain, namespace, serviceAccount }
  },
  reporterOf: ({ id }) => id,
  onReport: (_, hosts) => take(hosts),
  onGone: (id) => void gone.push(id),
  intervalMs: () => intervalMs,
  log: { warn: (facts, text) => console.error(text, facts) },
})

function take(hosts: readonly HostLoad[]): void {
  reports += 1
  active = new Map()
  for (const { name, subZone, issued, ok, errors, active: open } of hosts) {
    const key = `${name} ${subZone}`
    const before = counted.get(key) ?? { issued: 0, ok: 0, errors: 0 }
    counted.set(key, { issued: before.issued + issued, ok: before.ok + ok, errors: before.errors + errors })
    active.set(key, (active.get(key) ?? 0) + open)
  }
}

/** A report that begins after now has come. */
async function nextReports(): Promise<void> {
  const from = reports
  await eventually(30_000, 'two more load reports', () => reports >= from + 2)
}

const nameOf = (service: string, port: number) => `outbound|${port}||${service}.shop.svc.cluster.local`
const of = (service: string, cluster: string, port = httpPort): Counted =>
  counted.get(`${nameOf(service, port)} ${cluster}`) ?? { issued: 0, ok: 0, errors: 0 }
const generated = ({ by }: Answers, cluster: string): number =>
  Object.entries(by).reduce((sum, [name, count]) => sum + (name.startsWith(cluster) ? count : 0), 0)

let rig: SharesRig
const sources = ['b net-b r1 x', 'c net-c r1 x', 'd net-d r2 x']
const services: Imports = {
  'shop/weighted': { ports: [`http ${httpPort} http`], sources, tiers: [{ b: 70, c: 30 }, { d: 1 }], policy: {} },
  'shop/moved': { ports: [`http ${httpPort} http`], sources, tiers: [{ b: 1 }, { c: 1 }], policy: {} },
  'shop/timed': { ports: [`http ${httpPort} http`], sources, tiers: [{ b: 1 }, { c: 1 }], policy: {} },
  'shop/db': { ports: ['tcp 7000 tcp'], sources, tiers: [{ b: 1 }, { c: 1 }] },
}

function state(moved: string): Pick<CaseText, 'config' | 'summaries' | 'traffic'> {
  const ready = Object.fromEntries(
    Object.entries(services).map(([key, { ports }]) => [
      key,
      { counts: [`${String(ports[0]).split(' ')[1]} r1/ 2/2`] },
    ]),
  )
  const at = (name: string) => ({ gateways: [rig.farEnds[name]?.address ?? ''], services: ready })
  return {
    config: { members: ['a', 'b', 'c', 'd'], imports: services },
    summaries: { b: at('b1'), c: at('c1'), d: at('d1') },
    traffic: { services: { 'shop/moved': { b: moved } } },
  }
}

beforeAll(async () => {
  rig = await startSharesRig(['b1', 'c1', 'd1'], loads.methods)
  await rig.say(state('100 probe'))
  // Envoy counts a cluster from the first report that it is part of.
  await nextReports()
})
afterAll(() => rig?.stop())

describe('a real Envoy tells what it sent where', () => {
  test('counts equal those of who called, by the cluster that answered', async () => {
    const answers = await callsTo(rig, 'weighted', { calls: 1000 })
    expect(answers.faults).toEqual([])
    await eventually(20_000, 'all calls are reported', () => of('weighted', 'b').ok + of('weighted', 'c').ok >= 1000)
    await nextReports()
    for (const cluster of ['b', 'c', 'd']) {
      const { issued, ok, errors } = of('weighted', cluster)
      expect([cluster, ok]).toEqual([cluster, generated(answers, cluster)])
      // What was sent a second time, because the machine stood still, was issued twice.
      expect(issued).toBe(ok + errors)
    }
  })

  test('a cluster that goes last keeps being counted: nothing of it is lost, in whatever priority it stands', async () => {
    const before = await callsTo(rig, 'moved', { calls: 200 })
    await rig.say(state('0 drain'))
    const after = await callsTo(rig, 'moved', { calls: 200 })
    await eventually(20_000, 'all calls are reported', () => of('moved', 'b').ok + of('moved', 'c').ok >= 400)
    for (const cluster of ['b', 'c'])
      expect(of('moved', cluster).ok).toBe(generated(before, cluster) + generated(after, cluster))
    expect(of('moved', 'b').ok).toBeGreaterThanOrEqual(200)
    expect(of('moved', 'c').ok).toBeGreaterThan(0)
  })

  test('open streams are what is in progress, until they end', async () => {
    const [host = '', port = ''] = rig.at.tcp.split(':')
    const sockets = await Promise.all(
      Array.from(
        { length: 3 },
        () =>
          new Promise<Socket>((resolve, reject) => {
            const socket = connect(Number(port), host, () => resolve(socket)).on('error', reject)
            socket.write('hello')
          }),
      ),
    )
    const open = () => active.get(`${nameOf('db', 7000)} b`) ?? 0
    await eventually(20_000, 'three open streams', () => open() === 3)
    expect(of('db', 'b', 7000).issued).toBeGreaterThanOrEqual(3)
    for (const socket of sockets) socket.destroy()
    await eventually(20_000, 'no open stream', () => open() === 0)
  })

  test('how long calls took: each in its bucket, and told once', async () => {
    let now = 0
    const reader = () => callTimesOf({ text: (_, path) => rig.admin(path) }, () => now)
    const timed = async (times: CallTimesReader) =>
      (await times.read()).find(({ cluster }) => cluster === nameOf('timed', httpPort))?.counts ?? []
    const took: number[] = []
    const seen = (_: string, sentAt: number) => void took.push(performance.now() - sentAt)
    const quick = await callsTo(rig, 'timed', { calls: 100, atOnce: 4, seen })
    const slow = await callsTo(rig, 'timed', { calls: 10, slow: true, seen })
    expect([quick.faults, slow.faults]).toEqual([[], []])
    await eventually(15_000, 'Envoy has counted all', async () => countOf(await timed(reader())) >= 110)
    const times = reader()
    const counts = await timed(times)
    // Of what was sent a second time, because the machine stood still, both tries count.
    const over = (ms: number) => countOf(counts.filter((_, n) => (latencyBoundsMs[n] ?? 0) > ms))
    expect(over(700)).toBeGreaterThanOrEqual(10)
    // Envoy waited no longer than who called it; its own bins are so exact that a twentieth is lost.
    for (const [n, bound] of latencyBoundsMs.entries())
      expect(countOf(counts.slice(0, n + 1))).toBeGreaterThanOrEqual(took.filter((ms) => ms < bound * 0.95).length)
    const view = caseOf({
      cluster: 'a',
      region: 'r1',
      ...state('100 probe'),
      proxy: { id: 'sidecar~127.0.0.1~web-1.shop~shop.svc.cluster.local', account: 'web', metadata: {} },
    })
    const latencies = openLatencies(() => view.view.config)
    latencies.take([{ cluster: nameOf('timed', httpPort), counts }])
    const [latency] = latencies.list()
    const middle = took.toSorted((a, b) => a - b)[Math.ceil(took.length / 2) - 1] ?? 0
    expect(latency).toMatchObject({ service: 'shop/timed', count: countOf(counts) })
    expect(latency?.p50Ms).toBeLessThanOrEqual(latencyBoundsMs.find((bound) => bound * 0.95 > middle) ?? 0)
    expect(latency?.p99Ms).toBeGreaterThan(700)
    times.told()
    now += 30_000
    expect(await timed(times)).toEqual([])
  })

  test('another interval is taken up on the open stream; a proxy that ends is gone', async () => {
    intervalMs = 200
    loads.retime()
    await eventually(
      20_000,
      'Envoy has heard of it',
      async () => ((await rig.stats('load_reporter')).get('load_reporter.requests') ?? 0) >= 2,
    )
    await nextReports()
    expect(loads.streams()).toBe(1)
    await rig.stop()
    await eventually(20_000, 'its end', () => gone.length > 0 && loads.streams() === 0)
  })
})
