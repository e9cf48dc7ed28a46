import { describe, expect, test } from 'vitest'
import type { DrainSubject } from '#mesh/model/drain.ts'
import { type ClusterName, parseClusterName, serviceKey } from '#mesh/model/id.ts'
import type { CallLoad, GatewayLoad, Load, LoadWindow } from '#mesh/model/load.ts'
import {
  type DrainScope,
  drainBars,
  failingOf,
  type HeardLoad,
  quietOf,
  type Watched,
  watched,
} from '#mesh/policy/drain-sight.ts'

const [home, near, far] = ['home', 'near', 'far'].map(parseClusterName) as [ClusterName, ClusterName, ClusterName]
const [books, films] = [serviceKey('shop', 'books'), serviceKey('shop', 'films')]
const scopeFor = (subject: DrainSubject): DrainScope => ({
  ...{ subject, services: new Set([books]) },
  callers: new Map([
    [home, 'gateways'],
    [far, 'gateways'],
  ]),
})
const scope = scopeFor({ kind: 'cluster', cluster: near })
const since = 100_000

const row = (callee: ClusterName, counts: Partial<CallLoad> = {}): CallLoad => ({
  ...{ service: books, callee, issued: 0, ok: 0, errors: 0, active: 0, ...counts },
})
const atGateway = (counts: Partial<GatewayLoad>): GatewayLoad => ({
  ...{ address: '10.0.0.1:15443', service: books, issued: 0, active: 0, ...counts },
})
let seq = 0
const measured = { proxies: { measured: 1, notMeasured: 0 }, routers: { measured: 1, notMeasured: 0 } }
const heard = (cluster: ClusterName, window: Partial<LoadWindow> = {}, takenAt = since + 10_000): HeardLoad => {
  const { proxies = measured.proxies, routers = measured.routers } = window
  const none = { rows: [], gateways: [], windowMs: 10_000, epoch: 'e', proxies, routers }
  return { cluster, takenAt, load: loadOf({ proxies, routers, window: { ...none, takenAt, ...window } }) }
}
const loadOf = (load: Partial<Load>): Load => ({
  ...{ epoch: 'e', seq: ++seq, at: 0, adv: null, cfg: null, ...measured },
  ...{ latencies: [], shares: [], below: [], health: [], ...load },
})
/** Told between two windows: the one before stands. */
const between = (one: HeardLoad, load: Partial<Load> = {}): HeardLoad => ({
  ...{ ...one, takenAt: one.takenAt + 1000 },
  load: { ...one.load, seq: ++seq, ...load },
})

/** What is judged of these windows of each cluster, one after another. */
function judged(windows: Readonly<Record<string, readonly HeardLoad[]>>, of: DrainScope = scope) {
  const all = new Map<ClusterName, Watched>()
  const loads = new Map<ClusterName, HeardLoad>()
  for (const list of Object.values(windows))
    for (const one of list) {
      const seen = watched(all.get(one.cluster), one, of, { since, baseline: undefined })
      if (seen) all.set(one.cluster, seen)
      loads.set(one.cluster, one)
    }
  const quiet = quietOf(all, loads, of, since + 20_000)
  return { failing: failingOf(all), quiet: quiet.is === 'proved' ? quiet.proof : `not yet: ${quiet.why}` }
}

const twice = (cluster: ClusterName, window: () => Partial<LoadWindow> = () => ({})): readonly HeardLoad[] => [
  heard(cluster, window()),
  heard(cluster, window(), since + 20_000),
]

