import { expect, test } from 'vitest'
import { typeUrls } from '#mesh/model/resource.ts'
import { createMemo } from '#mesh/translate/memo.ts'

test('the same inputs give the same value; another input builds anew', () => {
  const memo = createMemo()
  const input = {}
  const first = memo.keep('k', [input, 1], () => ({}))
  expect(memo.keep('k', [input, 1], () => ({}))).toBe(first)
  expect(memo.keep('k', [{}, 1], () => ({}))).not.toBe(first)
})

test('a list keeps its identity while its members do', () => {
  const memo = createMemo()
  const member = {}
  const first = memo.list('k', [1], () => [member])
  expect(memo.list('k', [2], () => [member])).toBe(first)
  expect(memo.list('k', [3], () => [{}])).not.toBe(first)
})

test('data that reads the same keeps its identity', () => {
  const memo = createMemo()
  const first = memo.data('k', [{}], () => ({ a: [1] }))
  expect(memo.data('k', [{}], () => ({ a: [1] }))).toBe(first)
  expect(memo.data('k', [{}], () => ({ a: [2] }))).toEqual({ a: [2] })
})

test('what nobody asked for in two rounds is forgotten, and what a used thing was made of stays', () => {
  const memo = createMemo()
  const outer = () => memo.keep('outer', [], () => ({ inner: memo.keep('inner', [], () => ({})) }))
  const first = outer()
  const idle = memo.keep('idle', [], () => ({}))
  for (let round = 0; round < 4; round += 1) {
    memo.sweep()
    expect(outer()).toBe(first)
  }
  expect(memo.keep('inner', [], () => ({}))).toBe(first.inner)
  expect(memo.keep('idle', [], () => ({}))).not.toBe(idle)
})

test('a build that fails leaves no trace', () => {
  const memo = createMemo()
  expect(() =>
    memo.keep('k', [], () => {
      throw new Error('no')
    }),
  ).toThrow('no')
  expect(memo.keep('k', [], () => 1)).toBe(1)
})

test('what was replaced is forgotten within a few turns, and what rests is left alone for long', () => {
  const memo = createMemo()
  const kept = () => memo.keep('kept', [], () => ({}))
  const [first, old] = [kept(), memo.keep('old', [], () => ({}))]
  memo.turn()
  expect(memo.sweeps()).toBe(0)
  memo.replaced()
  for (let turn = 0; turn < 3; turn += 1) {
    memo.turn()
    expect(kept()).toBe(first)
  }
  const swept = memo.sweeps()
  expect(memo.keep('old', [], () => ({}))).not.toBe(old)
  memo.turn()
  expect(memo.sweeps()).toBe(swept)
  for (let turn = 0; turn < 200; turn += 1) memo.turn()
  expect(kept()).not.toBe(first)
})

test('rows: only what has other inputs is made again, all of them where what they share is another', () => {
  const memo = createMemo()
  const items = [{ name: 'a' }, { name: 'b' }]
  const made: string[] = []
  const rows = (shared: unknown, inputs: Readonly<Record<string, unknown>>, version = '1') =>
    memo.each('rows', items, {
      shared: [shared],
      inputs: ({ name }) => [inputs[name]],
      build: ({ name }) => {
        made.push(name)
        return { type: typeUrls.cluster, name, version, bytes: new Uint8Array() }
      },
    })
  const first = rows('s', { a: 1, b: 1 })
  expect(rows('s', { a: 1, b: 1 })).toBe(first)
  expect(made.splice(0)).toEqual(['a', 'b'])
  expect(rows('s', { a: 1, b: 2 })).toBe(first) // made again, and the same
  expect(made.splice(0)).toEqual(['b'])
  const next = rows('t', { a: 1, b: 2 }, '2')
  expect(made).toEqual(['a', 'b'])
  expect(next.map(({ version }) => version)).toEqual(['2', '2'])
})
