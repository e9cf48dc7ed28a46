import { expect, test } from 'vitest'
import { servedConfig, servedEndpoints } from '#gateway/status/served.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { caseOf } from '#mesh/translate/testdata/case.ts'

const count = (zone: string, ready: number) => ({ port: 9080, region: 'r1', zone, ready, total: 3 })
const told = new Map<string, Json>([
  ['cluster', { network: 'n', region: 'r1', relayVersion: '0', meshSync: 'mesh-sync/1.1' }],
  ['export/shop/web', {}],
  ['summary/shop/web', { counts: [count('b', 1), count('a', 2)] }],
])

test('own endpoints are those that are told, the others those that were heard; a stale echo of the own ones is left out', () => {
  const services = new Map([
    ['east', new Map([['shop/web', { counts: [count('a', 0)] }]])],
    ['west', new Map([['shop/web', { counts: [count('a', 9)] }]])],
  ])
  const served = servedEndpoints('west', told, { services, gateways: new Map() })
  expect(served.map(({ id, ready }) => [id, ready])).toEqual([
    ['shop/web/east/9080/r1/a', 0],
    ['shop/web/west/9080/r1/a', 2],
    ['shop/web/west/9080/r1/b', 1],
  ])
  expect(served[0]).toEqual({ id: served[0]?.id, namespace: 'shop', name: 'web', cluster: 'east', ...count('a', 0) })
})

test('a config is shown entry by entry with its revision; before the first there is nothing to show, which is said', () => {
  const { view } = caseOf({
    ...{ cluster: 'west', region: 'r1' },
    config: { members: ['west', 'east'], exports: { 'shop/web': { ports: ['http 9080 http'], consumers: ['east'] } } },
    proxy: { id: 'router~~x.x~x', account: '', metadata: {} },
  })
  const shown = servedConfig(view, 41)
  expect(shown).toMatchObject({ cluster: 'west', revision: 41, id: 'west@41' })
  expect(Object.keys((shown as { entries: object }).entries)).toEqual(['self', 'trust', 'export/shop/web'])
  const { config: _, ...none } = view
  expect(servedConfig(none, undefined)).toEqual({ cluster: 'west' })
})
