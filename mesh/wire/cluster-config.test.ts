import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compile, compileOne } from '#mesh/compile/compile.ts'
import { anyFleet, fleet, member, name, offer, port, reviews } from '#mesh/compile/testdata/fleet.ts'
import type { CompiledPolicy } from '#mesh/model/cluster-config.ts'
import { clusterConfigHash, entriesOf, parseClusterConfig } from '#mesh/wire/cluster-config.ts'

const config = compileOne(fleet([member('a', [offer(reviews)]), member('b')]), name('a'))
const good = (): Map<string, unknown> => new Map(JSON.parse(JSON.stringify([...entriesOf(config)])))

test('what was compiled is read back, over JSON, in any order', () => {
  fc.assert(
    fc.property(anyFleet, (given) => {
      for (const compiled of compile(given).values()) {
        const sent: [string, unknown][] = JSON.parse(JSON.stringify([...entriesOf(compiled)]))
        expect(parseClusterConfig(new Map(sent.toReversed()))).toEqual(compiled)
      }
    }),
  )
})

test('fields and items of a newer centre are ignored', () => {
  const entries = good()
  entries.set('weather', { sun: true })
  entries.set('self', { ...(entries.get('self') as object), colour: 'green' })
  expect(parseClusterConfig(entries)).toEqual(config)
})

test('the facts of trust that a relay acts on travel, and an older centre says none of them', () => {
  const cuts = [{ port: 80, cut: 7 }]
  const trust = { ...config.trust, issuingBefore: 5, generation: 2, shared: true as const, cuts }
  const imports = new Map([...config.imports].map(([key, service]) => [key, { ...service, cut: 7 }]))
  const exports = new Map([...config.exports].map(([key, service]) => [key, { ...service, cut: 7 }]))
  const sent = JSON.parse(JSON.stringify([...entriesOf({ ...config, trust, imports, exports })]))
  expect(parseClusterConfig(new Map(sent))).toEqual({ ...config, trust, imports, exports })
  expect(JSON.stringify([...entriesOf(config)])).not.toMatch(/issuingBefore|generation|shared|cut/)
})

test('what a policy says travels whole, and without one nothing is said', () => {
  const policy: CompiledPolicy = {
    ...{ name: 'bookinfo/reviews@3', holdSeconds: 60, rampSeconds: 300, onExporterLost: 'keep', idempotent: true },
    ...{ perTryMs: 500, requestMs: 2000, baseEjectionMs: 5000, maxEjectionMs: 60_000, connectionMaxMs: 600_000 },
    ...{ spillByReadiness: true, tierOf: [0, 0, 1] },
    probe: { kind: 'http', port: 9080, path: '/healthz', everyMs: 3000 },
  }
  const drains = [{ cluster: name('a'), percent: 50 }]
  const tiers = [{ members: [{ cluster: name('a'), weight: 7, capacity: { requestsPerSecond: 0.5, connections: 9 } }] }]
  const imports = new Map([...config.imports].map(([key, one]) => [key, { ...one, policy, drains, tiers }]))
  const sent = JSON.parse(JSON.stringify([...entriesOf({ ...config, imports })]))
  expect(parseClusterConfig(new Map(sent))).toEqual({ ...config, imports })
  expect(JSON.stringify([...entriesOf(config)])).not.toMatch(/policy|drains|capacity/)
  // One that only a newer centre knows how to make is not made, and refuses nothing.
  const newer = new Map<string, unknown>(
    JSON.parse(JSON.stringify(sent).replaceAll('"kind":"http"', '"kind":"smtp"')) as [string, unknown][],
  )
  const read = [...parseClusterConfig(newer).imports.values()].map(({ policy: one }) => one)
  const { probe: _, ...others } = policy
  expect(read).toEqual(read.map(() => others))
})

test('the hash moves with the content and with nothing else', () => {
  const same = compileOne(fleet([member('b'), member('a', [offer(reviews)])]), name('a'))
  const other = compileOne(fleet([member('b'), member('a', [offer(reviews, { serviceAccounts: ['x'] })])]), name('a'))
  expect(clusterConfigHash(entriesOf(same))).toBe(clusterConfigHash(entriesOf(config)))
  expect(clusterConfigHash(entriesOf(other))).not.toBe(clusterConfigHash(entriesOf(config)))
})

