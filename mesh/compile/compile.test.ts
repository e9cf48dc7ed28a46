import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compile, compileOne } from '#mesh/compile/compile.ts'
import { anyFleet, fleet, member, name, names, offer, port, ratings, reviews } from '#mesh/compile/testdata/fleet.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import { type ClusterName, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { clusterConfigHash, entriesOf } from '#mesh/wire/cluster-config.ts'

function configOf(given: Fleet, cluster: string): ClusterConfig {
  const config = compile(given).get(name(cluster))
  if (!config) throw new Error(`no config for ${cluster}`)
  return config
}
const bytes = (config: ClusterConfig): string => canonicalJson([...entriesOf(config)])
const told = (config: ClusterConfig): string[] => config.conditions.map((c) => `${c.type} ${c.object}`)
const sourcesOf = (config: ClusterConfig): string[] =>
  (config.imports.get(reviews)?.sources ?? []).map((s) => `${s.cluster}:${s.ports.join()}`)

describe('who may call what', () => {
  test('an export reaches every member, its own cluster too, with exact identities', () => {
    const given = fleet([member('a', [offer(reviews, { serviceAccounts: ['y', 'x'] })]), member('b')])
    for (const cluster of ['a', 'b'])
      expect(configOf(given, cluster).imports.get(reviews)?.sources).toEqual([
        {
          cluster: 'a',
          network: 'net-a',
          region: 'r1',
          trustDomain: 'a.mesh1',
          identities: ['spiffe://a.mesh1/ns/bookinfo/sa/x', 'spiffe://a.mesh1/ns/bookinfo/sa/y'],
          ports: [9080],
          since: 1000,
        },
      ])
    expect(configOf(given, 'a').exports.get(reviews)).toMatchObject({ consumers: ['b'], admitted: ['b.mesh1'] })
    expect(configOf(given, 'b').exports.size).toBe(0)
  })

  test('a cluster that asks for a name of its own is the only source that has one', () => {
    const given = fleet([
      member('a', [offer(reviews, { perCluster: true })]),
      member('b', [offer(reviews)]),
      member('c'),
    ])
    for (const cluster of ['a', 'b', 'c'])
      expect(configOf(given, cluster).imports.get(reviews)?.sources).toMatchObject([
        { cluster: 'a', perCluster: true },
        { cluster: 'b' },
      ])
    expect(bytes(configOf(given, 'c')).split('perCluster')).toHaveLength(2)
  })

  test('consumers: the others get no import and are not admitted', () => {
    const given = fleet([member('a', [offer(reviews, { consumers: names('b') })]), member('b'), member('c')])
    expect(configOf(given, 'b').imports.has(reviews)).toBe(true)
    expect(configOf(given, 'c').imports.size).toBe(0)
    expect(configOf(given, 'a').exports.get(reviews)).toMatchObject({ consumers: ['b'], admitted: ['b.mesh1'] })
  })

  test('an export to nobody still serves its own cluster', () => {
    const given = fleet([member('a', [offer(reviews, { consumers: [] })]), member('b')])
    expect(sourcesOf(configOf(given, 'a'))).toEqual(['a:9080'])
    expect(configOf(given, 'a').exports.get(reviews)).toMatchObject({ consumers: [], admitted: [] })
    expect(configOf(given, 'b').imports.size).toBe(0)
  })

  test('the operator narrows and never widens, and the exporter is told', () => {
    const a = member('a', [offer(reviews, { consumers: names('b', 'c') })])
    const others = [member('b'), member('c'), member('d')]
    const given = fleet([a, ...others], [{ key: reviews, consumers: names('c', 'd') }])
    expect(configOf(given, 'a').exports.get(reviews)?.consumers).toEqual(['c'])
    expect(told(configOf(given, 'a'))).toEqual(['Narrowed service bookinfo/reviews'])
    expect(configOf(given, 'd').imports.size).toBe(0)
  })

  test('workloads of other meshes: by name alone, where every list names them and they are federated', () => {
    const partner = parseTrustDomain('partner.example')
    const of = (consumers: readonly string[] | undefined, narrowing?: readonly string[], foreign = [partner]) => {
      const members = [member('a', [offer(reviews, consumers ? { consumers } : {})]), member('b')]
      const given = fleet(members, narrowing ? [{ key: reviews, consumers: narrowing }] : [])
      const config = configOf({ ...given, foreign }, 'a')
      const { consumers: who, foreign: others = [] } = config.exports.get(reviews) ?? {}
      return [[...(who ?? []), ...others].join(' '), told(config).join()]
    }
    const asked = ['spiffe://partner.example']
    expect(of(undefined)).toEqual(['b', ''])
    expect(of(['*'])).toEqual(['b', ''])
    expect(of(asked)).toEqual(['partner.example', ''])
    expect(of(['*', ...asked])).toEqual(['b partner.example', ''])
    expect(of(asked, undefined, [])).toEqual(['', 'UnknownConsumer service bookinfo/reviews'])
    expect(of(['partner.example'])).toEqual(['', 'UnknownConsumer service bookinfo/reviews'])
    expect(of(['*', ...asked], ['*'])).toEqual(['b', 'Narrowed service bookinfo/reviews'])
    expect(of(['*', ...asked], asked)).toEqual(['partner.example', 'Narrowed service bookinfo/reviews'])
    // It narrows and never widens.
    expect(of(['b'], asked)).toEqual(['', 'Narrowed service bookinfo/reviews'])
    expect(of(undefined, ['*', ...asked])).toEqual(['b', ''])
  })

  test('a narrowing of one exporter leaves the others alone', () => {
    const members = [member('a', [offer(reviews)]), member('b', [offer(reviews)]), member('c')]
    const given = fleet(members, [{ key: reviews, cluster: name('a'), consumers: [] }])
    expect(sourcesOf(configOf(given, 'c'))).toEqual(['b:9080'])
    expect(sourcesOf(configOf(given, 'a'))).toEqual(['a:9080', 'b:9080'])
    expect(told(configOf(given, 'b'))).toEqual([])
  })

  test.each(['nobody', 'group/prod'])(
    'consumer "%s" is no member: a condition on the exporter, the rest stands',
    (who) => {
      const consumers = ['b', who] as ClusterName[]
      const given = fleet([member('a', [offer(reviews, { consumers })]), member('b')])
      expect(told(configOf(given, 'a'))).toEqual(['UnknownConsumer service bookinfo/reviews'])
      expect(configOf(given, 'a').conditions[0]?.message).toContain(`"${who}"`)
      expect(sourcesOf(configOf(given, 'b'))).toEqual(['a:9080'])
      expect(told(configOf(given, 'b'))).toEqual([])
    },
  )

  test('an item of a report that is not understood: its cluster is told, and nobody else', () => {
    const setAside = [{ key: 'export/bookinfo/reviews', reason: 'ports: Invalid input' }]
    const given = fleet([member('a', [offer(ratings)], { setAside }), member('b')])
    expect(told(configOf(given, 'a'))).toEqual(['SetAside service bookinfo/reviews'])
    expect(configOf(given, 'a').conditions[0]?.message).toContain('ports: Invalid input')
    expect(told(configOf(given, 'b'))).toEqual([])
    expect(configOf(given, 'b').imports.has(ratings)).toBe(true)
  })

  test('a refused import is left out at the refuser only', () => {
    const given = fleet([
      member('a', [offer(reviews), offer(ratings)]),
      member('b', [], { refused: new Set([reviews]) }),
      member('c'),
    ])
    expect([...configOf(given, 'b').imports.keys()]).toEqual([ratings])
    expect([...configOf(given, 'c').imports.keys()]).toEqual([ratings, reviews])
  })

  test.each([[[]], [['Not A Name', '../x']]])(
    'accounts %j: nobody imports it, its exporter hears why',
    (serviceAccounts) => {
      const given = fleet([member('a', [offer(reviews, { serviceAccounts })]), member('b')])
      expect(configOf(given, 'b').imports.size).toBe(0)
      expect(configOf(given, 'a').imports.size).toBe(0)
      expect(told(configOf(given, 'a'))).toEqual(['NotImportable service bookinfo/reviews'])
      expect(configOf(given, 'a').exports.get(reviews)?.admitted).toEqual(['b.mesh1'])
    },
  )

  test('tiers follow the caller: own, region, rest', () => {
    const given = fleet([
      member('a', [offer(reviews)], { region: 'r1' }),
      member('b', [offer(reviews)], { region: 'r2' }),
      member('c', [offer(reviews)], { region: 'r2' }),
      member('d', [], { region: 'r1' }),
    ])
    const tiers = (cluster: string): string[] =>
      (configOf(given, cluster).imports.get(reviews)?.tiers ?? []).map((t) => t.members.map((m) => m.cluster).join('+'))
    expect(tiers('a')).toEqual(['a', 'b+c'])
    expect(tiers('b')).toEqual(['b', 'c', 'a'])
    expect(tiers('d')).toEqual(['a', 'b+c'])
  })
})

