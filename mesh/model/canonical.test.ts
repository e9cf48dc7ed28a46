import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalJson, type Json, jsonDepthMax, jsonFault, textFault } from '#mesh/model/canonical.ts'

const nested = (levels: number): Json =>
  levels === 0 ? 1 : levels % 2 ? [nested(levels - 1)] : { a: nested(levels - 1) }

test('the order of members does not matter, and the text is the same JSON', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), (value) => {
      const turned = Object.fromEntries(Object.entries(value).reverse()) as Json
      expect(canonicalJson(turned)).toBe(canonicalJson(value as Json))
      expect(JSON.parse(canonicalJson(value as Json))).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})

test('depth is bounded, by a problem and not by the end of the stack', () => {
  expect(JSON.parse(canonicalJson(nested(jsonDepthMax)))).toEqual(nested(jsonDepthMax))
  expect(jsonFault(nested(jsonDepthMax))).toBeUndefined()
  const deepest = JSON.parse(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)
  for (const value of [nested(jsonDepthMax + 1), deepest]) {
    expect(() => canonicalJson(value)).toThrow('nested more than 64 levels deep')
    expect(jsonFault(value)?.reason).toContain('nested more than 64 levels deep')
  }
})

test.each([
  ['a text', { a: [{ b: 'x\0' }] }, 'a[0].b', 'NUL'],
  ['a name', { a: { 'x\0': 1 } }, 'a.x\ufffd', 'NUL'],
  ['half of a pair', { a: '\ud83d' }, 'a', 'surrogate'],
  ['the value itself', '\udc00', '', 'surrogate'],
])('%s that no store takes is named with its place', (_, value, path, reason) => {
  expect(jsonFault(value)).toMatchObject({ path, reason: expect.stringContaining(reason) })
})

test('whole Unicode text is taken', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
      expect(textFault(text) === undefined).toBe(!text.includes('\0'))
    }),
  )
})
