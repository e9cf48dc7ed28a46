import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cidrFault, cidrsOverlap } from '#mesh/model/cidr.ts'

describe('two CIDRs', () => {
  test.each([
    ['the same', '10.0.0.0/16', '10.0.0.0/16', true],
    ['one inside the other', '10.0.0.0/8', '10.200.3.0/24', true],
    ['side by side', '10.0.0.0/16', '10.1.0.0/16', false],
    ['everything', '0.0.0.0/0', '192.168.0.0/24', true],
    ['bits set behind the prefix', '10.0.255.1/16', '10.0.3.0/24', true],
    ['of two families', '10.0.0.0/8', 'fd00::/8', false],
    ['IPv6', 'fd00:10::/32', 'fd00:10:0:7::/64', true],
    ['IPv6 apart', 'fd00:10::/64', 'fd00:11::/64', false],
    ['one that is none', '10.0.0.0/8', '10.0.0.0', false],
  ])('%s', (_, one, other, overlap) => {
    expect([cidrsOverlap(one, other), cidrsOverlap(other, one)]).toEqual([overlap, overlap])
  })

  test('overlap exactly where their ranges of numbers do', () => {
    const cidr = fc.tuple(fc.nat({ max: 2 ** 32 - 1 }), fc.integer({ min: 0, max: 32 }))
    const text = ([number, bits]: readonly [number, number]) =>
      `${[24, 16, 8, 0].map((by) => (number >>> by) & 255).join('.')}/${bits}`
    const first = ([number, bits]: readonly [number, number]) =>
      Math.floor(number / 2 ** (32 - bits)) * 2 ** (32 - bits)
    fc.assert(
      fc.property(cidr, cidr, (a, b) => {
        const meet = first(a) < first(b) + 2 ** (32 - b[1]) && first(b) < first(a) + 2 ** (32 - a[1])
        expect(cidrsOverlap(text(a), text(b))).toBe(meet)
      }),
    )
  })
})

test.each(['', '10.0.0.0', '10.0.0.0/33', '10.0.0/8', 'fd00::/129', '10.0.0.0/08', '10.0.0.0/-1', 'a/8', '::/'])(
  '"%s" is none',
  (text) => expect(cidrFault(text)).toContain('is no CIDR'),
)
