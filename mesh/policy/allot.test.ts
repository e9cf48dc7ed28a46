import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ClusterName, parseClusterName } from '#mesh/model/id.ts'
import { allot } from '#mesh/policy/allot.ts'

const given = (capacity: number, demands: Record<string, number>): Record<string, number> =>
  Object.fromEntries(allot(capacity, new Map(Object.entries(demands).map(([c, d]) => [parseClusterName(c), d]))))

describe('a capacity among its callers', () => {
  test.each<[string, number, Record<string, number>, Record<string, number>]>([
    ['one caller has all', 100, { a: 10 }, { a: 100 }],
    ['who wants little has it, the others the rest', 100, { a: 10, b: 80, c: 80 }, { a: 10, b: 45, c: 45 }],
    ['who wants enormously much has no more than another', 100, { a: 60, b: 1e15 }, { a: 50, b: 50 }],
    ['who is not heard has an equal part', 90, { a: 60, b: Number.POSITIVE_INFINITY, c: 60 }, { a: 30, b: 30, c: 30 }],
    ['what nobody wants is everybody’s', 100, { a: 10, b: 30 }, { a: 40, b: 60 }],
    ['nobody calls', 100, { a: 0, b: 0 }, { a: 50, b: 50 }],
    ['what is no number is none', 100, { a: Number.NaN, b: -5 }, { a: 50, b: 50 }],
    ['nothing to give', 0, { a: 10, b: 1 }, { a: 0, b: 0 }],
  ])('%s', (_, capacity, demands, expected) => {
    expect(given(capacity, demands)).toEqual(expected)
  })

  test('any demands: exactly the capacity, nobody below what he wants while another has more, and a lie gains nothing beyond an equal part', () => {
    const demand = fc.oneof(fc.double({ min: 0, max: 1e6, noNaN: true }), fc.constant(Number.POSITIVE_INFINITY))
    fc.assert(
      fc.property(
        fc.double({ min: 1, max: 1e6, noNaN: true }),
        fc.array(demand, { minLength: 1, maxLength: 12 }),
        (capacity, list) => {
          const name = (at: number): ClusterName => parseClusterName(`c${at}`)
          const demands = new Map(list.map((one, at) => [name(at), one]))
          const parts = allot(capacity, demands)
          const near = capacity * 1e-9
          expect(Math.abs([...parts.values()].reduce((a, b) => a + b, 0) - capacity)).toBeLessThan(near)
          for (const [cluster, part] of parts) {
            if (part >= (demands.get(cluster) ?? 0)) continue
            for (const other of parts.values()) expect(other).toBeLessThanOrEqual(part + near)
          }
          const lied = allot(capacity, new Map(demands).set(name(0), Number.POSITIVE_INFINITY))
          for (const [cluster, part] of lied) {
            const isShort = (demands.get(cluster) ?? 0) > part + near
            if (isShort) expect(lied.get(name(0)) ?? 0).toBeLessThanOrEqual(part + near)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })
})
