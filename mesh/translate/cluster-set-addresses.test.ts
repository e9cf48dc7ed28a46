import { fromBinary } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { RouteConfigurationSchema } from '#gen/envoy/config/route/v3/route_pb.js'
import { meantBy } from '#mesh/foresee/meant-name.ts'
import { serviceKey } from '#mesh/model/id.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import type { View } from '#mesh/model/view.ts'
import { createMemo } from '#mesh/translate/memo.ts'
import { sidecar } from '#mesh/translate/sidecar.ts'
import { caseOf } from '#mesh/translate/testdata/case.ts'

const [web, db] = [serviceKey('shop', 'web'), serviceKey('shop', 'db')]
const { view, proxy } = caseOf({
  ...{ cluster: 'a', region: 'r1', network: 'n1', services: {}, pods: {}, exports: [] },
  config: {
    members: ['a', 'b'],
    imports: {
      'shop/web': { ports: ['http 80 http', 'sql 5432 tcp'], sources: ['b n2 r1 web'], tiers: [{ b: 1 }] },
      'shop/db': { ports: ['sql 5432 tcp'], sources: ['b n2 r1 db'], tiers: [{ b: 1 }] },
    },
  },
  proxy: { id: 'sidecar~10.0.0.1~x.shop~shop.svc.cluster.local', account: 'x', metadata: {} },
})
const podNames = [{ hostname: 'db-0', ready: true }]
const addressed: View = {
  ...view,
  summaries: { ...view.summaries, services: new Map([['b', new Map([[db, { counts: [], podNames }]])]]) },
  clusterSet: new Map([
    [web, { ip: '241.0.0.1', parts: {} }],
    [db, { parts: { 'db-0.b': '241.0.0.2' } }],
  ]),
}
const listeners = (of: View): string[] =>
  [...(sidecar(proxy, createMemo())(of)[typeUrls.listener]?.keys() ?? [])]
    .filter((name) => name.endsWith('_5432'))
    .sort()

test('a stream to a service, and to one far pod, has a listener at the address that is kept for it', () => {
  expect(listeners(view)).toEqual([])
  expect(listeners(addressed)).toEqual(['241.0.0.1_5432', '241.0.0.2_5432'])
})

test('a call by address means what the name means', () => {
  const route = sidecar(proxy, createMemo())(addressed)[typeUrls.route]?.get('80')
  if (!route) throw new Error('no route')
  const { virtualHosts } = fromBinary(RouteConfigurationSchema, route.bytes)
  expect(virtualHosts[0]?.domains).toEqual(expect.arrayContaining(['241.0.0.1', 'web.shop.svc.clusterset.local']))
  expect(meantBy('241.0.0.1', 'shop', addressed)).toEqual({ key: web, name: 'web.shop.svc.clusterset.local' })
  expect(meantBy('241.0.0.2', 'shop', addressed)).toMatchObject({ key: db, cluster: 'b', hostname: 'db-0' })
  expect(meantBy('241.0.0.3', 'shop', addressed)).toContain('the address of no Service')
})
