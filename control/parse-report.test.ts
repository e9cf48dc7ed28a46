import { expect, test } from 'vitest'
import { parseReport } from '#control/parse-report.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import { serviceKey } from '#mesh/model/id.ts'
import { exported, gateways, summary } from '#tests/support/stores.ts'

const web = serviceKey('shop', 'web')
const item = (key: string, value: unknown) => ({ key, body: JSON.stringify(value) })
const good = [
  item('gateways', gateways),
  item('export/shop/web', exported({ consumers: ['b', 'group/prod', 'No Name'] })),
  item('summary/shop/web', summary(2, true)),
  item('refuse/shop/other', {}),
]

test('whatever stands in a list of consumers stays there: who is a member is asked later', () => {
  expect(parseReport(good).exports.get(web)?.consumers).toEqual(['b', 'group/prod', 'No Name'])
})

test.each([
  ['no JSON', { key: 'export/shop/old', body: '{' }, 'export/shop/old'],
  ['another shape', item('export/shop/old', { ports: 7 }), 'ports'],
  ['a summary of another shape', item('summary/shop/old', { counts: [{ port: -1 }] }), 'counts.0'],
  ['gateways of another shape', item('gateways', { gateways: 'x' }), 'gateways'],
])('%s: set aside with its reason, the rest stands', (_name, bad, says) => {
  const { setAside, ...rest } = parseReport([bad, ...good])
  const { setAside: none, ...expected } = parseReport(good)
  expect(canonicalJson(`${setAside[0]?.key} ${setAside[0]?.reason}`)).toContain(says)
  expect([setAside.length, none]).toEqual([1, []])
  expect(rest).toEqual(expected)
})

test('a key of no known shape, an item without a body and a kind not asked for are no faults', () => {
  const others = [item('export/shop/web-', exported()), item('weather', {}), { key: 'export/shop/refused', body: '' }]
  expect(parseReport([...others, item('gateways', 7)], ['export'])).toMatchObject({ setAside: [], gateways: [] })
  expect(parseReport(others).exports.size).toBe(0)
})