describe('exporters that disagree', () => {
  const older = offer(reviews, { ports: [port(80, 'http', 'web'), port(90, 'tcp', 'data')], createdAt: 1 })
  const younger = offer(reviews, { ports: [port(80, 'grpc', 'web'), port(91, 'tcp', 'more')], createdAt: 2 })

  test('the oldest wins the port, the loser keeps its others and is told', () => {
    const given = fleet([member('b', [older]), member('a', [younger]), member('c')])
    const config = configOf(given, 'c')
    expect(config.imports.get(reviews)?.ports.map((p) => `${p.port} ${p.protocol}`)).toEqual([
      '80 http',
      '90 tcp',
      '91 tcp',
    ])
    expect(sourcesOf(config)).toEqual(['a:91', 'b:80,90'])
    expect(told(configOf(given, 'a'))).toEqual(['Conflict service bookinfo/reviews'])
    expect(configOf(given, 'a').conditions[0]?.message).toContain('port 80 ')
    expect(configOf(given, 'a').conditions[0]?.message).toContain('export of b,')
    expect(told(configOf(given, 'b'))).toEqual([])
    expect(told(configOf(given, 'c'))).toEqual([])
  })

  test('of the same age the first name wins', () => {
    const given = fleet([member('b', [older]), member('a', [{ ...younger, createdAt: 1 }]), member('c')])
    expect(sourcesOf(configOf(given, 'c'))).toEqual(['a:80,91', 'b:90'])
    expect(told(configOf(given, 'b'))).toEqual(['Conflict service bookinfo/reviews'])
  })

  test('no other cluster takes a port away from a cluster’s own callers', () => {
    const given = fleet([member('b', [older]), member('a', [younger])])
    expect(sourcesOf(configOf(given, 'a'))).toEqual(['a:80,91', 'b:90'])
  })

  test('one port name with two numbers is a disagreement too', () => {
    const given = fleet([
      member('a', [offer(reviews, { ports: [port(80, 'http', 'web')], createdAt: 1 })]),
      member('b', [offer(reviews, { ports: [port(8080, 'http', 'web')], createdAt: 2 })]),
      member('c'),
    ])
    expect(sourcesOf(configOf(given, 'c'))).toEqual(['a:80'])
    expect(told(configOf(given, 'b'))).toEqual(['Conflict service bookinfo/reviews'])
  })

  test('the oldest decides whether it is headless and whether clients stay, the others are told', () => {
    const given = fleet([
      member('a', [offer(reviews, { headless: true, createdAt: 2 })]),
      member('b', [offer(reviews, { sticky: true, createdAt: 1 })]),
      member('c'),
    ])
    for (const cluster of ['a', 'b', 'c'])
      expect(configOf(given, cluster).imports.get(reviews)).toMatchObject({ sticky: true })
    expect(configOf(given, 'c').imports.get(reviews)).not.toHaveProperty('headless')
    expect(configOf(given, 'a').conditions.map(({ reason }) => reason)).toEqual([
      'SessionAffinityConflict',
      'TypeConflict',
    ])
    expect(told(configOf(given, 'b'))).toEqual([])
  })

  test('under a headless one nobody is told of session affinity', () => {
    const given = fleet([
      member('a', [offer(reviews, { headless: true, createdAt: 1 })]),
      member('b', [offer(reviews, { headless: true, sticky: true, createdAt: 2 })]),
    ])
    expect(configOf(given, 'b').imports.get(reviews)).toMatchObject({ headless: true })
    expect(told(configOf(given, 'b'))).toEqual([])
  })

  test('exports that no importer sees together do not clash', () => {
    const given = fleet([
      member('a', [{ ...older, consumers: names('c') }]),
      member('b', [{ ...younger, consumers: names('d') }]),
      member('c'),
      member('d'),
    ])
    expect(told(configOf(given, 'b'))).toEqual([])
    expect(sourcesOf(configOf(given, 'd'))).toEqual(['b:80,91'])
  })

  test('the loser hears of a clash but not of a cluster that does not export to it', () => {
    const given = fleet([
      member('secret', [{ ...older, consumers: names('c') }]),
      member('b', [{ ...younger, consumers: names('c') }]),
      member('c'),
    ])
    expect(told(configOf(given, 'b'))).toEqual(['Conflict service bookinfo/reviews'])
    expect(JSON.stringify(configOf(given, 'b').conditions)).not.toContain('secret')
  })

  test('a Service that lists one port twice is told about itself', () => {
    const given = fleet([
      member('a', [offer(reviews, { ports: [port(80, 'http', 'x'), port(80, 'tcp', 'y')] })]),
      member('b'),
    ])
    expect(configOf(given, 'a').conditions[0]?.message).toContain('another port of the same Service')
    expect(sourcesOf(configOf(given, 'b'))).toEqual(['a:80'])
  })
})

