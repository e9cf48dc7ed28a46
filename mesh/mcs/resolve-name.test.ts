import { describe, expect, test } from 'vitest'
import { offer, port } from '#mesh/compile/testdata/fleet.ts'
import { resolveName } from '#mesh/mcs/resolve-name.ts'
import {
  addresses,
  configOfHome,
  db,
  emptyOwn,
  heard,
  service,
  summariesOf,
  viewOf,
  web,
} from '#mesh/mcs/testing/two-clusters.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { parseNetworkName } from '#mesh/model/id.ts'
import type { View } from '#mesh/model/view.ts'

const clusterSet = addresses({
  [web]: { ip: '241.0.0.1', parts: {} },
  [db]: { parts: { 'db-0.near': '241.0.0.2', 'db-0.far': '241.0.0.3' } },
})
const view: View = viewOf({ clusterSet })
const short = (name: string, type = 'A', of: View = view): unknown => {
  const said = resolveName(of, name, type)
  if (said.kind !== 'records') return said.kind
  return said.records.map((one) =>
    one.type === 'SRV' ? `${one.port} ${one.target}` : one.type === 'TXT' ? one.text : one.address,
  )
}

describe('a service', () => {
  test('has its cluster-set IP, of that family alone', () => {
    expect(short('web.shop.svc.clusterset.local')).toEqual(['241.0.0.1'])
    expect(short('web.shop.svc.clusterset.local', 'AAAA')).toBe('no data')
  })

  test('has a server record for each named port, with the address beside it', () => {
    expect(short('_http._tcp.web.shop.svc.clusterset.local', 'SRV')).toEqual(['80 web.shop.svc.clusterset.local'])
    expect(resolveName(view, '_db._tcp.web.shop.svc.clusterset.local', 'SRV')).toMatchObject({
      more: [{ type: 'A', address: '241.0.0.1', name: 'web.shop.svc.clusterset.local' }],
    })
    expect(short('_db._udp.web.shop.svc.clusterset.local', 'SRV')).toBe('no name')
    expect(short('_x._tcp.web.shop.svc.clusterset.local', 'SRV')).toBe('no name')
  })

  test('has no name for one cluster where that cluster does not ask for it', () => {
    expect(short('far.web.shop.svc.clusterset.local')).toBe('no name')
    const config = configOfHome([], { perCluster: true })
    const parts = addresses({ [web]: { ip: '241.0.0.1', parts: { near: '241.0.0.9' } } })
    expect(short('near.web.shop.svc.clusterset.local', 'A', viewOf({ config, clusterSet: parts }))).toEqual([
      '241.0.0.9',
    ])
  })

  test('that this cluster refuses does not exist here', () => {
    const own = { ...emptyOwn, refused: new Set([web]) }
    expect(short('web.shop.svc.clusterset.local', 'A', viewOf({ own, clusterSet }))).toBe('no name')
  })
})

