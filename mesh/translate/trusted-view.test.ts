import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ClusterName, TrustDomain } from '#mesh/model/id.ts'
import { type ResourceSet, typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import { createMemo } from '#mesh/translate/memo.ts'
import { fleet, kinds } from '#mesh/translate/testdata/any-case.ts'
import { type CaseText, caseOf, readCase } from '#mesh/translate/testdata/case.ts'
import { jsonOf, type PlainJson } from '#mesh/translate/testdata/golden.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { trustedView } from '#mesh/translate/trusted-view.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { selfSigned } from '#tests/support/self-signed.ts'

const render = ({ view, proxy }: ReturnType<typeof caseOf>) => createTranslator().resourcesFor(view, proxy)
const all = (set: ResourceSet): readonly XdsResource[] =>
  Object.values(typeUrls).flatMap((type) => [...(set[type]?.values() ?? [])])
const versions = (set: ResourceSet) => all(set).map((r) => `${r.type} ${r.name} ${r.version} ${r.owner ?? ''}`)
const given = (text: CaseText, bundle: CaseText['bundle'] | undefined, kind: Partial<CaseText['proxy']> = {}) =>
  caseOf({ ...text, ...(bundle ? { bundle } : {}), proxy: { ...text.proxy, ...kind } })

const anyRevoked = fc.uniqueArray(
  fc.record({ cluster: fc.constantFrom('a', 'b', 'c', 'd'), cut: fc.integer({ min: 1, max: 9 }) }),
  { selector: ({ cluster }) => cluster },
)
const linesOf = (revoked: readonly { readonly cluster: string; readonly cut: number }[]) =>
  revoked.map(({ cluster, cut }) => `${cluster}.mesh1 ${cluster} ${cut}`)

const anyDenied = fc.subarray(
  ['a', 'b', 'c'].flatMap((c) => [1, 2, 3].map((n) => `spiffe://${c}.mesh1/ns/shop/sa/svc${n} ${n}`)),
)

/** What each validation secret and each inbound rule lets in, as `kind text`, by the resource's name. */
function admissions(set: ResourceSet): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  for (const resource of all(set)) {
    if (resource.type !== typeUrls.secret && !resource.name.startsWith('inbound|')) continue
    const matches = [...JSON.stringify(jsonOf(resource)).matchAll(/"(exact|prefix)":"(spiffe:[^"]*)"/g)]
    found.set(
      `${resource.type} ${resource.name}`,
      matches.map(([, kind, text]) => `${kind} ${text}`),
    )
  }
  return found
}
const foreigners = ['partner.example', 'other.example', 'a.mesh1']
const ownRoots = JSON.stringify(readFileSync(join(import.meta.dirname, 'testdata', 'root.pem'), 'utf8')).slice(1, -1)
const nobody = 'exact spiffe://nobody.invalid/'