describe('zero is proved', () => {
  const all = () => ({ home: twice(home), far: twice(far), near: twice(near) })
  const waits = 'not yet: waits for 2 reports in a row without a call, of'
  test('by two windows in a row of every caller and of the gateways, however short', () => {
    expect(judged(all()).quiet).toBe(
      '0 calls and 0 open connections of 1 service from home, far and at its gateways in 2 reports of every proxy',
    )
    expect(judged({ ...all(), home: [heard(home)] }).quiet).toBe(`${waits} home`)
    const short = [3000, 6000].map((ms) => heard(home, { windowMs: 3000 }, since + ms))
    expect(judged({ ...all(), home: short }).quiet).toMatch(/^0 calls/)
  })

  const first = heard(home)
  const second = heard(home, {}, since + 20_000)
  test.each<[string, readonly HeardLoad[]]>([
    ['what was told without a window', [first, between(first), between(first)]],
    [
      'a relay that has told no window',
      [
        { ...first, load: loadOf({}) },
        { ...second, load: loadOf({}) },
      ],
    ],
    ['windows of two processes', [first, heard(home, { epoch: 'f' }, since + 20_000)]],
    ['windows with time between them that nobody counted', [first, heard(home, {}, since + 40_000)]],
    [
      'a window in which not all were measured',
      [heard(home, { proxies: { measured: 1, notMeasured: 1 } }), between(first), second],
    ],
  ])('not by %s', (_, windows) => {
    expect(judged({ ...all(), home: windows }).quiet).toBe(`${waits} home`)
  })

  test('not by gateways of which none is there: they may be on their way to a relay that has just begun', () => {
    const none = { routers: { measured: 0, notMeasured: 0 } }
    expect(judged({ ...all(), near: twice(near, () => none) }).quiet).toBe('not yet: gateways of near are not measured')
  })

  test.each<[string, Readonly<Record<string, readonly HeardLoad[]>>, string]>([
    ['a caller still calls', { home: twice(home, () => ({ rows: [row(near, { issued: 2 })] })) }, 'home (2 left)'],
    [
      'a caller holds something open',
      { far: twice(far, () => ({ rows: [row(near, { active: 1 })] })) },
      'far (1 left)',
    ],
    ['rows had no room', { far: twice(far, () => ({ rest: row(near, { issued: 7 }) })) }, 'far (7 left)'],
    [
      'a gateway lets something in',
      { near: twice(near, () => ({ gateways: [atGateway({ active: 3 })] })) },
      'near (3 left)',
    ],
    [
      ...([
        'it was quiet, and is not any more',
        { home: [...twice(home), heard(home, { rows: [row(near, { issued: 1 })] })] },
      ] as const),
      'home (1 left)',
    ],
    ['a window began before it was to be quiet', { home: [heard(home, {}, since), heard(home)] }, 'home'],
  ])('not while %s', (_, windows, who) => {
    expect(judged({ ...all(), ...windows }).quiet).toBe(`${waits} ${who}`)
  })

  test('calls to others, and to what is not drained, are nobody’s business', () => {
    const rows = [row(far, { issued: 200 }), row(near, { service: films, issued: 5 })]
    expect(judged({ ...all(), home: twice(home, () => ({ rows })) }).quiet).toMatch(/^0 calls/)
    const gateways = [atGateway({ service: films, active: 5 })]
    expect(judged({ ...all(), near: twice(near, () => ({ gateways })) }).quiet).toMatch(/^0 calls/)
  })

  test('of one gateway its own counts decide', () => {
    const one = { ...scopeFor({ kind: 'gateway', cluster: near, gateway: '10.0.0.1:15443' }), callers: new Map() }
    const of = (address: string) => {
      const gateways = [atGateway({ address, active: 1 })]
      const rows = [row(near, { issued: 400 })]
      const calls = twice(far, () => ({ rows }))
      return judged(
        { far: calls, near: twice(near, () => ({ gateways })) },
        { ...one, callers: new Map([[far, 'gateways']]) },
      ).quiet
    }
    expect(of('10.0.0.2:15443')).toMatch(/^0 calls/)
    expect(of('10.0.0.1:15443')).toMatch(/near \(1 left\)/)
  })

  test('callers that are not measured are named, and the gateways tell of them; who is not, cannot', () => {
    const blind = { proxies: { measured: 1, notMeasured: 1 } }
    expect(judged({ ...all(), far: twice(far, () => blind) }).quiet).toMatch(
      /from home and at its gateways in 2 reports of every proxy; not measured: far, of which the gateways tell$/,
    )
    expect(judged({ home: twice(home), near: twice(near) }).quiet).toMatch(/not measured: far/)
    expect(judged({ ...all(), near: [] }).quiet).toBe('not yet: the relay of near is not heard')
    const unmeasured = () => ({ routers: { measured: 1, notMeasured: 1 } })
    expect(judged({ ...all(), near: twice(near, unmeasured) }).quiet).toBe('not yet: gateways of near are not measured')
    const flat = { ...scope, callers: new Map([[far, 'pods' as const]]) }
    expect(judged({ far: twice(far, () => blind) }, flat).quiet).toMatch(
      /callers of far dial its pods past any gateway/,
    )
    expect(judged({ far: twice(far) }, flat).quiet).toMatch(/^0 calls and 0 open connections of 1 service from far in/)
  })
})

describe('callers that fail', () => {
  let at = since
  const calls = (errors: number, ok = 100 - errors) => {
    at += 10_000
    return heard(home, { rows: [row(far, { errors, ok, issued: 100 })] }, at)
  }
  test('two windows clearly worse than before it began are told; one is chance', () => {
    expect(judged({ home: [calls(1), calls(4)] }).failing).toBeUndefined()
    expect(judged({ home: [calls(1), calls(4), calls(1), calls(4)] }).failing).toBeUndefined()
    expect(judged({ home: [calls(1), calls(4), calls(5)] }).failing).toBe(
      '5 of 100 calls of home failed (5.0 %; before it began 1.0 %)',
    )
  })
  test('who failed as often before is let be; few calls say nothing', () => {
    expect(judged({ home: [calls(30), calls(31), calls(31), calls(31)] }).failing).toBeUndefined()
    expect(judged({ home: [calls(0), calls(5, 5), calls(5, 5), calls(5, 5)] }).failing).toBeUndefined()
    expect(drainBars.callsMin).toBeGreaterThan(10)
  })
})
