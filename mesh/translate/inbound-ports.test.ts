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
  const one = endpoint('shop/web-0', '10.0.0.1')
  const two = endpoint('', '10.0.0.2')
  const [both, first] = [[one, two], [one]]
  const steps = [viewOf([b, both]), viewOf([b, both], [a, first]), viewOf([b, [two]], [a, first]), viewOf([a, first])]
  const memo = createMemo()
  const seen = steps.map((view) => {
    const remembered = behindPods(view, memo).pods
    const fresh = behindPods(view, createMemo()).pods
    expect(new Map([...remembered].toSorted())).toEqual(new Map([...fresh].toSorted()))
    return remembered.get('shop/web-0')?.map(({ key }) => key)
  })
  expect(seen).toEqual([[b], [a, b], [a], [a]])
})
