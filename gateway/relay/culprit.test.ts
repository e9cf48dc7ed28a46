import { expect, test } from 'vitest'
import { culpritsOf } from '#gateway/relay/culprit.ts'
import { typeUrls } from '#mesh/model/resource.ts'

const sent = (...names: string[]) =>
  names.map((name) => ({ type: typeUrls.cluster, name, version: '1', bytes: new Uint8Array() }))
const blamed = (error: string, names: string[], giveUp = false) =>
  culpritsOf(error, sent(...names), giveUp).culprits.map((r) => r.name)

test.each([
  ['Envoy, one', 'Error adding/updating cluster(s) b: ring hash: minimum', ['a', 'b'], ['b']],
  ['Envoy, two', 'Error adding/updating cluster(s) a: no, c: no', ['a', 'b', 'c'], ['a', 'c']],
  [
    'Envoy, a listener',
    'Error adding/updating listener(s) 0.0.0.0_80: bad address',
    ['0.0.0.0_80', '0.0.0.0_8080'],
    ['0.0.0.0_80'],
  ],
  ['a longer name', 'cluster reviews-v2 is bad', ['reviews', 'reviews-v2'], ['reviews-v2']],
  ['a longer host', 'outbound|80||reviews.shop.svc: no', ['outbound|80||reviews.shop', 'reviews', 'x'], []],
  ['at the end of a sentence', 'no such certificate in a.b.', ['a.b', 'a'], ['a.b']],
  ['the only one', 'something is wrong', ['a'], ['a']],
  ['nobody', 'something is wrong', ['x', 'y'], []],
  ['nothing was sent', 'no', [], []],
])('%s', (_, error, names, culprits) => expect(blamed(error, names)).toEqual(culprits))

test('without a name the search goes on in halves', () => {
  expect(culpritsOf('no', sent('x', 'y', 'z'), false).halves).toEqual([['x', 'y'], ['z']])
})

test('a search that leads nowhere ends with all of them', () => {
  expect(blamed('no', ['x', 'y'], true)).toEqual(['x', 'y'])
})