test('conditions that make no sense cost only themselves, and that is said', () => {
  const texts = { type: 'T', reason: 'R', object: 'cluster' }
  for (const conditions of [[1], [{ ...texts, message: 'x'.repeat(5000) }], 'none']) {
    const entries = good().set('conditions', { conditions })
    const read = parseClusterConfig(entries)
    expect(read).toEqual({ ...config, conditions: [expect.objectContaining({ type: 'Unreadable' })] })
    expect(read.conditions[0]?.message).toContain('conditions.conditions')
  }
})

test('a text of any length is cut where it is sent and read where it comes', () => {
  const told = { type: 'T', reason: 'R', object: 'cluster', message: 'x'.repeat(5000) }
  const [read] = parseClusterConfig(entriesOf({ ...config, conditions: [told] })).conditions
  expect(read).toEqual({ ...told, message: `${'x'.repeat(1023)}…` })
})

/** Long names that disagree about everything: every list of names in a text is as long as the fleet. */
function largeFleet(size: number, portNames: readonly string[]) {
  const all = Array.from({ length: size }, (_, i) => name(`c${i}-`.padEnd(59, 'x')))
  const members = all.map((cluster, i) => {
    const ports = [port(80, 'http', portNames[i % portNames.length])]
    const own = { ports, createdAt: i, consumers: [...all, `no-${i}`, 'group/prod'] }
    return member(cluster, [offer(reviews, own)])
  })
  const late = member('late', [offer(reviews, { ports: [port(80, 'tcp', 'late')], createdAt: size })])
  return fleet([...members, late], [{ key: reviews, consumers: all.slice(1) }])
}

test('what was compiled for a large fleet is read back by every member, every condition too', () => {
  const portNames = fc.array(fc.constantFrom('x', 'y', 'z'), { minLength: 1, maxLength: 9 })
  fc.assert(
    fc.property(fc.integer({ min: 80, max: 120 }), portNames, (size, given) => {
      for (const compiled of compile(largeFleet(size, given)).values()) {
        const read = parseClusterConfig(new Map(JSON.parse(JSON.stringify([...entriesOf(compiled)]))))
        expect(read.conditions.map((c) => c.type)).toEqual(compiled.conditions.map((c) => c.type))
        for (const { message } of compiled.conditions) expect(message.length).toBeLessThan(1024)
      }
    }),
    { numRuns: 4 },
  )
})

describe('nonsense in one item refuses the whole', () => {
  type Edit = (entries: Map<string, unknown>) => void
  const edit = (key: string, change: (body: Record<string, never>) => unknown): Edit => {
    return (entries) => entries.set(key, change(entries.get(key) as Record<string, never>))
  }
  const service = 'import/bookinfo/reviews'
  const cases: [string, Edit, string][] = [
    ['no self', (e) => e.delete('self'), 'self'],
    ['no trust', (e) => e.delete('trust'), 'trust'],
    ['a cluster that is no label', edit('self', (b) => ({ ...b, cluster: 'A_b' })), 'self.cluster'],
    ['a root that is no certificate', edit('trust', (b) => ({ ...b, roots: ['x'] })), 'trust.roots.0'],
    ['an item that is no object', edit(service, () => 7), service],
    [
      'a key that is no service',
      (e) => e.set('export/Book_info/x', e.get('export/bookinfo/reviews')),
      'export/Book_info/x',
    ],
    ['a key of three parts', (e) => e.set('export/a/b/c', e.get('export/bookinfo/reviews')), 'export/a/b/c'],
    ['no tiers', edit(service, (b) => ({ ...b, tiers: [] })), `${service}.tiers`],
    [
      'a tier of a stranger',
      edit(service, (b) => ({ ...b, tiers: [{ members: [{ cluster: 'z', weight: 1 }] }] })),
      service,
    ],
    [
      'weight 0',
      edit(service, (b) => ({ ...b, tiers: [{ members: [{ cluster: 'a', weight: 0 }] }] })),
      `${service}.tiers.0`,
    ],
    [
      'an identity of another trust domain',
      edit(service, (b) => ({
        ...b,
        sources: [{ ...(b['sources'] as unknown as object[])[0], trustDomain: 'a.mesh2' }],
      })),
      `${service}.sources.0`,
    ],
    ['a port nobody settled', edit(service, (b) => ({ ...b, ports: [] })), service],
  ]
  test.each(cases)('%s', (_name, change, path) => {
    const entries = good()
    change(entries)
    expect(() => parseClusterConfig(entries)).toThrow(
      expect.objectContaining({
        kind: 'invalid',
        violations: expect.arrayContaining([expect.objectContaining({ path: expect.stringContaining(path) })]),
      }),
    )
  })
})
