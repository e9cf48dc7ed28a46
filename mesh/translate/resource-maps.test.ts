import { expect, test } from 'vitest'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import { createMemo } from '#mesh/translate/memo.ts'
import { joined } from '#mesh/translate/resource-maps.ts'

const resource = (name: string, owner?: string): XdsResource => ({
  ...{ type: typeUrls.cluster, name, version: '1', bytes: new Uint8Array() },
  ...(owner === undefined ? {} : { owner }),
})

test('proxies with equal own parts share one map, however they take turns', () => {
  const memo = createMemo()
  const shared = [resource('a'), resource('b')]
  // Two services with one port each: equal resources, but what a refusal sets aside is not the same.
  const [web, api] = ['web', 'api'].map((owner) => () => joined(memo, 'k', shared, [resource('inbound', owner)]))
  const first = web?.()
  const other = api?.()
  expect(web?.()).toBe(first)
  expect(api?.()).toBe(other)
  expect(other).not.toBe(first)
  expect(other?.get('inbound')?.owner).toBe('api')
})
