import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json } from '#mesh/model/canonical.ts'
import { differencesOf } from '#mesh/model/differences.ts'

describe('what differs is told where it differs', () => {
  test.each<[string, Json | undefined, Json | undefined, unknown[]]>([
    ['nothing', { a: [1, { b: null }] }, { a: [1, { b: null }] }, []],
    ['a value', { a: { b: 1 } }, { a: { b: 2 } }, [{ path: 'a.b', before: 1, after: 2 }]],
    [
      'what came and what went',
      { a: 1 },
      { b: 2 },
      [
        { path: 'a', before: 1 },
        { path: 'b', after: 2 },
      ],
    ],
    [
      'a list of values is one value',
      { a: ['x'] },
      { a: ['x', 'y'] },
      [{ path: 'a', before: ['x'], after: ['x', 'y'] }],
    ],
    ['another shape', { a: { b: 1 } }, { a: [1] }, [{ path: 'a', before: { b: 1 }, after: [1] }]],
    [
      'a member that is put in between is the only one',
      [{ cluster: 'a' }, { cluster: 'c', weight: 1 }],
      [{ cluster: 'a' }, { cluster: 'b' }, { cluster: 'c', weight: 2 }],
      [
        { path: '[c].weight', before: 1, after: 2 },
        { path: '[b]', after: { cluster: 'b' } },
      ],
    ],
    [
      'members that changed places',
      { tiers: [{ name: 'a' }, { name: 'b' }] },
      { tiers: [{ name: 'b' }, { name: 'a' }] },
      [{ path: 'tiers (order)', before: ['a', 'b'], after: ['b', 'a'] }],
    ],
    [
      'two of one name are told by place',
      [{ name: 'a' }, { name: 'a', n: 1 }],
      [{ name: 'a' }, { name: 'a', n: 2 }],
      [{ path: '[1].n', before: 1, after: 2 }],
    ],
    ['there was nothing before', undefined, { a: 1 }, [{ path: '', after: { a: 1 } }]],
  ])('%s', (_, before, after, expected) => {
    expect(differencesOf(before, after)).toEqual(expected)
  })

  test('none exactly where two values are equal', () => {
    const value = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>
    fc.assert(
      fc.property(value, value, (a, b) => {
        // JSON has no −0.
        const [one, two] = [JSON.stringify(a), JSON.stringify(b)]
        expect(differencesOf(JSON.parse(one), JSON.parse(one))).toEqual([])
        const isEqual = fc.stringify(JSON.parse(one)) === fc.stringify(JSON.parse(two))
        if (!isEqual && !sameButOrder(JSON.parse(one), JSON.parse(two)))
          expect(differencesOf(JSON.parse(one), JSON.parse(two))).not.toEqual([])
      }),
    )
  })
})

const sameButOrder = (a: Json, b: Json): boolean => sorted(a) === sorted(b)
const sorted = (value: Json): string =>
  JSON.stringify(value, (_, one: Json) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([x], [y]) => (x < y ? -1 : 1)))
      : one,
  )