describe('a headless service', () => {
  test('has the addresses of all ready pods, each under its own name too', () => {
    expect(short('db.shop.svc.clusterset.local')).toEqual(['241.0.0.3', '241.0.0.2'])
    expect(short('db-0.far.db.shop.svc.clusterset.local')).toEqual(['241.0.0.3'])
    expect(short('db-1.far.db.shop.svc.clusterset.local'), 'not ready').toBe('no name')
    expect(short('far.db.shop.svc.clusterset.local'), 'names are below it').toBe('no data')
  })

  test('own pods are dialled themselves, at their own ports', () => {
    const exported = offer(db, { ports: [port(5432, 'tcp', 'tcp')], headless: true })
    const pod: Endpoint = {
      ...{ address: '10.1.0.5', ports: { tcp: 15432 }, health: 'ready', hostname: 'db-9', meshed: true },
      ...{
        locality: { region: 'r1', zone: '' },
        network: parseNetworkName('net-home'),
        pod: 'shop/db-9',
        serviceAccount: 'db',
      },
    }
    const own = {
      ...emptyOwn,
      services: new Map([[db, service(db, { headless: true })]]),
      endpoints: new Map([
        [db, [pod, { ...pod, address: '10.1.0.6', health: 'not-ready' as const, hostname: 'db-8' }]],
      ]),
    }
    const of = viewOf({ own, clusterSet, config: configOfHome([exported]) })
    expect(short('db-9.home.db.shop.svc.clusterset.local', 'A', of)).toEqual(['10.1.0.5'])
    expect(short('db-8.home.db.shop.svc.clusterset.local', 'A', of)).toBe('no name')
    expect(short('_tcp._tcp.db.shop.svc.clusterset.local', 'SRV', of)).toEqual([
      '5432 db-0.far.db.shop.svc.clusterset.local',
      '15432 db-9.home.db.shop.svc.clusterset.local',
      '5432 db-0.near.db.shop.svc.clusterset.local',
    ])
  })

  test('of a cluster that was not heard nothing is said: that is no absence', () => {
    const unheard = viewOf({ clusterSet: addresses({}), summaries: summariesOf({}) })
    expect(short('db.shop.svc.clusterset.local', 'A', unheard)).toBe('unknown')
    expect(short('db-0.far.db.shop.svc.clusterset.local', 'A', unheard)).toBe('unknown')
    expect(short('_tcp._tcp.db.shop.svc.clusterset.local', 'SRV', unheard)).toBe('unknown')
  })

  test('without pods anywhere it has no name, as the specification says', () => {
    const none = summariesOf({ near: { [db]: { counts: [] } }, far: { [db]: { counts: [] } } })
    expect(short('db.shop.svc.clusterset.local', 'A', viewOf({ clusterSet, summaries: none }))).toBe('no name')
  })
})

describe('what is not known yet', () => {
  const { config: _, ...deaf } = viewOf()
  test('before the centre was heard nothing below the zone is denied', () => {
    for (const name of ['web.shop', 'nobody.nowhere', 'shop'])
      expect(short(`${name}.svc.clusterset.local`, 'A', deaf)).toBe('unknown')
    expect(short('clusterset.local', 'A', deaf)).toBe('no data')
  })

  test('a service without its address yet, and one that is offered from here and not compiled yet', () => {
    expect(short('web.shop.svc.clusterset.local', 'A', viewOf({ clusterSet: addresses({}) }))).toBe('unknown')
    const key = 'shop/new' as typeof web
    const own = { ...emptyOwn, exports: new Map([[key, { key, createdAt: 1, origin: 'x' }]]) }
    expect(short('new.shop.svc.clusterset.local', 'A', viewOf({ own, clusterSet }))).toBe('unknown')
  })
})

test('what is known not to be, and what is above names', () => {
  expect(short('nobody.shop.svc.clusterset.local')).toBe('no name')
  expect(short('web.other.svc.clusterset.local')).toBe('no name')
  expect(short('a.b.c.web.shop.svc.clusterset.local')).toBe('no name')
  expect(short('pod.clusterset.local')).toBe('no name')
  expect(short('shop.svc.clusterset.local')).toBe('no data')
  expect(short('svc.clusterset.local')).toBe('no data')
  expect(short('example.com')).toBe('not ours')
  expect(short('evilclusterset.local')).toBe('not ours')
  expect(short('dns-version.clusterset.local', 'TXT')).toEqual(['1.0.0'])
})

test('a service whose namespace this cluster does not have is not imported', () => {
  const said = (has: boolean | undefined) => resolveName(view, 'web.shop.svc.clusterset.local', 'A', () => has).kind
  expect([said(false), said(true), said(undefined)]).toEqual(['no name', 'records', 'records'])
})

test('without a range a Service that is offered here too stands in, and others have no address', () => {
  const key = web
  const own = {
    ...emptyOwn,
    services: new Map([[web, service(web)]]),
    exports: new Map([[web, { key, createdAt: 1, origin: 'x' }]]),
  }
  expect(short('web.shop.svc.clusterset.local', 'A', viewOf({ own, summaries: heard }))).toEqual(['10.96.0.9'])
  expect(short('web.shop.svc.clusterset.local', 'A', viewOf())).toBe('no data')
})
