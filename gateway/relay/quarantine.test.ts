import { expect, test } from 'vitest'
import { createQuarantine } from '#gateway/relay/quarantine.ts'
import { typeUrls } from '#mesh/model/resource.ts'

const resource = (version: string, name = 'a') => ({
  type: typeUrls.cluster,
  name,
  version,
  bytes: new Uint8Array(),
  owner: 'service shop/a',
})
const refusal = { resource: resource('2'), detail: 'no', kept: resource('1') }

test('holds for the identity that refused, at once and for nobody else', () => {
  const quarantine = createQuarantine()
  quarantine.add(refusal, { identity: 'web', proxy: 'w' })
  expect(quarantine.withheld(resource('2'), () => 'web')).toBe(true)
  expect(quarantine.withheld(resource('2'), () => 'api')).toBe(false)
  expect(quarantine.withheld(resource('3'), () => 'web')).toBe(false)
})

test('a second identity makes it hold for all; the same one again does not', () => {
  const quarantine = createQuarantine()
  quarantine.add(refusal, { identity: 'web', proxy: 'w1' })
  expect(quarantine.add(refusal, { identity: 'web', proxy: 'w2' }).everywhere).toBe(false)
  expect(quarantine.add(refusal, { identity: 'api', proxy: 'a' }).everywhere).toBe(true)
  expect(quarantine.withheld(resource('2'), () => 'db')).toBe(true)
})

test('remembers what a proxy held before, and for that proxy only', () => {
  const quarantine = createQuarantine()
  quarantine.add(refusal, { identity: 'web', proxy: 'w' })
  expect(quarantine.lastGood('w', typeUrls.cluster, 'a')?.version).toBe('1')
  expect(quarantine.lastGood('other', typeUrls.cluster, 'a')).toBeUndefined()
})

test('forgets what is served no more, and the oldest when there are too many', () => {
  const quarantine = createQuarantine()
  quarantine.add(refusal, { identity: 'web', proxy: 'w' })
  quarantine.keepOnly(() => false)
  expect(quarantine.list()).toEqual([])
  for (let i = 0; i < 10_001; i += 1)
    quarantine.add({ ...refusal, resource: resource('2', `${i}`) }, { identity: 'web', proxy: 'w' })
  expect(quarantine.list()).toHaveLength(10_000)
  expect(quarantine.withheld(resource('2', '0'), () => 'web')).toBe(false)
})
