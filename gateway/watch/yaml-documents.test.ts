import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments, stringify } from 'yaml'
import { yamlDocuments } from '#gateway/watch/yaml-documents.ts'

const valuesOf = (text: string): unknown[] =>
  yamlDocuments(text).map((one) => ('fault' in one ? `fault: ${one.fault}` : one.value))

describe('documents', () => {
  test.each([
    [
      'a directive goes with the document after it',
      '%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n# x\n---\nb: 2\n',
      [{ a: 1 }, { b: 2 }],
    ],
    ['carriage returns', 'a: 1\r\n---\r\nb: 2\r\n', [{ a: 1 }, { b: 2 }]],
    ['a byte order mark', '\ufeff---\na: 1\n', [{ a: 1 }]],
    ['content beside the mark', '--- {a: 1}\n--- [2]\n---\n', [{ a: 1 }, [2]]],
    [
      'hyphens that mark nothing',
      'a: |\n  ---\n  x\nb: "1\n  --- 2"\nc: ---x\n',
      [{ a: '---\nx\n', b: '1 --- 2', c: '---x' }],
    ],
    ['a line separator ends no line', '"a\u2028--- b"\n', ['a\u2028--- b']],
    [
      'what is not text',
      'a: 0x1f\nb: yes\nc: 2026-01-01\nd: ~\ne: 1e3\n',
      [{ a: 31, b: 'yes', c: '2026-01-01', d: null, e: 1000 }],
    ],
    [
      'a key that objects have',
      '{__proto__: {x: 1}, constructor: 2}\n',
      [JSON.parse('{"__proto__":{"x":1},"constructor":2}')],
    ],
  ])('%s', (_name, text, values) => {
    expect(valuesOf(text)).toEqual(values)
  })

  test.each([
    ['a key twice', 'b: 1\n---\n"a": 1\n"a": 2\n', 'says "a" twice', 17],
    ['what holds itself', 'a: &x\n  b: [*x]\n', 'cannot be expanded: "x" holds itself', 0],
    ['an alias of nothing', 'a: *x\n', 'cannot be expanded: unidentified alias "x"', 4],
    [
      'too many aliases',
      `a: &x 1\nb: [${Array(21).fill('*x').join(', ')}]\n`,
      'cannot be expanded: ',
      expect.any(Number),
    ],
    ['a tag that is unknown', 'a: !run x\n', 'is malformed YAML: unknown scalar tag', 3],
  ])('%s is set aside with its place', (_name, text, fault, offset) => {
    expect(yamlDocuments(text).at(-1)).toEqual({ offset, fault: expect.stringContaining(fault) })
  })

  test('twenty aliases, in layers, stand for no more than some thousand copies', () => {
    const layers = Array.from({ length: 7 }, (_, n) => `l${n + 1}: &l${n + 1} [*l${n}, *l${n}, *l${n}]\n`).slice(0, 6)
    const [value] = valuesOf(`l0: &l0 [x]\n${layers.join('')}`)
    expect(JSON.stringify(value).length).toBeLessThan(20_000)
  })
})

describe('the same as another reader', () => {
  const scalar = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.constantFrom(
      '---',
      '... x',
      'a: b',
      '- x',
      '#',
      '%YAML',
      '0x1f',
      'true',
      'null',
      '~',
      '1_000',
      '<<',
      '*a',
      '&a',
      "'",
      '"',
    ),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
  )
  const value = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: 'small' },
      scalar,
      fc.array(tie('node'), { maxLength: 4 }),
      fc.dictionary(fc.string({ maxLength: 8 }), tie('node'), { maxKeys: 4 }),
    ),
  })).node

  test('what is written comes back, document for document', () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 4 }), fc.boolean(), (written, flow) => {
        const style = flow ? ({ collectionStyle: 'flow' } as const) : {}
        const text = written.map((one) => `---\n${stringify(one, { ...style, aliasDuplicateObjects: false })}`).join('')
        const others = parseAllDocuments(text).map((one) => one.toJS() as unknown)
        expect(valuesOf(text)).toEqual(others.filter((one) => one !== null))
      }),
      { numRuns: 300 },
    )
  })

  test('whatever the text: no throw, and what both take is the same', () => {
    const piece = fc.constantFrom(
      '---\n',
      '...\n',
      'a: 1\n',
      '  b: 2\n',
      '- x\n',
      '# c\n',
      '[',
      ']\n',
      '{',
      '}\n',
      '"',
      '|\n',
      '&a ',
      '*a',
      '\n',
      ' ',
      '%YAML 1.2\n',
      'k: ',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const text = pieces.join('')
        const mine = yamlDocuments(text)
        // The library that reads takes an indented mark for one; a document of hyphens means nothing to anybody.
        if (/^ +(?:---|\.\.\.)/m.test(text)) return
        const others = parseAllDocuments(text, { logLevel: 'silent' })
        if (!Array.isArray(others) || others.some((one) => one.errors.length > 0 || one.warnings.length > 0)) return
        if (mine.some((one) => 'fault' in one)) return
        let values: unknown[]
        try {
          values = others.map((one) => one.toJS({ maxAliasCount: 20 }) as unknown)
        } catch {
          return
        }
        if (JSON.stringify(values).includes('"":')) return // a key that is null: one says '', one 'null'
        expect(mine.map((one) => 'value' in one && one.value)).toEqual(values.filter((one) => one !== null))
      }),
      { numRuns: 2000 },
    )
  })
})
