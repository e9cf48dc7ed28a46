import { type PGlite, protocol } from '@electric-sql/pglite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bound, type FlightStatement, turnsOf } from '#control/store/pglite-flight.ts'

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

const int = (bytes: number, n: number): Buffer => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeIntBE(n, 0, bytes)
  return buffer
}
const message = (kind: string, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(kind), int(4, body.length + 4), body])
}
const text = (string: string): Buffer => Buffer.from(`${string}\0`)
const columns = (of: readonly (readonly [string, number])[]): Buffer =>
  message(
    'T',
    int(2, of.length),
    ...of.flatMap(([name, type]) => [text(name), int(6, 0), int(4, type), int(6, -1), int(2, 0)]),
  )
const row = (values: readonly (string | null)[]): Buffer =>
  message(
    'D',
    ...[int(2, values.length), ...values.flatMap((one) => (one === null ? [int(4, -1)] : [counted(Buffer.from(one))]))],
  )
const counted = (bytes: Buffer): Buffer => Buffer.concat([int(4, bytes.length), bytes])
const ready = message('Z', Buffer.from('T'))
const failed = message('E', text('SERROR'), text('C23505'), text('Mduplicate key value'), int(1, 0))
const notice = message('N', text('SNOTICE'), text('Msaid in passing'), int(1, 0))

const statement = (arrays: boolean): FlightStatement => ({ text: '', name: undefined, params: [], arrays })
const parsers = { 20: (one: string) => Number(one), 16: (one: string) => one === 't' } as unknown as PGlite['parsers']

test('each statement has its answer: rows in either form, an error with its code, nothing', () => {
  const bytes = Buffer.concat([
    ...[
      message('1'),
      message('2'),
      columns([
        ['key', 25],
        ['rev', 20],
        ['gone', 16],
      ]),
    ],
    ...[notice, row(['é/ö', '7', 't']), row(['', null, 'f']), message('C', text('SELECT 2')), ready],
    ...[message('2'), failed, ready],
    ...[message('2'), columns([['n', 20]]), row(['1']), message('C', text('SELECT 1')), ready],
    ...[message('2'), message('n'), message('C', text('UPDATE 0')), ready],
  ])
  const flight = [statement(true), statement(true), statement(false), statement(true)]
  expect(turnsOf(bytes, flight, parsers)).toEqual([
    {
      parsed: true,
      answer: {
        rows: [
          ['é/ö', 7, true],
          ['', null, false],
        ],
      },
    },
    { parsed: false, answer: { error: { message: 'duplicate key value', code: '23505' } } },
    { parsed: false, answer: { rows: [{ n: 1 }] } },
    { parsed: false, answer: { rows: [] } },
  ])
})

test('of a statement whose end was not told there is no answer', () => {
  expect(turnsOf(row(['1']), [statement(true)], parsers)).toEqual([])
})
