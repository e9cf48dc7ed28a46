import { expect, test } from 'vitest'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { type NetworkName, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import type { View } from '#mesh/model/view.ts'
import { behindPods } from '#mesh/translate/inbound-ports.ts'
import { createMemo } from '#mesh/translate/memo.ts'

const endpoint = (pod: string, address: string): Endpoint => ({
  ...{ address, pod, ports: { http: 8080 }, health: 'ready', locality: { region: 'r', zone: 'z' } },
  ...{ network: 'n' as NetworkName, serviceAccount: 'web', meshed: true },
})
const [a, b] = [serviceKey('shop', 'a'), serviceKey('shop', 'b')]
const viewOf = (...endpoints: readonly (readonly [ServiceKey, readonly Endpoint[]])[]) =>
  ({ own: { endpoints: new Map(endpoints) } }) as unknown as View

test('the services behind a pod are in the order of their keys, whichever came last', () => {
  const [one, two] = [endpoint('shop/web-0', '10.0.0.1'), endpoint('', '10.0.0.2')]
  const steps = [
    viewOf([b, [one, two]]),
    viewOf([b, [one, two]], [a, [one]]),
    viewOf([b, [two]], [a, [one]]),
    viewOf([a, [one]]),
  ]
  const memo = createMemo()
  for (const view of steps) {
    const remembered = behindPods(view, memo).pods
    const fresh = behindPods(view, createMemo()).pods
    expect(new Map([...remembered].toSorted())).toEqual(new Map([...fresh].toSorted()))
  }
  expect(
    behindPods(steps[1] ?? viewOf(), memo)
      .pods.get('shop/web-0')
      ?.map(({ key }) => key),
  ).toEqual([a, b])
})
