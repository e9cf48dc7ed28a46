import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { hostOf } from '#mesh/model/host.ts'
import { parseClusterName, serviceKey } from '#mesh/model/id.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { readCase } from '#mesh/translate/testdata/case.ts'
import { sharesOf, simulate } from '#mesh/translate/testdata/simulate.ts'
import { createTranslator } from '#mesh/translate/translate.ts'

const setOf = (name: string) => {
  const { view, proxy } = readCase(join(import.meta.dirname, 'testdata', name))
  return createTranslator().resourcesFor(view, proxy)
}

describe('where a call of productpage lands', () => {
  const set = setOf('caller')
  const at = '127.21.1.3:9080'
  const own = 'a ×1: 127.21.2.1:9080, 127.21.3.1:9080 DRAINING'
  const byGateway = 'b ×1: 127.22.0.2:15443, 127.22.0.3:15443'
  const details = { cluster: 'outbound|9080||details.bookinfo.svc.cluster.local', tiers: [[own], [byGateway]] }

  test.each([
    ['details'],
    ['details:9080'],
    ['details.bookinfo'],
    ['details.bookinfo.svc'],
    ['details.bookinfo.svc.cluster.local:9080'],
    ['details.bookinfo.svc.cluster.local.'],
    ['details.bookinfo.svc.clusterset.local'],
  ])('%s: own pods, then the gateway of b', (host) => {
    expect(simulate(set, { at, host })).toEqual(details)
    expect(simulate(set, { at, host, method: 'POST' })).toEqual(details)
  })

  test('a service of others: the region first, then the rest', () => {
    expect(simulate(set, { at, host: 'reviews' })).toEqual({
      cluster: 'outbound|9080||reviews.bookinfo.svc.cluster.local',
      tiers: [['b ×1: 127.22.0.2:15443, 127.22.0.3:15443'], ['c ×1: 127.23.0.2:15443']],
    })
  })

  test('a service known here only: its ready pods', () => {
    expect(simulate(set, { at, host: 'ratings' })).toEqual({
      cluster: 'outbound|9080||ratings.bookinfo.svc.cluster.local',
      tiers: [['own ×1: 127.21.4.1:9080']],
    })
  })

  test('a Host that names nothing is answered, never passed on', () => {
    expect(simulate(set, { at, host: 'example.com' })).toBe('answered 502')
    expect(simulate(set, { at: '127.21.1.3:81', host: 'reviews' })).toBe('nothing listens at 127.21.1.3:81')
  })

  test('what reaches the pod goes to its application', () => {
    expect(simulate(set, { at: '127.21.1.1:9080' })).toEqual({ cluster: 'inbound|9080||', tiers: [] })
  })
})

describe('what a name means', () => {
  const set = setOf('names')
  const call = (host: string, port = 80) => {
    const landed = simulate(set, { at: `127.21.9.3:${port}`, host })
    return typeof landed === 'string' ? landed : landed.tiers.map((tier) => tier.map((s) => s.split(' ')[0]).join('+'))
  }

  test.each([
    ['own and exported', 'joined', ['a+b'], ['a+b']],
    ['own and not exported', 'apart', ['own'], ['b']],
    ['not here', 'foreign', ['b'], ['b']],
    ['known here only', 'alone', ['own'], 'answered 502'],
    ['refused here', 'refused', 'answered 502', 'answered 502'],
    ['withdrawn here, the centre not yet', 'withdrawn', ['own'], ['b']],
  ])('%s', (_, name, clusterLocal, clusterSet) => {
    expect(call(`${name}.shop.svc.cluster.local`)).toEqual(clusterLocal)
    expect(call(`${name}.shop.svc.clusterset.local`)).toEqual(clusterSet)
  })

  test('a port that only others offer belongs to the joined service', () => {
    expect(call('newport.shop.svc.cluster.local', 81)).toEqual(['b'])
    expect(call('newport.shop.svc.cluster.local', 80)).toEqual(['a', 'b'])
  })

  test('short names mean the own namespace only', () => {
    expect(call('joined.shop')).toEqual(['a+b'])
    expect(call('joined')).toBe('answered 502')
  })
})

