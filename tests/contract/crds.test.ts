import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { parseGroupSpec, parsePolicySpec } from '#mesh/policy/parse-policy.ts'
import { root } from '#tests/support/parts.ts'

/** As much of a structural schema as the two files use. */
type Schema = {
  readonly type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean'
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly oneOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly minimum?: number
  readonly exclusiveMinimum?: boolean
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly minProperties?: number
  readonly maxProperties?: number
  readonly description?: string
}

const words = new Set(
  (
    'type properties additionalProperties items required oneOf enum pattern minimum exclusiveMinimum maximum minLength ' +
    'maxLength minItems maxItems minProperties maxProperties description'
  ).split(' '),
)

/** True where an API server with strict field validation takes the value. Source: Kubernetes, CustomResourceDefinition v1. */
function takes(schema: Schema, value: unknown): boolean {
  const odd = Object.keys(schema).find((word) => !words.has(word))
  if (odd !== undefined) throw new Error(`the test does not know the word ${odd}`)
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  const own = isObject ? Object.entries(value) : []
  const within = (size: number, min = 0, max = Number.POSITIVE_INFINITY): boolean => size >= min && size <= max
  switch (schema.type) {
    case undefined: // Within oneOf: what is said beside the type.
      if (own.some(([key, one]) => !takes(schema.properties?.[key] ?? {}, one))) return false
      if (typeof value === 'string' && !within([...value].length, schema.minLength, schema.maxLength)) return false
      break
    case 'object':
      if (!isObject || !within(own.length, schema.minProperties, schema.maxProperties)) return false
      for (const [key, one] of own) {
        const of = schema.properties?.[key] ?? schema.additionalProperties
        if (!of || !takes(of, one)) return false
      }
      break
    case 'array':
      if (!Array.isArray(value) || !within(value.length, schema.minItems, schema.maxItems)) return false
      if (!value.every((one) => takes(schema.items ?? {}, one))) return false
      break
    case 'string':
      if (typeof value !== 'string' || !within([...value].length, schema.minLength, schema.maxLength)) return false
      if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(value)) return false
      break
    case 'boolean':
      if (typeof value !== 'boolean') return false
      break
    default:
      if (typeof value !== 'number' || !within(value, schema.minimum, schema.maximum)) return false
      if (schema.type === 'integer' && !Number.isInteger(value)) return false
      if (schema.exclusiveMinimum && value === schema.minimum) return false
  }
  if (schema.enum && !schema.enum.includes(value)) return false
  if (schema.required?.some((key) => !own.some(([one]) => one === key))) return false
  return !schema.oneOf || schema.oneOf.filter((one) => takes(one, value)).length === 1
}

function specSchema(file: string): Schema {
  const crd = parse(readFileSync(join(root, 'infra/crds', file), 'utf8')) as {
    spec: { versions: { schema: { openAPIV3Schema: { properties: { spec: Schema } } } }[] }
  }
  const schema = crd.spec.versions[0]?.schema.openAPIV3Schema.properties.spec
  if (!schema) throw new Error(`${file} has no schema of spec`)
  return schema
}

const policy = specSchema('globaltrafficpolicies.yaml')
const group = specSchema('samenessgroups.yaml')

const isTaken = (parse: (value: unknown) => unknown, value: unknown): boolean => {
  try {
    parse(value)
    return true
  } catch {
    return false
  }
}

/** Every field with what is good and what is not. */
const number = fc.constantFrom<unknown>(0, 0.0001, 0.5, 1, 2, 10, 11, 60, 61, 100, 101, 1000, 1001, 1e9, 2e9, -1, '1')
const word = fc.constantFrom<unknown>('never', 'last', 'keep', 'own', 'none', 'region', 'drop', 'a-b', '', 'A', 7)
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 })
const fields = (shape: Record<string, fc.Arbitrary<unknown>>) =>
  fc
    .record(Object.fromEntries(Object.entries(shape).map(([key, value]) => [key, maybe(value)])))
    .map((found) => Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined)))
