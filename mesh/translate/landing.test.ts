import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readCase } from '#mesh/translate/testdata/case.ts'
import { simulate } from '#mesh/translate/testdata/simulate.ts'
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