describe('headless services', () => {
  const set = setOf('headless')
  const call = (host: string) => {
    const landed = simulate(set, { at: '127.21.9.3:8080', host })
    return typeof landed === 'string' ? landed : landed.tiers
  }

  test.each([
    ['the plain name: own pods alone, though exported', 'db.bookinfo.svc.cluster.local', [['own ×1: 127.21.2.1:8080']]],
    ['an own pod', 'db-0.db.bookinfo.svc.cluster.local', [['own ×1: 127.21.2.1:8080']]],
    ['an own pod by its short name', 'db-0.db', [['own ×1: 127.21.2.1:8080']]],
    ['an own pod that is not ready', 'db-1.db', []],
    ['an own pod by its name in the mesh', 'db-0.a.db.bookinfo.svc.clusterset.local', [['a ×1: 127.21.2.1:8080']]],
    ['a pod behind a gateway', 'db-0.b.db.bookinfo.svc.clusterset.local', [['b ×1: 127.22.0.2:15443']]],
    ['a pod on the same network', 'db-0.c.db.bookinfo.svc.clusterset.local', [['c ×1: 127.23.1.1:8080']]],
    ['one whose address is unknown', 'db-7.c.db.bookinfo.svc.clusterset.local', [['c ×1: 127.23.0.2:15443']]],
    ['a pod that nobody named', 'db-1.c.db.bookinfo.svc.clusterset.local', 'answered 502'],
    ['a cluster that did not ask for a name', 'b.db.bookinfo.svc.clusterset.local', 'answered 502'],
  ])('%s', (_, host, tiers) => expect(call(host)).toEqual(tiers))

  test('the name of all: every exporter, in tiers', () => {
    expect(call('db.bookinfo.svc.clusterset.local')).toEqual([
      ['a ×1: 127.21.2.1:8080'],
      ['b ×1: 127.22.0.2:15443'],
      ['c ×1: 127.23.1.1:8080, 127.23.2.1:8080'],
    ])
  })

  test.each([
    ['0.0.0.0:8080', 'db.bookinfo', 'the address that was dialled, mutual TLS, by outbound|8080||'],
    ['0.0.0.0:8080', 'db-1.db.bookinfo.svc', 'the address that was dialled, mutual TLS, by outbound|8080||'],
    ['0.0.0.0:80', 'peer-0.peer.bookinfo', 'the address that was dialled, as it is, by outbound|80||'],
    ['0.0.0.0:80', 'other.example', 'the address that was dialled, as it is, by PassthroughCluster'],
    ['127.21.2.1:27017', undefined, 'the address that was dialled, mutual TLS, by outbound|27017||'],
    ['127.21.3.1:27017', undefined, 'nothing listens at'],
  ])('with redirection, at %s to %s: %s', (at, host, lands) => {
    expect(simulate(setOf('headless-redirect'), { at, ...(host ? { host } : {}) })).toContain(lands)
  })
})

test('a name of another cluster’s that is too long for an SNI makes no host: Envoy would refuse all others with it', () => {
  const { view, proxy } = readCase(join(import.meta.dirname, 'testdata/headless'))
  const [long, fits] = ['h'.repeat(63), 'f'.repeat(23)]
  const [key, cluster] = [serviceKey('n'.repeat(63), 's'.repeat(63)), parseClusterName('c'.repeat(63))]
  const imported = view.config?.imports.get(serviceKey('bookinfo', 'db'))
  const source = imported?.sources[1]
  if (!view.config || !imported || !source) throw new Error('the case imports nothing')
  const theirs = { ...imported, key, host: hostOf(key), sources: [{ ...source, cluster }], tiers: [] }
  const podNames = [long, fits].map((hostname) => ({ hostname, ready: true }))
  const set = createTranslator().resourcesFor(
    {
      ...view,
      config: { ...view.config, imports: new Map([[key, theirs]]) },
      summaries: { services: new Map([[cluster, new Map([[key, { counts: [], podNames }]])]]), gateways: new Map() },
    },
    proxy,
  )
  const names = [...(set[typeUrls.cluster]?.keys() ?? [])].join('\n')
  expect(names).toContain(`||${fits}.${cluster}.`)
  expect(names).not.toContain(long)
})

