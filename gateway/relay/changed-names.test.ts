import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { changedNames } from '#gateway/relay/changed-names.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'

const mapOf = (versions: Readonly<Record<string, string>>): ReadonlyMap<string, XdsResource> =>
  new Map(
    Object.entries(versions).map(([name, version]) => [
      name,
      { type: typeUrls.cluster, name, version, bytes: new Uint8Array(1000) },
    ]),
  )

test('names what came, went and is another, the same list for the same two maps', () => {
  const [from, to] = [mapOf({ a: '1', b: '1', c: '1' }), mapOf({ a: '1', b: '2', d: '1' })]
  expect(changedNames(from, to)).toEqual(['b', 'd', 'c'])
  expect(changedNames(from, from)).toEqual([])
  expect(changedNames(from, to)).toBe(changedNames(from, to))
  expect(changedNames(to, from)).toEqual(['b', 'c', 'd'])
})

test('what was served before is not held', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const before = (() => {
    const from = mapOf({ a: '1' })
    changedNames(from, mapOf({ a: '2' }))
    return new WeakRef(from)
  })()
  await expect
    .poll(
      () => {
        collect()
        return before.deref() === undefined
      },
      { timeout: 10_000 },
    )
    .toBe(true)
})