describe('whatever the fleet', () => {
  const shuffled = (given: Fleet, seed: number): Fleet => {
    const mix = <T>(items: readonly T[]): T[] =>
      seed % 2 ? items.toReversed() : [...items.slice(1), ...items.slice(0, 1)]
    return {
      ...given,
      members: mix(given.members).map((m) => ({
        ...m,
        exports: new Map(
          mix([...m.exports]).map(([key, e]) => [
            key,
            {
              ...e,
              ports: mix(e.ports),
              serviceAccounts: mix(e.serviceAccounts),
              ...(e.consumers ? { consumers: mix(e.consumers) } : {}),
            },
          ]),
        ),
      })),
      narrowings: mix(given.narrowings).map((n) => ({ ...n, consumers: mix(n.consumers) })),
    }
  }

  test('any order of input gives equal bytes, and one cluster alone gives the same', () => {
    fc.assert(
      fc.property(anyFleet, fc.nat(), (given, seed) => {
        const other = compile(shuffled(given, seed))
        for (const [cluster, config] of compile(given)) {
          const same = other.get(cluster)
          expect(same && bytes(same)).toBe(bytes(config))
          expect(bytes(compileOne(given, cluster))).toBe(bytes(config))
          expect(clusterConfigHash(new Map([...entriesOf(config)].toReversed()))).toBe(
            clusterConfigHash(entriesOf(config)),
          )
        }
      }),
    )
  })

  test('nothing not exported to a cluster is named in its config', () => {
    fc.assert(
      fc.property(anyFleet, (given) => {
        for (const config of compile(given).values()) {
          const all = [...entriesOf(config)].filter(([key]) => key !== 'trust') // members as such are known to all
          const text = canonicalJson(all)
          const others = given.members.filter((m) => m.name !== config.cluster)
          for (const key of others.flatMap((m) => [...m.exports.keys()])) {
            const imported = canonicalJson(all.filter(([k]) => k === `import/${key}`))
            const clashes = JSON.stringify(
              config.conditions.filter((c) => c.type === 'Conflict' && c.object.endsWith(key)),
            )
            for (const exporter of others.filter((m) => !lets(given, m, key, config.cluster))) {
              expect(imported + clashes).not.toContain(exporter.name)
              for (const account of exporter.exports.get(key)?.serviceAccounts ?? [])
                expect(imported + clashes).not.toContain(account)
            }
            const isTold = given.members.some((m) => lets(given, m, key, config.cluster))
            if (!isTold) expect(text).not.toContain(key)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  /** The rule once more, by hand: may `to` know of this cluster's export? */
  function lets(given: Fleet, exporter: Member, key: ServiceKey, to: ClusterName): boolean {
    const exported = exporter.exports.get(key)
    if (!exported) return false
    const lists = [
      exported.consumers,
      ...given.narrowings
        .filter((n) => n.key === key && (n.cluster ?? exporter.name) === exporter.name)
        .map((n) => n.consumers),
    ]
    return exporter.name === to || lists.every((list) => list === undefined || list.includes(to))
  }

  test('a change to one service changes only the entries that name it', () => {
    fc.assert(
      fc.property(anyFleet, anyFleet, fc.nat(), (given, donor, pick) => {
        const index = pick % given.members.length
        const key = [...(donor.members[0]?.exports.keys() ?? [])][0]
        if (!key) return
        const after: Fleet = {
          ...given,
          members: given.members.map((m, i) => {
            if (i !== index) return m
            const exports = new Map(m.exports)
            const replacement = donor.members.find((d) => d.name === m.name)?.exports.get(key)
            if (replacement) exports.set(key, replacement)
            else exports.delete(key)
            return { ...m, exports }
          }),
        }
        const next = compile(after)
        for (const [cluster, config] of compile(given)) {
          const was = entriesOf(config)
          const config2 = next.get(cluster)
          if (!config2) throw new Error('a config went missing')
          const is = entriesOf(config2)
          for (const k of new Set([...was.keys(), ...is.keys()])) {
            if (k === 'conditions' || k.endsWith(key)) continue
            expect(canonicalJson(is.get(k) ?? null)).toBe(canonicalJson(was.get(k) ?? null))
          }
          const rest = (c: ClusterConfig): unknown => c.conditions.filter((x) => x.object !== `service ${key}`)
          expect(rest(config2)).toEqual(rest(config))
        }
      }),
    )
  })

  test('a member without exports changes only trust and who is admitted', () => {
    fc.assert(
      fc.property(anyFleet, (given) => {
        const next = compile({ ...given, members: [...given.members, member('newcomer')] })
        for (const [cluster, config] of compile(given)) {
          const after = next.get(cluster)
          if (!after) throw new Error('a config went missing')
          const is = entriesOf(after)
          for (const [k, body] of entriesOf(config)) {
            if (k === 'trust' || k.startsWith('export/') || k === 'conditions') continue
            expect(canonicalJson(is.get(k) ?? null)).toBe(canonicalJson(body))
          }
          expect([...is.keys()].filter((k) => k !== 'conditions')).toEqual(
            [...entriesOf(config).keys()].filter((k) => k !== 'conditions'),
          )
        }
      }),
    )
  })

  test('clusters of one region that see the same share one object', () => {
    const configs = compile(fleet([member('a', [offer(reviews)]), member('b'), member('c')]))
    expect(configs.get(name('b'))?.imports.get(reviews)).toBe(configs.get(name('c'))?.imports.get(reviews))
  })

  test('two members of one name: nothing is compiled', () => {
    expect(() => compile(fleet([member('a'), member('a')]))).toThrow('two members of one name')
    expect(() => compileOne(fleet([member('a')]), name('b'))).toThrow('no cluster "b"')
  })
})

describe('conditions are bounded, and say what they leave out', () => {
  const wrong = (count: number, prefix: string) => Array.from({ length: count }, (_, n) => `${prefix}-${n}`)
  const about = (n: number): ServiceKey => serviceKey('shop', `svc-${String(n).padStart(4, '0')}`)

  test('a list of a thousand wrong names and groups is two conditions', () => {
    const consumers = [...wrong(800, 'nobody'), ...wrong(200, 'group/none')]
    const { conditions } = configOf(fleet([member('a', [offer(reviews, { consumers })])]), 'a')
    expect(conditions.map((c) => c.message)).toEqual([
      expect.stringMatching(/"nobody-0", .* and 795 more; correct/),
      expect.stringMatching(/"group\/none-0", .* and 195 more; make those groups/),
    ])
  })

  test('a hundred ports of one service that clash: five lines', () => {
    const ports = (protocol: 'http' | 'tcp') => Array.from({ length: 90 }, (_, n) => port(1000 + n, protocol, `p-${n}`))
    const older = offer(reviews, { ports: ports('http'), createdAt: 1 })
    const younger = offer(reviews, { ports: ports('tcp'), createdAt: 2 })
    const { conditions } = configOf(fleet([member('a', [younger]), member('b', [older]), member('c')]), 'a')
    expect(conditions.map((c) => c.type)).toEqual(Array(5).fill('Conflict'))
    expect(conditions.map((c) => c.message)).toContain('and 86 more of this kind: mend the others first')
  })

  test('a thousand exports with one wrong name each leave room for the one that has no pods', () => {
    const many = wrong(1000, 'x').map((_, n) => offer(about(n), { consumers: ['nobody'] }))
    const last = offer(serviceKey('zoo', 'last'), { serviceAccounts: [] })
    const { conditions } = configOf(fleet([member('a', [...many, last])]), 'a')
    expect(conditions).toHaveLength(101)
    expect(told({ conditions } as ClusterConfig)).toContain('NotImportable service zoo/last')
    const [cut] = conditions.filter((c) => c.object === 'cluster')
    expect(cut?.message).toMatch(/^and 901 more of this kind \(service shop\/svc-0099, .* and 896 more\)/)
  })

  test('set aside by the thousand: a hundred lines', () => {
    const setAside = wrong(5000, 'export/shop/svc').map((key) => ({ key, reason: 'ports: odd' }))
    expect(configOf(fleet([member('a', [], { setAside })]), 'a').conditions).toHaveLength(100)
  })
})

test('an export carries the latest revocation that ends what is open on it, and no other does', () => {
  const cuts = [
    { cut: 2, exports: new Set([`a/${reviews}`, `b/${reviews}`]) },
    { cut: 5, exports: new Set([`a/${reviews}`]) },
  ]
  const given = { ...fleet([member('a', [offer(reviews), offer(ratings)]), member('b', [offer(reviews)])]), cuts }
  const cutOf = (cluster: string, key: ServiceKey) => compileOne(given, name(cluster)).exports.get(key)?.cut
  expect([cutOf('a', reviews), cutOf('b', reviews), cutOf('a', ratings)]).toEqual([5, 2, undefined])
})

test('who called what is revoked ends it: at its own name, and at the HTTP port that it shares with others', () => {
  const cuts = [
    { cut: 2, exports: new Set<string>(), callers: new Set([`b:${reviews}`, 'b:9080', 'bb:80']) },
    { cut: 5, exports: new Set<string>(), callers: new Set(['b:9080', 'b:80']) },
  ]
  const given = { ...fleet([member('a', [offer(reviews), offer(ratings)]), member('b'), member('c')]), cuts }
  const { imports, trust } = compileOne(given, name('b'))
  expect([imports.get(reviews)?.cut, imports.get(ratings)?.cut]).toEqual([2, undefined])
  expect(trust.cuts).toEqual([
    { port: 80, cut: 5 },
    { port: 9080, cut: 5 },
  ])
  expect([compileOne(given, name('c')).trust.cuts, compileOne(given, name('c')).imports.get(reviews)?.cut]).toEqual([
    undefined,
    undefined,
  ])
})