describe('a chosen cluster', () => {
  const set = setOf('per-cluster')
  const call = (cluster: string) => {
    const host = `${cluster}.reviews.bookinfo.svc.clusterset.local`
    const landed = simulate(set, { at: '127.21.9.3:9080', host })
    return typeof landed === 'string' ? landed : landed.tiers
  }

  test('is called whatever the tiers say and however it is; one that did not ask has no name', () => {
    expect(call('a')).toEqual([['a ×1: 127.21.2.1:9080']])
    expect(call('b')).toEqual([['b ×1: 127.22.0.2:15443']])
    expect(call('c')).toBe('answered 502')
  })
})

describe('streams of bytes', () => {
  const set = setOf('protocols')
  test('land by their address, and only where the proxy was given one', () => {
    expect(simulate(set, { at: '127.21.9.10:5432' })).toEqual({
      cluster: 'outbound|5432||db.shop.svc.cluster.local',
      tiers: [['b ×1: 127.22.0.2:15443']],
    })
    expect(simulate(set, { at: '127.21.9.11:5433' })).toMatchObject({
      cluster: 'outbound|5433||db.shop.svc.cluster.local',
    })
    expect(simulate(set, { at: '127.21.9.3:5432' })).toBe('nothing listens at 127.21.9.3:5432')
  })
})

describe('where each of 1,000 calls lands', () => {
  const landed = (name: string, service: string) =>
    sharesOf(setOf(name), `outbound|80||${service}.shop.svc.cluster.local`, 1000)

  test.each<[name: string, found: Readonly<Record<string, number>>, expected: Readonly<Record<string, number>>]>([
    [
      '70/30, and b has lost one of four pods that it had: its strength, not its tier',
      landed('policy', 'web'),
      { 'b 127.22.0.2:15443': 318, 'b 127.22.0.3:15443': 318, 'c 127.23.0.2:15443': 364 },
    ],
    ['a ramp at half', landed('shares', 'ramp'), { 'b 127.22.0.2:15443': 500, 'c 127.23.0.2:15443': 500 }],
    ['a drain at its end', landed('shares', 'drained'), { 'c 127.23.0.2:15443': 1000 }],
    ['a capacity', landed('shares', 'quota'), { 'b 127.22.0.2:15443': 200, 'c 127.23.0.2:15443': 800 }],
    ['half the gateways', landed('shares', 'gateways'), { 'c 127.23.0.2:15443': 700, 'b 127.22.0.2:15443': 300 }],
    ['all dead', landed('shares', 'dead'), { 'd 127.24.0.2:15443': 1000 }],
    [
      'one of three dead, with half of the pods: 70 % stay',
      landed('shares', 'mates'),
      { 'b 127.22.0.2:15443': 467, 'c 127.23.0.2:15443': 233, 'f 127.26.0.2:15443': 300 },
    ],
    ['without a policy', landed('policy', 'plain'), { 'b 127.22.0.2:15443': 500, 'b 127.22.0.3:15443': 500 }],
  ])('%s', (_, found, expected) => expect(found).toEqual(expected))

  test('and who takes nothing is still there for when nothing else is left', () => {
    const tiersOf = (service: string) => {
      const landed = simulate(setOf('shares'), { at: '127.21.9.3:80', host: service })
      return typeof landed === 'string' ? landed : landed.tiers
    }
    expect(tiersOf('drained')).toEqual([
      ['c ×1: 127.23.0.2:15443'],
      ['c ×1: 127.23.0.3:15443 UNHEALTHY', 'b ×1: 127.22.0.2:15443 UNHEALTHY'],
    ])
    expect(tiersOf('dead')).toEqual([['d ×1: 127.24.0.2:15443'], ['e ×1: 127.25.0.2:15443']])
  })

  test('a policy that says that every request may be sent twice has one route for all of them', () => {
    const set = setOf('policy')
    const to = (method: string) => simulate(set, { at: '127.21.9.3:80', host: 'web', method })
    expect(to('POST')).toEqual(to('GET'))
  })
})
