import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type ConnectedGateway,
  type OwnGateway,
  type OwnGateways,
  planOwnGateways,
  type Sight,
  gatewayTimes as times,
} from '#gateway/plan-own-gateways.ts'

const proxy = (address: string, listens: ConnectedGateway['listens'] = 'yes'): ConnectedGateway => ({
  addresses: [address],
  listens,
})
const place = (address: string) => ({ address, port: 15443 })
const both = [place('127.1.0.2'), place('127.1.0.3')]
const one = [place('127.1.0.2')]
const balancer = [place('gw.example.com')]

/** What is seen from a second on, until the next; looked at once a second, as the relay does. Gives the states told. */
type Step = readonly [second: number, sight: Sight]
function told(
  places: readonly { address: string; port: number }[],
  until: number,
  steps: readonly Step[],
  kept = '',
): string[] {
  let states: OwnGateways = new Map(
    places.map((at): [string, OwnGateway] => [
      `${at.address}:${at.port}`,
      {
        state: kept === 'ready' || kept === 'down' ? kept : 'unknown',
        isKnown: kept !== '',
        isSeen: false,
      },
    ]),
  )
  const history: string[] = []
  for (let second = 0; second < until; second++) {
    const sight = steps.findLast(([from]) => from <= second)?.[1] ?? { gateways: [], others: 0 }
    states = planOwnGateways(states, { places, sight, now: second * 1000, times })
    const now = [...states.values()].map(({ state }) => state).join(' ')
    if (history.at(-1) !== now) history.push(now)
  }
  return history
}
const up = (...addresses: string[]): Sight => ({ gateways: addresses.map((a) => proxy(a)), others: 3 })
const gone: Sight = { gateways: [], others: 3 }
const deaf: Sight = { gateways: [], others: 0 }

describe('a gateway of the own cluster', () => {
  test('is ready as soon as its proxy listens', () => {
    expect(
      told(one, 10, [
        [0, gone],
        [3, up('127.1.0.2')],
      ]),
    ).toEqual(['unknown', 'ready'])
  })

  test('away for a restart: no news; away for longer: down, and ready the moment it is back', () => {
    const start: Step = [0, up('127.1.0.2')]
    expect(told(one, 60, [start, [10, gone], [20, up('127.1.0.2')]])).toEqual(['ready'])
    expect(told(one, 60, [start, [10, gone], [40, up('127.1.0.2')]])).toEqual(['ready', 'down', 'ready'])
  })

  test('a relay that restarts does not call it down before it had time to come back', () => {
    expect(
      told(
        one,
        60,
        [
          [0, gone],
          [25, up('127.1.0.2')],
        ],
        'ready',
      ),
    ).toEqual(['ready'])
    expect(told(one, 60, [[0, gone]], 'ready')).toEqual(['ready', 'down'])
  })

  test('a relay that restarts does not call a dead one ready', () => {
    expect(told(one, 60, [[0, gone]], 'down')).toEqual(['down'])
    expect(told(one, 60, [[0, deaf]], 'down')).toEqual(['down'])
  })

  test('one that never came is unknown, and not down', () => {
    expect(told(one, 99, [[0, gone]])).toEqual(['unknown'])
  })

  test('nobody at all is connected: unknown, and down only a while after somebody is heard again', () => {
    const start: Step = [0, up('127.1.0.2')]
    expect(told(one, 200, [start, [10, deaf]])).toEqual(['ready', 'unknown'])
    expect(told(one, 200, [start, [10, deaf], [100, gone], [110, up('127.1.0.2')]])).toEqual([
      'ready',
      'unknown',
      'ready',
    ])
    expect(told(one, 200, [start, [10, deaf], [100, gone]])).toEqual(['ready', 'unknown', 'down'])
  })

  test('connected without a listener: down; one that refuses its listener may serve what it had: unknown', () => {
    const with1 = (listens: ConnectedGateway['listens']): Sight => ({
      gateways: [proxy('127.1.0.2', listens)],
      others: 3,
    })
    expect(told(one, 60, [[0, with1('not-yet')]], 'ready')).toEqual(['ready', 'down'])
    expect(told(one, 60, [[0, with1('refused')]], 'ready')).toEqual(['ready', 'unknown'])
  })

  test('each of several is itself', () => {
    const steps: Step[] = [
      [0, up('127.1.0.2', '127.1.0.3')],
      [10, up('127.1.0.2')],
    ]
    expect(told(both, 60, steps)).toEqual(['ready ready', 'ready down'])
  })

  test('behind a load balancer any of them will do, and none is down', () => {
    const steps: Step[] = [
      [0, up('10.0.0.1', '10.0.0.2')],
      [10, up('10.0.0.2')],
      [40, gone],
    ]
    expect(told(balancer, 39, steps)).toEqual(['ready'])
    expect(told(balancer, 90, steps)).toEqual(['ready', 'down'])
  })

  test('a proxy with a place of its own does not speak for a load balancer', () => {
    expect(
      told([...one, ...balancer], 60, [
        [0, up('127.1.0.2', '10.0.0.2')],
        [5, up('127.1.0.2')],
      ]),
    ).toEqual(['ready ready', 'ready down'])
  })

  test('whatever is seen: never down while a proxy of it listens, or within the time that a restart takes', () => {
    const sight = fc.constantFrom(up('127.1.0.2'), gone, deaf)
    fc.assert(
      fc.property(fc.array(sight, { minLength: 1, maxLength: 120 }), (seconds) => {
        let states: OwnGateways = new Map()
        let lastUp = Number.NEGATIVE_INFINITY
        for (const [second, seen] of seconds.entries()) {
          states = planOwnGateways(states, { places: one, sight: seen, now: second * 1000, times })
          if (seen.gateways.length > 0) lastUp = second
          const state = states.get('127.1.0.2:15443')?.state
          if (second - lastUp < times.away / 1000) expect(state).toBe('ready')
          if (lastUp < 0) expect(state).toBe('unknown')
        }
      }),
    )
  })
})
