import { describe, expect, test } from 'vitest'
import { firstHeard } from '#control/first-heard.ts'
import { checkItem } from '#control/report-item.ts'
import { heardGatewaysSchema, heardSummarySchema } from '#mesh/wire/heard.ts'

const key = 'summary/shop/carts'
const minute = 60_000

/** A cluster whose reports of one service name these addresses; gives back what the centre then says of them. */
function reporter() {
  let body = ''
  return (addresses: readonly string[], now: number, more: object = {}): Record<string, number | undefined> => {
    const flat = addresses.map((address) => ({
      ...{ address, port: 80, servicePort: 80, region: 'r', zone: '', draining: false },
      ...more,
    }))
    const { write } = checkItem(key, { counts: [], flat }, 'e1')
    body = firstHeard(write, body, now).body
    return Object.fromEntries((heardSummarySchema.parse(JSON.parse(body)).flat ?? []).map((e) => [e.address, e.since]))
  }
}

describe('the age of a pod’s address', () => {
  test('is the centre’s first sight of it, whatever the report says, and outlives other changes', () => {
    const says = reporter()
    expect(says(['10.0.0.1'], 1000, { since: 1 })).toEqual({ '10.0.0.1': 1000 })
    expect(says(['10.0.0.1', '10.0.0.2'], 2000)).toEqual({ '10.0.0.1': 1000, '10.0.0.2': 2000 })
    expect(says(['10.0.0.1'], 3000, { draining: true })).toEqual({ '10.0.0.1': 1000 })
  })

  test('outlives an hour in which it is not named, and no more', () => {
    const says = reporter()
    says(['10.0.0.1', '10.0.0.2'], 0)
    says(['10.0.0.2'], minute)
    says([], 30 * minute)
    expect(says(['10.0.0.1'], 60 * minute)).toEqual({ '10.0.0.1': 0 })
    says([], 61 * minute)
    expect(says(['10.0.0.1', '10.0.0.2'], 122 * minute)).toEqual({
      '10.0.0.1': 122 * minute,
      '10.0.0.2': 122 * minute,
    })
  })

  test('what is remembered is bounded', () => {
    const says = reporter()
    const many = (net: number) => Array.from({ length: 300 }, (_, n) => `10.${net}.${n >> 8}.${n & 255}`)
    for (const net of [1, 2, 3, 4]) says(many(net), net * minute)
    expect(says(['10.1.0.1', '10.3.0.1'], 5 * minute)).toEqual({ '10.1.0.1': 5 * minute, '10.3.0.1': 3 * minute })
  })

  test('a body from before such times were kept: what it names has none, what is new has', () => {
    const { write } = checkItem(key, { counts: [], flat: [] }, 'e1')
    const end = { port: 80, servicePort: 80, region: 'r', zone: '', draining: false }
    const old = JSON.stringify({ counts: [], flat: [{ address: '10.0.0.1', ...end }] })
    const body = JSON.stringify({ counts: [], flat: ['10.0.0.1', '10.0.0.2'].map((address) => ({ address, ...end })) })
    const { flat } = heardSummarySchema.parse(JSON.parse(firstHeard({ ...write, body }, old, 5).body))
    expect(flat?.map(({ since }) => since)).toEqual([undefined, 5])
  })
})

test('a gateway’s IP address has an age, a name has none', () => {
  const said = (...addresses: string[]) =>
    checkItem(
      'gateways',
      { gateways: addresses.map((address) => ({ address, port: 1, state: 'ready', since: 0 })) },
      'e',
    )
  const first = firstHeard(said('10.0.0.1', 'gw.example.com').write, '', 1)
  const then = firstHeard(said('10.0.0.2', '10.0.0.1', 'gw.example.com').write, first.body, 2)
  expect(heardGatewaysSchema.parse(JSON.parse(then.body)).gateways.map(({ since }) => since)).toEqual([2, 1, undefined])
})
