import { beforeEach, describe, expect, test } from 'vitest'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import type { AdsClient } from '#gateway/relay/server.ts'
import type { TypeStatus } from '#gateway/relay/type-status.ts'
import { allRefuse, servedBundles, type TrustSightParts, trustReport } from '#gateway/trust-sight.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { OwnCluster } from '#mesh/model/view.ts'
import { trustReportSchema } from '#mesh/wire/trust-report.ts'
import { makeControlPlaneCa, makeRoot, mesh } from '#tests/support/authorities.ts'

type State = TypeStatus['state']
let ms = 0
let seq = 2
let served = servedBundles(() => ms)
let clients: AdsClient[] = []
let ready: string[] = []
beforeEach(() => {
  ms = 0
  seq = 2
  served = servedBundles(() => ms)
  clients = []
  ready = []
})

const root = await makeRoot()
const controlPlane = await makeControlPlaneCa()
const bundle = (): TrustBundle => ({
  ...{ mesh, seq, at: 1, revoked: [], denied: [], foreign: [] },
  roots: [{ pem: root.pem, state: 'active' }],
  controlPlane: [{ pem: controlPlane.pem, state: 'active' }],
})

function connect(
  pod: string,
  secret: State | undefined,
  more: { listener?: State; route?: State; detail?: string } = {},
) {
  const proxy = {
    name: `${pod}.shop`,
    identity: { trustDomain: 'west.mesh1', namespace: 'shop', serviceAccount: 'a' },
    metadata: { ISTHMUS: {} },
  } as unknown as ConnectedProxy
  const of = (state: State | undefined) =>
    state && { state, names: 1, held: 1, setAside: [], ...(more.detail ? { nack: { detail: more.detail } } : {}) }
  const types = { secret: of(secret), listener: of(more.listener ?? 'SYNCED'), route: of(more.route ?? 'SYNCED') }
  clients.push({ proxy, types: types as unknown as AdsClient['types'] })
  return proxy
}

const digests = new Map<string, string>()
const parts = (): TrustSightParts => ({
  trustDomain: 'west.mesh1',
  trust: {
    ...{ take: () => false, bundle, fault: () => undefined, proof: () => undefined, controlPlane: () => '' },
    ...{ pin: () => ({ seq, digest: 'a'.repeat(64) }), pinned: () => [], conditions: () => [] },
    ...{ expiry: () => ({}), faultCounts: () => ({}) },
  },
  certificates: { issuing: { current: () => undefined } as never, serving: { current: () => undefined } },
  issued: {
    leaves: () => ({ old: 0, oldestNotAfter: 0 }),
    head: () => ({ seq: 0, hash: '' }),
    controlPlaneOf: (pod) => digests.get(pod),
  },
  ...{ served, clients: () => clients, cuts: () => [], now: () => ms },
  own: () =>
    ({
      pods: new Map(),
      endpoints: new Map([['shop/a', ready.map((pod) => ({ meshed: true, health: 'ready', pod: `shop/${pod}` }))]]),
    }) as unknown as OwnCluster,
})
const report = () => trustReportSchema.parse(trustReport(parts()))
const word = () => {
  const { proxies, acked, missing, missingCount } = report()
  return { proxies, acked, missing, missingCount }
}

describe('a proxy counts as acknowledged', () => {
  test('not while its stream, though in step, was last brought up to date before this bundle', () => {
    const proxy = connect('a-0', 'SYNCED')
    served.refreshed(proxy, 1)
    expect(word()).toEqual({ proxies: 1, acked: 0, missing: ['shop/a-0: not acknowledged'], missingCount: 1 })
    served.refreshed(proxy, 2)
    expect(word()).toEqual({ proxies: 1, acked: 1, missing: [], missingCount: 0 })
    seq = 3
    expect(word().acked).toBe(0)
  })

  test('not while a secret is on its way, or was refused', () => {
    served.refreshed(connect('a-0', 'STALE'), 2)
    served.refreshed(connect('b-0', 'NACK', { detail: 'bad PEM' }), 2)
    expect(word().missing).toEqual(['shop/a-0: not acknowledged', 'shop/b-0: refused: bad PEM'])
  })

  test('without any secret only once it has had time to name one', () => {
    const proxy = connect('a-0', undefined)
    served.refreshed(proxy, 2)
    expect(word().acked).toBe(0)
    ms = 5000
    expect(word().acked).toBe(1)
  })
})

test('a pod that is ready and not connected is missing: it may hold anything', () => {
  ready = ['a-0', 'b-0']
  served.refreshed(connect('a-0', 'SYNCED'), 2)
  expect(word()).toEqual({ proxies: 2, acked: 1, missing: ['shop/b-0: not connected'], missingCount: 1 })
})

test('twenty of those missing are named, all are counted', () => {
  ready = Array.from({ length: 30 }, (_, i) => `p${i}`)
  expect(word()).toMatchObject({ proxies: 30, acked: 0, missingCount: 30 })
  expect(word().missing).toHaveLength(20)
})

test('a proxy believes the whole list of control-plane CAs only when it says so', async () => {
  const { authorityDigest } = await import('#mesh/trust/authority-digest.ts')
  connect('a-0', 'SYNCED')
  connect('b-0', 'SYNCED')
  digests.set('shop/a-0', authorityDigest([controlPlane.certificate]))
  digests.set('shop/b-0', authorityDigest([root.certificate]))
  expect(report().proxyCas).toEqual({ all: 2, current: 1 })
})

test('a revocation acts when routes, secrets and listeners of every connected proxy are in step with the bundle', () => {
  const one = connect('a-0', 'SYNCED')
  expect(allRefuse(parts())).toBe(false)
  served.refreshed(one, 2)
  expect(allRefuse(parts())).toBe(true)
  served.refreshed(connect('b-0', 'SYNCED', { route: 'STALE' }), 2)
  expect(allRefuse(parts())).toBe(false)
})

test('a proof that would make the item too large is left out, the fault is said', () => {
  const told = (denied: number) => {
    const proof = {
      bundle: { ...bundle(), denied: Array(denied).fill({ id: `spiffe://a.mesh1/ns/a/sa/${'b'.repeat(60)}`, cut: 1 }) },
    }
    const fault = { reason: 'RolledBack', detail: 'x' } as const
    const trust = { ...parts().trust, proof: () => proof as never, fault: () => fault }
    const said = trustReport({ ...parts(), trust })
    return [said?.proof !== undefined, said?.fault?.reason]
  }
  expect([told(3), told(1000)]).toEqual([
    [true, 'RolledBack'],
    [false, 'RolledBack'],
  ])
})

test('before the centre named a bundle nothing is said', () => {
  const none = parts()
  expect(trustReport({ ...none, trust: { ...none.trust, bundle: () => undefined } })).toBeUndefined()
})