describe('a view pruned by what the bundle says', () => {
  test('is the view itself where the bundle has no news', () => {
    fc.assert(
      fc.property(fleet, (text) => {
        const { view } = given(text, { revoked: ['other.mesh1 other 3'] })
        expect(trustedView(view, createMemo())).toBe(view)
      }),
      { numRuns: 30 },
    )
  })

  test('without a bundle nothing is asked at all', () => {
    const { view } = readCase(join(import.meta.dirname, 'testdata', 'caller'))
    expect(trustedView(view, createMemo())).toBe(view)
  })

  test('an empty bundle gives the bytes of none: a first bundle replaces nothing', () => {
    fc.assert(
      fc.property(fleet, fc.constantFrom(...kinds), (text, kind) => {
        expect(versions(render(given(text, {}, kind)))).toEqual(versions(render(given(text, undefined, kind))))
      }),
      { numRuns: 60 },
    )
  })

  test('whatever is revoked: whoever is let in was let in before, nobody revoked is, and never everybody', () => {
    fc.assert(
      fc.property(fleet, anyRevoked, fc.constantFrom(...kinds), (text, revoked, kind) => {
        const before = admissions(render(given(text, undefined, kind)))
        const set = render(given(text, { revoked: linesOf(revoked) }, kind))
        for (const [name, lets] of admissions(set)) {
          const old = before.get(name) ?? []
          expect([name, lets.filter((one) => one !== nobody && !old.includes(one))]).toEqual([name, []])
          expect([name, lets.length > 0]).toEqual([name, old.length > 0])
        }
        const said = all(set)
          .map((r) => JSON.stringify(jsonOf(r)))
          .join('\n')
        for (const { cluster } of revoked) expect(said).not.toContain(`spiffe://${cluster}.mesh1/`)
      }),
      { numRuns: 150 },
    )
  })

  test('whichever other meshes come and go: the same as from a new translator, and none speaks for a member', () => {
    const roots = Object.fromEntries(foreigners.map((name) => [name, [toPem(selfSigned({ subject: name }))]]))
    const step = fc.tuple(fc.subarray(foreigners), fc.constantFrom([], ['partner.example 7']))
    fc.assert(
      fc.property(
        fleet,
        fc.constantFrom(...kinds),
        fc.array(step, { minLength: 2, maxLength: 4 }),
        (text, kind, steps) => {
          const translator = createTranslator()
          const exports = Object.fromEntries(
            Object.entries(text.config?.exports ?? {}).map(([key, one]) => [key, { ...one, foreign: foreigners }]),
          )
          const named = text.config ? { ...text, config: { ...text.config, exports } } : text
          for (const [present, unfederated] of steps) {
            const foreign = Object.fromEntries(present.map((name) => [name, roots[name] ?? []]))
            const { view, proxy } = given(named, { foreign, unfederated }, kind)
            const set = translator.resourcesFor(view, proxy)
            expect(versions(set)).toEqual(versions(render({ view, proxy })))
            const said = all(set).map((r) => JSON.stringify(jsonOf(r)))
            const out = foreigners.filter((name) => !present.includes(name) || unfederated.join().startsWith(name))
            for (const name of out.filter((one) => one.endsWith('.example')))
              expect(said.join()).not.toContain(`spiffe://${name}/`)
            // What a member's name is checked by are the roots of the mesh, one here; a foreign anchor is another text.
            for (const [, name, pem] of said
              .join()
              .matchAll(/"name":"([a-d]\.mesh1)","trust_bundle":{"inline_string":"([^"]*)"/g))
              expect([name, pem]).toEqual([name, ownRoots])
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  test('a translator that remembers gives what a new one gives, whatever was revoked and undone before', () => {
    fc.assert(
      fc.property(fleet, fc.array(fc.tuple(anyRevoked, anyDenied), { minLength: 2, maxLength: 5 }), (text, steps) => {
        const translator = createTranslator()
        const { proxy } = caseOf(text)
        for (const [revoked, denied] of steps) {
          const { view } = given(text, { revoked: linesOf(revoked), denied })
          expect(versions(translator.resourcesFor(view, proxy))).toEqual(versions(render({ view, proxy })))
        }
      }),
      { numRuns: 60 },
    )
  })

  test('a tier that is emptied takes with it which tier of the policy it was', () => {
    const { view } = caseOf({
      ...{ cluster: 'a', region: 'r1', bundle: { revoked: ['c.mesh1 c 1'] } },
      config: {
        members: ['a', 'b', 'c'],
        imports: {
          'shop/x': {
            ports: ['http 80 http'],
            sources: ['b net-b r1 x', 'c net-c r1 x'],
            tiers: [{ c: 1 }, { b: 1 }],
            policy: { tierOf: [0, 3] },
          },
        },
      },
      proxy: { id: 'sidecar~10.0.0.1~x.shop~shop.svc.cluster.local', account: 'x', metadata: {} },
    })
    const [left] = trustedView(view, createMemo()).config?.imports.values() ?? []
    expect([left?.tiers, left?.policy?.tierOf]).toEqual([[{ members: [{ cluster: 'b', weight: 1 }] }], [3]])
  })

  test('parts that lose nothing keep their identity', () => {
    const { view } = readCase(join(import.meta.dirname, 'testdata', 'revoked'))
    const { config } = trustedView(view, createMemo())
    if (!view.config || !config) throw new Error('no config')
    expect([...config.imports.keys()]).toEqual(['bookinfo/details'])
    expect([...config.imports.values()][0]?.tiers).toEqual([{ members: [{ cluster: 'a', weight: 1 }] }])
    expect(config.conditions).toBe(view.config.conditions)
    const only = { ...view, bundle: { ...bundleOf(view.bundle), revoked: [revokedA] } }
    const pruned = trustedView(only, createMemo()).config
    expect(pruned?.imports.get('bookinfo/ratings' as never)).toBe(view.config.imports.get('bookinfo/ratings' as never))
    expect(pruned?.exports.get('bookinfo/feed' as never)).toBe(view.config.exports.get('bookinfo/feed' as never))
  })
})

const revokedA = { trustDomain: 'a.mesh1' as TrustDomain, cluster: 'a' as ClusterName, cut: 2, at: 1 }

function bundleOf(bundle: TrustBundle | undefined): TrustBundle {
  if (!bundle) throw new Error('no bundle')
  return bundle
}

describe('what is open when a domain is revoked', () => {
  const chainsOf = (set: ResourceSet): readonly string[] =>
    [...(set[typeUrls.listener]?.values() ?? [])].flatMap((r) =>
      ((jsonOf(r)['filter_chains'] ?? []) as { [key: string]: PlainJson }[]).map((chain) => String(chain['name'])),
    )
  const revoked = () => readCase(join(import.meta.dirname, 'testdata', 'revoked'))

  test('only chains of ports that admitted it are renamed, by the number of the revocation', () => {
    const { view, proxy } = revoked()
    const { bundle: _, ...before } = view
    const names = chainsOf(render({ view: before, proxy }))
    expect(names.filter((name) => name.includes('#'))).toEqual(['0.0.0.0_7000#1'])
    const after = chainsOf(render({ view, proxy }))
    const called = '0.0.0.0_9080#3'
    expect(after.filter((name) => name.includes('#'))).toEqual([called, '0.0.0.0_7000#3', '0.0.0.0_8080#3'])
  })

  test('the config that the centre compiles afterwards renames nothing again', () => {
    const { view, proxy } = revoked()
    const { config } = trustedView(view, createMemo())
    if (!config) throw new Error('no config')
    const first = render({ view, proxy })
    expect(versions(render({ view: { ...view, config }, proxy }))).toEqual(versions(first))
    const { bundle: _, ...compiled } = { ...view, config }
    expect(chainsOf(render({ view: compiled, proxy }))).toEqual(chainsOf(first))
  })

  test('who called it ends what is open there: the one service of a stream port, all of an HTTP port', () => {
    const { view, proxy } = readCase(join(import.meta.dirname, 'testdata', 'caller'))
    if (!view.config) throw new Error('no config')
    const tcp = { name: 'tcp', port: 7000, protocol: 'tcp' as const, declared: true }
    const imports = new Map(view.config.imports)
    const reviews = imports.get('bookinfo/reviews' as never)
    if (!reviews) throw new Error('no reviews')
    const sources = reviews.sources.map((source) => ({ ...source, ports: [7000] }))
    for (const name of ['feed', 'other'])
      imports.set(`bookinfo/${name}` as never, {
        ...{ ...reviews, key: `bookinfo/${name}` as never, host: `${name}.bookinfo.svc.cluster.local`, ports: [tcp] },
        sources: sources.filter(({ cluster }) => name === 'feed' || cluster !== 'c'),
      })
    const address = (n: number) => `127.21.9.${n}`
    const plain = { application: '127.21.1.2', outbound: '127.21.1.3', tcp: {} as Record<string, string> }
    for (const [n, name] of ['feed', 'other'].entries())
      plain.tcp[`${name}.bookinfo.svc.cluster.local:7000`] = address(n)
    const bundle = bundleOf(revoked().view.bundle)
    const given = (isRevoked: boolean) => ({
      view: {
        ...view,
        config: { ...view.config, imports } as NonNullable<typeof view.config>,
        bundle: isRevoked ? bundle : { ...bundle, revoked: [] },
      },
      proxy: { ...proxy, plain },
    })
    expect(chainsOf(render(given(false))).filter((name) => name.includes('#'))).toEqual([])
    const ended = chainsOf(render(given(true))).filter((name) => name.includes('#'))
    // The pod's own port admitted c too.
    expect(ended.toSorted()).toEqual(['127.21.1.3_9080#3', `${address(0)}_7000#3`, 'inbound|9080||#3'])
  })

  test('undone: the chains stay as they are, and the domain is let in again', () => {
    const { view, proxy } = revoked()
    const { config } = trustedView(view, createMemo())
    if (!config || !view.config) throw new Error('no config')
    const exports = new Map(
      [...view.config.exports].map(([key, one]) => [key, { ...one, cut: config.exports.get(key)?.cut ?? 0 }]),
    )
    const trust = { ...view.config.trust, cuts: config.trust.cuts ?? [] }
    const undone = {
      ...view,
      config: { ...view.config, trust, exports },
      bundle: { ...bundleOf(view.bundle), revoked: [] },
    }
    expect(chainsOf(render({ view: undone, proxy }))).toEqual(chainsOf(render({ view, proxy })))
    expect(admissions(render({ view: undone, proxy })).get(`${typeUrls.secret} inbound|7000||`)).toContain(
      'prefix spiffe://c.mesh1/',
    )
  })

  test('an own domain is revoked: every port takes its number, those behind no service too', () => {
    const { view, proxy } = revoked()
    const own = { trustDomain: view.home.trustDomain, cluster: view.home.cluster, cut: 7, at: 1 }
    const names = chainsOf(render({ view: { ...view, bundle: { ...bundleOf(view.bundle), revoked: [own] } }, proxy }))
    const mutual = ['0.0.0.0_7000#7', '0.0.0.0_7001#7', '0.0.0.0_8080#7', 'virtualInbound#7']
    expect(names.filter((name) => name.includes('#')).toSorted()).toEqual(mutual)
  })
})

describe('a denied workload', () => {
  const { view, proxy } = readCase(join(import.meta.dirname, 'testdata', 'denied'))
  const thief = 'spiffe://a.mesh1/ns/bookinfo/sa/thief'
  const reviews = 'spiffe://b.mesh1/ns/bookinfo/sa/reviews'
  const textOf = (type: 'listener' | 'route' | 'cluster', name: string, of = view) => {
    const resource = render({ view: of, proxy })[typeUrls[type]]?.get(name)
    return resource ? JSON.stringify(jsonOf(resource)) : ''
  }

  test('is left out of the rule of every HTTP port that admits its domain, and of no other', () => {
    const rule = textOf('route', 'inbound|8080||')
    for (const id of [thief, reviews]) expect(rule).toContain(`{"exact":"${id}"}`)
    expect(rule).not.toContain('d.mesh1')
    expect(rule.match(/not_id/g)).toHaveLength(2)
  })

  test('a stream port ends it at its first byte; only ports that admit its domain are replaced', () => {
    const text = textOf('listener', 'virtualInbound')
    expect(text).toContain('"name":"0.0.0.0_8080#4"')
    expect(text).toContain('"name":"0.0.0.0_7000#4"')
    expect(text).toContain('"name":"virtualInbound#4"')
    expect(text.match(/envoy.filters.network.rbac"/g)).toHaveLength(2)
    expect(text).not.toContain(thief)
  })

  test('answers for nobody: a source is left with its other identities, or goes', () => {
    const details = textOf('cluster', 'outbound|9080||details.bookinfo.svc.cluster.local')
    expect(details).toContain('spiffe://a.mesh1/ns/bookinfo/sa/details')
    const clusters = [...(render({ view, proxy })[typeUrls.cluster]?.values() ?? [])].map((r) =>
      JSON.stringify(jsonOf(r)),
    )
    expect(clusters.join()).not.toContain(thief)
    expect(clusters.join()).not.toContain(reviews)
    expect(textOf('cluster', 'outbound|9080||ratings.bookinfo.svc.cluster.local')).not.toContain('a.mesh1')
    // All of whose own pods are denied: nobody, not everybody of the domain.
    const own = textOf('cluster', 'outbound|7000||feed.bookinfo.svc.cluster.local')
    expect(own).toContain('spiffe://nobody.invalid/')
    expect(own).not.toContain('b.mesh1/')
  })

  test('undone: nothing of it is left', () => {
    const text = JSON.stringify(
      all(render({ view: { ...view, bundle: { ...bundleOf(view.bundle), denied: [] } }, proxy })).map(jsonOf),
    )
    expect(text).not.toContain('not_id":{"or_ids')
    expect(text).not.toContain('envoy.filters.network.rbac')
    expect(text).toContain(thief)
  })
})
