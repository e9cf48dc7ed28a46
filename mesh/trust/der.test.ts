import fc from 'fast-check'
import forge from 'node-forge'
import { describe, expect, test } from 'vitest'
import { Problem } from '#mesh/model/problem.ts'
import {
  type Der,
  decode,
  encode,
  oid,
  oidOf,
  sequence,
  setOf,
  tagged,
  time,
  timeOf,
  unsigned,
} from '#mesh/trust/der.ts'
import { leafOf } from '#mesh/trust/tlv.ts'

const { asn1 } = forge
const numRuns = 2000

/** What forge makes of the same bytes: their value written anew, or undefined where it takes none. */
function byForge(bytes: Uint8Array): Buffer | undefined {
  const options = { decodeBitStrings: false, maxDepth: 32 } as unknown as boolean
  try {
    return Buffer.from(asn1.toDer(asn1.fromDer(Buffer.from(bytes).toString('latin1'), options)).getBytes(), 'latin1')
  } catch {
    return undefined
  }
}

function taken(bytes: Uint8Array): Der | undefined {
  try {
    return decode(bytes, 'it')
  } catch (fault) {
    if (fault instanceof Problem && fault.kind === 'invalid') return undefined
    throw fault
  }
}

const { tree } = fc.letrec<{ tree: Der }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5 },
    fc
      .tuple(fc.constantFrom(1, 2, 3, 4, 6, 12, 0x80, 0x82), fc.uint8Array({ maxLength: 300 }))
      .map(([tag, content]) => (tag === 2 || tag === 0x82 ? unsigned(content) : leafOf(tag, content))),
    fc
      .tuple(
        fc.constantFrom(sequence, setOf, (...parts: Der[]) => tagged(3, parts)),
        fc.array(tie('tree')),
      )
      .map(([make, parts]) => make(...parts)),
  ),
}))

/** Bytes that begin like a value: what chance alone hardly ever makes. */
const nearly = fc.oneof(
  tree.map(encode),
  fc
    .tuple(tree.map(encode), fc.array(fc.tuple(fc.nat({ max: 30 }), fc.nat({ max: 255 })), { maxLength: 3 }))
    .map(([bytes, changes]) => {
      const changed = Uint8Array.from(bytes)
      for (const [at, byte] of changes) if (at < changed.length) changed[at] = byte
      return changed
    }),
  fc.uint8Array({ maxLength: 40 }),
)

describe('forge, as a second opinion', () => {
  test('what is written, forge reads, and writes the same', () => {
    fc.assert(
      fc.property(tree, (node) => {
        expect(byForge(encode(node))).toEqual(Buffer.from(encode(node)))
      }),
      { numRuns: 500 },
    )
  })

  test('what is read, forge reads and writes as the very same bytes, and so do we', () => {
    fc.assert(
      fc.property(nearly, (bytes) => {
        const node = taken(bytes)
        if (!node) return
        expect(Buffer.from(encode(node))).toEqual(Buffer.from(bytes))
        expect(byForge(bytes)).toEqual(Buffer.from(bytes))
      }),
      { numRuns },
    )
  })

  test('what forge reads and writes as the same bytes is read, but for tag numbers past 30', () => {
    fc.assert(
      fc.property(nearly, (bytes) => {
        if (byForge(bytes)?.equals(bytes) && !hasLargeTag(bytes)) expect(taken(bytes)).toBeDefined()
      }),
      { numRuns },
    )
  })

  test('object identifiers are written alike', () => {
    const arc = fc.nat({ max: 0xffff_ff00 })
    const dotted = fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 39 }), fc.array(arc, { maxLength: 6 }))
    fc.assert(
      fc.property(dotted, ([first, second, rest]) => {
        const text = [first, second, ...rest].join('.')
        expect(Buffer.from(encode(oid(text)).subarray(2)).toString('latin1')).toBe(asn1.oidToDer(text).getBytes())
        expect(oidOf(oid(text), 'it')).toBe(text)
      }),
    )
  })

  test('times are written alike, and read as they were written', () => {
    const between = { min: new Date('1950-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z') }
    fc.assert(
      fc.property(fc.date({ ...between, noInvalidDate: true }), (at) => {
        const whole = new Date(Math.floor(at.getTime() / 1000) * 1000)
        const written = time(whole)
        const text = Buffer.from(encode(written).subarray(2)).toString('latin1')
        expect(text).toBe(at.getUTCFullYear() < 2050 ? asn1.dateToUtcTime(whole) : asn1.dateToGeneralizedTime(whole))
        expect(timeOf(written, 'it')).toEqual(whole)
      }),
    )
  })
})

describe('refused', () => {
  test.each([
    ['nothing', ''],
    ['half a value', '3003020101'.slice(0, 8)],
    ['bytes left over', '02010100'],
    ['a length in two bytes that fits in one', '0481011f'],
    ['a length with a leading zero', `048200ff${'00'.repeat(255)}`],
    ['an indefinite length', '30800201010000'],
    ['a length past the end of its parent', '300302ff01'],
    ['a length of four bytes', '048400000001ff'],
    ['a zero before a positive integer', '02020001'],
    ['a byte of ones before a negative integer', '0202ff80'],
    ['the same under an implicit tag', '82020001'],
    ['half a character', '1e0100'],
    ['a tag number past 30', '1f0100'],
    ['33 values in each other', nested(33)],
  ])('%s', (_, hex) => {
    expect(taken(Buffer.from(hex, 'hex'))).toBeUndefined()
  })

  test('32 values in each other are read', () => {
    expect(taken(Buffer.from(nested(32), 'hex'))).toBeDefined()
  })

  test.each([
    ['empty', '0600'],
    ['an arc with a leading zero', '0603550480'],
    ['an arc cut off', '06025584'],
    ['an arc past 32 bits', '0606559080808000'],
  ])('an object identifier: %s', (_, hex) => {
    expect(() => oidOf(decode(Buffer.from(hex, 'hex'), 'it'), 'it')).toThrow(/object identifier is broken/)
  })

  test.each(['260230000000Z', '261301000000Z', '260101240000Z', '260101006000Z', '2601010000Z', '260101000000+0000'])(
    'the date %s',
    (text) => {
      expect(() => timeOf(leafOf(23, Buffer.from(text)), 'it')).toThrow(/date/)
    },
  )
})

/** So many sequences, each in the one before. */
function nested(depth: number): string {
  let node = sequence()
  for (let n = 1; n < depth; n++) node = sequence(node)
  return Buffer.from(encode(node)).toString('hex')
}

/** Whether any byte could be such a tag: rather too many than too few. */
const hasLargeTag = (bytes: Uint8Array): boolean => bytes.some((byte) => (byte & 0x1f) === 0x1f)
