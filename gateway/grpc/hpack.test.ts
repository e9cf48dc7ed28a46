import { describe, expect, test } from 'vitest'
import { headerReader } from '#gateway/grpc/hpack.ts'

const bytes = (...parts: readonly (number | string)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))))
/** A header that is to be remembered. */
const kept = (name: string, value: string) => bytes(0x40, name.length, name, value.length, value)
/** One that is remembered, by its number: 62 is the youngest. */
const at = (index: number) => bytes(0x80 | index)
const size = (bytesMax: number) => bytes(...(bytesMax < 31 ? [0x20 | bytesMax] : [0x3f, bytesMax - 31]))

describe('the table of headers', () => {
  test('counts from the youngest', () => {
    const read = headerReader(1000)
    expect(read(Buffer.concat([kept('a', '1'), kept('b', '2'), at(62), at(63)]))).toEqual([
      ...[
        ['a', '1'],
        ['b', '2'],
      ],
      ...[
        ['b', '2'],
        ['a', '1'],
      ],
    ])
    expect(() => read(at(64))).toThrow('unknown number 64')
  })

  test('forgets the oldest when it is made smaller, twice in one block', () => {
    const read = headerReader(1000)
    read(Buffer.concat([kept('a', '1'), kept('b', '2')]))
    expect(read(Buffer.concat([size(34), size(100), at(62)]))).toEqual([['b', '2']])
    expect(() => read(at(63))).toThrow('unknown number 63')
  })

  test('forgets all for one that is larger than itself', () => {
    const read = headerReader(1000)
    read(kept('a', '1'))
    expect(read(Buffer.concat([size(40), kept('long', 'x'.repeat(20))]))).toHaveLength(1)
    expect(() => read(at(62))).toThrow('unknown number 62')
  })

  test('gives the name of an entry that makes way for the new one', () => {
    const read = headerReader(1000)
    read(Buffer.concat([size(40), kept('a', '1')]))
    expect(read(bytes(0x40 | 62, 1, '2'))).toEqual([['a', '2']])
    expect(read(at(62))).toEqual([['a', '2']])
    expect(() => read(at(63))).toThrow('unknown number 63')
  })

  test.each([
    ['changes between two headers', Buffer.concat([kept('a', '1'), size(0)])],
    ['is larger than was offered', bytes(0x3f, 0xe2, 0x1f)],
  ])('is refused when it %s', (_name, block) => {
    expect(() => headerReader(1000)(block)).toThrow('a header table')
  })
})

test.each([
  ['a number without end', bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0)],
  ['the number of nothing', bytes(0x80)],
  ['a text that is cut off', bytes(0x40, 1, 'a', 9, 'x')],
  ['a text that does not begin', bytes(0x40, 1, 'a')],
  ['the code of the end', bytes(0x40, 1, 'a', 0x84, 0xff, 0xff, 0xff, 0xff)],
  ['more than seven bits of padding', bytes(0x40, 1, 'a', 0x82, 0x1f, 0xff)],
  ['padding with a zero', bytes(0x40, 1, 'a', 0x81, 0x18)],
])('%s is no header', (_name, block) => {
  expect(() => headerReader(1000)(block)).toThrow(expect.objectContaining({ kind: 'invalid' }))
})
