import fc from 'fast-check'
import { expect, test } from 'vitest'
import { changedValues, patchedMap } from '#mesh/model/patched-map.ts'

test('after whatever changes it is the map that a copy would be', () => {
  const anyChanges = fc.array(fc.dictionary(fc.integer({ min: 0, max: 60 }).map(String), fc.integer({ min: 1 })), {
    maxLength: 8,
  })
  fc.assert(
    fc.property(anyChanges, (all) => {
      const copy = new Map(Array.from({ length: 61 }, (_, n) => [String(n), 0]))
      const first: ReadonlyMap<string, number> = new Map(copy)
      let patched = first
      for (const changes of all) {
        patched = patchedMap(patched, new Map(Object.entries(changes)))
        for (const [key, value] of Object.entries(changes)) copy.set(key, value)
        expect(new Set(changedValues(patched, first))).toEqual(
          new Set([...copy.values()].filter((value) => value !== 0)),
        )
      }
      expect([...patched]).toEqual([...copy])
      expect([...patched.keys()]).toEqual([...copy.keys()])
      expect([...patched.values()]).toEqual([...copy.values()])
      expect([patched.size, patched.get('7'), patched.get('no'), patched.has('no')]).toEqual([
        61,
        copy.get('7'),
        undefined,
        false,
      ])
      const seen: [string, number][] = []
      patched.forEach((value, key) => void seen.push([key, value]))
      expect(seen).toEqual([...copy])
    }),
  )
})
