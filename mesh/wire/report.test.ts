import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { labelFault, serviceKey } from '#mesh/model/id.ts'
import { parseReportKey } from '#mesh/wire/report.ts'

describe('the key of a reported item', () => {
  test.each([
    'export/shop/web-',
    'export/shop-/web',
    'summary/shop/-web',
    'refuse/shop/Web',
    `export/shop/${'x'.repeat(64)}`,
    'export/shop/a.b',
    'export/shop/web/x',
    'export/shop/',
    'export//web',
    'export/shop',
    'other/shop/web',
    'trust/shop/web',
    'export/shop/web\n',
    '',
  ])('%j is of no known shape', (key) => expect(parseReportKey(key)).toBeUndefined())

  test.each(['cluster', 'gateways', 'trust'] as const)('%s stands alone', (key) =>
    expect(parseReportKey(key)).toEqual({ key, kind: key }),
  )

  test('what it accepts is a service key, and every service key is accepted', () => {
    const text = fc.stringMatching(/^[-a-z0-9A-Z./]{0,66}$/)
    fc.assert(
      fc.property(text, text, fc.constantFrom('export', 'summary', 'refuse'), (namespace, name, kind) => {
        const isKey = labelFault(namespace) === undefined && labelFault(name) === undefined
        const item = parseReportKey(`${kind}/${namespace}/${name}`)
        expect(item !== undefined).toBe(isKey)
        if (item) expect(item).toMatchObject({ kind, service: serviceKey(namespace, name) })
      }),
      { numRuns: 500 },
    )
  })
})
