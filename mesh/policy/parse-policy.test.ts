import { expect, test } from 'vitest'
import { Problem } from '#mesh/model/problem.ts'
import { parsePolicySpec } from '#mesh/policy/parse-policy.ts'

function said(spec: unknown): string[] {
  try {
    parsePolicySpec(spec)
    return []
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return error.violations.map(({ path, reason }) => `${path}: ${reason}`)
  }
}
const ofLabels = (labels: unknown): string[] => said({ services: { labels } })

test.each([
  ['services that are left out', {}, 'spec.services: say which services it is for: names, labels, a namespace, or {}'],
  ['services that are no object', { services: 'all' }, 'spec.services: Invalid input: expected object'],
  ['an unknown field', { services: { name: 'x' } }, 'spec.services.name: there is no such field'],
  ['a field that is hidden', JSON.parse('{"services":{},"__proto__":1}'), 'spec.__proto__: there is no such field'],
  [
    'one that is hidden deeper',
    JSON.parse('{"services":{},"tiers":[{"targets":[{"region":"r","__proto__":{}}]}]}'),
    'spec.tiers[0].targets[0].__proto__: there is no such field',
  ],
])('%s: refused by its path', (_what, spec, reason) => expect(said(spec).join()).toContain(reason))

test('a label that no Service can carry is refused; a selector never loses one', () => {
  expect(ofLabels(JSON.parse('{"app":"x","__proto__":"y"}'))).toHaveLength(1)
  expect(ofLabels('app=x')).toHaveLength(1)
  expect(ofLabels({ ä: 'x', 'a/b/c': 'x', '/b': 'x', app: 'x y' })).toHaveLength(4)
  expect(ofLabels({ constructor: 'x', 'app.kubernetes.io/name': 'a-b_c.d', app: '' })).toEqual([])
})

test('of many violations all are counted', () => {
  const targets = Array.from({ length: 64 }, () => ({ cluster: 'Not A Label', weight: 0 }))
  expect(() => parsePolicySpec({ services: {}, tiers: [{ targets }, { targets }] })).toThrow('(and 255 more)')
})

test('a probe: every reason at once, each by its path', () => {
  const probed = (probe: unknown): string[] => said({ services: {}, probe })
  expect(probed({ kind: 'http', path: '/healthz?full=1', port: 9080, everySeconds: 10 })).toEqual([])
  expect([probed({ kind: 'tcp' }), probed({ kind: 'grpc', port: 1 })]).toEqual([[], []])
  const paths = probed({ kind: 'smtp', port: 0, path: 'x', everySeconds: 0.5, pathh: '/' }).map(
    (one) => one.split(':')[0],
  )
  expect(paths.toSorted()).toEqual(
    ['everySeconds', 'kind', 'path', 'pathh', 'port'].map((field) => `spec.probe.${field}`),
  )
  for (const path of ['', 'healthz', '/a b', '/a#b', '/ä', `/${'x'.repeat(1024)}`, '/a\r\nx: y'])
    expect(probed({ kind: 'http', path })[0]).toContain('spec.probe.path: is no path')
  expect(probed({ kind: 'grpc', path: '/x' })).toEqual([
    'spec.probe.path: is of http probes only, and this one is grpc',
  ])
  expect(probed({ kind: 'tcp', everySeconds: 301 })).toHaveLength(1)
})
