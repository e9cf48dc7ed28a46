import { protocol } from '@electric-sql/pglite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bound } from '#control/store/pglite-flight.ts'

const value = fc.option(fc.string({ unit: 'binary' }), { nil: null })

test('parameters are written as the library writes them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme-ascii' }), fc.array(value, { maxLength: 300 }), (statement, values) => {
      const theirs = protocol.serialize.bind({ statement, values })
      expect(bound(statement, values).toString('hex')).toBe(Buffer.from(theirs).toString('hex'))
    }),
  )
})

test('more parameters than the protocol can count are refused', () => {
  expect(() =>
    bound(
      '',
      Array.from({ length: 65_536 }, () => null),
    ),
  ).toThrow('at most 65535')
})