const target = fields({
  ...{ cluster: word, region: word, group: word, weight: number },
  capacity: fields({ requestsPerSecond: number, connections: number }),
})
const tier = fields({ name: word, prefer: word, targets: fc.array(target, { maxLength: 3 }) })
const anySpec = fields({
  services: fields({ namespace: word, names: fc.array(word, { maxLength: 2 }), labels: fields({ app: word }) }),
  ...{ tiers: fc.array(tier, { maxLength: 2 }), unlisted: word, keepUntilPercent: number, onExporterLost: word },
  retries: fields({ attempts: number, idempotent: fc.boolean(), perTrySeconds: number }),
  timeouts: fields({ connectSeconds: number, requestSeconds: number }),
  ejection: fields({ afterFailures: number, baseSeconds: number, maxSeconds: number }),
  failback: fields({ holdSeconds: number, rampSeconds: number }),
  probe: fields({
    kind: fc.constantFrom('http', 'grpc', 'tcp', 'udp'),
    port: number,
    path: fc.constantFrom('/', '/a', '', 'a', 7),
  }),
  connections: fields({ maxSeconds: number }),
  surprise: word,
})

test('the schema of a policy takes what the parser takes, and refuses what it refuses', () => {
  fc.assert(
    fc.property(anySpec, (spec) => {
      expect(takes(policy, spec)).toBe(isTaken(parsePolicySpec, spec))
    }),
    { numRuns: 300 },
  )
})

test('field by field: one that is wrong is refused by both, one that is good taken by both', () => {
  const good = { services: {}, tiers: [{ targets: [{ cluster: 'a' }] }] }
  for (const [key, values] of Object.entries({
    keepUntilPercent: [1, 100, 0, 101, 1.5],
    unlisted: ['never', 'last', 'first'],
    onExporterLost: ['keep', 'demote', 'drop', 'wait'],
    retries: [{}, { attempts: 10 }, { attempts: 11 }, { idempotent: 'yes' }, { perTrySeconds: 3600 }, { tries: 1 }],
    timeouts: [{ connectSeconds: 60 }, { connectSeconds: 60.1 }, { requestSeconds: 86_400 }, { requestSeconds: 0 }],
    ejection: [{ afterFailures: 0 }, { afterFailures: 1000 }, { baseSeconds: 3600 }, { maxSeconds: 86_401 }],
    failback: [{ holdSeconds: 0 }, { rampSeconds: 86_400 }, { rampSeconds: -1 }],
    probe: [
      ...[{}, { kind: 'http' }, { kind: 'udp' }, { kind: 'tcp', port: 65_535 }, { kind: 'tcp', port: 65_536 }],
      ...[
        { kind: 'http', path: '/a?b=c' },
        { kind: 'http', path: 'a' },
        { kind: 'http', path: '/a b' },
      ],
      ...[
        { kind: 'grpc', path: '/' },
        { kind: 'tcp', path: '' },
        { kind: 'http', path: `/${'a'.repeat(1024)}` },
      ],
      ...[
        { kind: 'http', everySeconds: 0.5 },
        { kind: 'http', everySeconds: 300 },
        { kind: 'http', everySeconds: 301 },
      ],
    ],
    connections: [{ maxSeconds: 604_800 }, { maxSeconds: 604_801 }, { maxSeconds: 1.5 }],
    services: [{ names: [] }, { labels: {} }, { names: ['a'] }, { namespace: 'A' }, { labels: { app: 'x' } }],
    tiers: [
      ...[[], [{}], [{ targets: [] }], [{ targets: [{ cluster: 'a', region: 'b' }] }], [{ targets: [{ weight: 1 }] }]],
      ...[0, 1, 1000, 1001].map((weight) => [{ targets: [{ group: 'a', weight }] }]),
      ...[{}, { requestsPerSecond: 0 }, { requestsPerSecond: 1 }, { connections: 1 }, { connections: 0 }].map(
        (capacity) => [{ targets: [{ region: 'a', capacity }] }],
      ),
      Array.from({ length: 17 }, () => ({ targets: [{ region: 'a' }] })),
      [{ targets: Array.from({ length: 65 }, () => ({ region: 'a' })) }],
    ],
  }))
    for (const value of values) {
      const spec = { ...good, [key]: value }
      expect([key, value, takes(policy, spec)]).toEqual([key, value, isTaken(parsePolicySpec, spec)])
    }
})

test('a group', () => {
  for (const spec of [
    {},
    { clusters: [] },
    { clusters: ['a', 'b'] },
    { clusters: ['A'] },
    { clusters: 'a' },
    { all: 1 },
  ])
    expect([spec, takes(group, spec)]).toEqual([spec, isTaken(parseGroupSpec, spec)])
})
