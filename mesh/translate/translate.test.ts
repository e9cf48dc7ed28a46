import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { PodName } from '#mesh/model/pod-name.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import { type ResourceSet, typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import type { View } from '#mesh/model/view.ts'
import { fleet, kinds } from '#mesh/translate/testdata/any-case.ts'
import { type CaseText, caseOf, readCase } from '#mesh/translate/testdata/case.ts'
import { createTranslator } from '#mesh/translate/translate.ts'

const at = (name: string) => readCase(join(import.meta.dirname, 'testdata', name))
const render = (view: View, proxy: MeshProxy) => createTranslator().resourcesFor(view, proxy)
const all = (set: ResourceSet): readonly XdsResource[] =>
  Object.values(typeUrls).flatMap((type) => [...(set[type]?.values() ?? [])])
const versions = (set: ResourceSet) => all(set).map((r) => `${r.type} ${r.name} ${r.version} ${r.owner ?? ''}`)
const byName = (set: ResourceSet) => new Map(all(set).map((r) => [`${r.type} ${r.name}`, r]))
const textIn = (r: XdsResource): string => `${r.name}\n${Buffer.from(r.bytes).toString('latin1')}`

const reversed = <T>(map: Readonly<Record<string, T>> | undefined): Record<string, T> =>
  Object.fromEntries(Object.entries(map ?? {}).reverse())

describe('what is rendered', () => {
  test('does not depend on the order of anything', () => {
    fc.assert(
      fc.property(fleet, fc.constantFrom(...kinds), (text, kind) => {
        const one = caseOf({ ...text, proxy: { ...text.proxy, ...kind } })
        const other = caseOf({
          ...text,
          services: reversed(text.services),
          pods: reversed(text.pods),
          exports: [...(text.exports ?? [])].reverse(),
          config: {
            members: [...(text.config?.members ?? [])].reverse(),
            imports: reversed(text.config?.imports),
            exports: reversed(text.config?.exports),
          },
          summaries: reversed(text.summaries),
          proxy: { ...text.proxy, ...kind },
        })
        expect(versions(render(other.view, other.proxy))).toEqual(versions(render(one.view, one.proxy)))
      }),
      { numRuns: 100 },
    )
  })

  test('does not depend on what was rendered before', () => {
    fc.assert(
      fc.property(fc.array(fleet, { minLength: 2, maxLength: 4 }), fc.constantFrom(...kinds), (texts, kind) => {
        const translator = createTranslator()
        for (const text of [...texts, ...texts]) {
          const { view, proxy } = caseOf({ ...text, proxy: { ...text.proxy, ...kind } })
          expect(versions(translator.resourcesFor(view, proxy))).toEqual(versions(render(view, proxy)))
        }
      }),
      { numRuns: 50 },
    )
  })

  test('a change to one service changes only resources that name it', () => {
    fc.assert(
      fc.property(fleet, fc.constantFrom(...kinds), fc.nat(), (text, kind, pick) => {
        const names = Object.keys(text.services ?? {})
        const changed = names[pick % names.length] ?? ''
        const { [changed]: _, ...services } = text.services ?? {}
        const proxyText = { ...text.proxy, ...kind }
        const before = caseOf({ ...text, proxy: proxyText })
        const after = caseOf({ ...text, services, proxy: proxyText })
        const one = byName(render(before.view, before.proxy))
        const two = byName(render(after.view, after.proxy))
        const different = [...new Set([...one.keys(), ...two.keys()])].filter(
          (name) => one.get(name)?.version !== two.get(name)?.version,
        )
        const short = changed.split('/')[1] ?? ''
        const isNamed = (r: XdsResource) => r.owner === `service ${changed}` || textIn(r).includes(short)
        const others = different.filter((name) => {
          const sides = [one.get(name), two.get(name)].filter((r) => r !== undefined)
          return !sides.some((r) => isNamed(r) || isShared(r))
        })
        expect(others).toEqual([])
      }),
      { numRuns: 150 },
    )
  })

  test('a gateway names nothing that is not exported here and confirmed by the centre', () => {
    fc.assert(
      fc.property(fleet, (text) => {
        const { view, proxy } = caseOf({ ...text, proxy: { ...text.proxy, ...kinds[2] } })
        const open = new Set(
          [...view.own.exports.keys()].filter((key) => text.services?.[key] && text.config?.exports?.[key]),
        )
        const named = all(render(view, proxy)).map(textIn).join('\n')
        for (let n = 1; n <= 9; n += 1) {
          const key = `shop/svc${n}` as ServiceKey
          const pod = text.pods?.[`shop/svc${n}-0`]
          expect([n, named.includes(`svc${n}.shop`)]).toEqual([n, open.has(key)])
          expect([n, named.includes(`.a.svc${n}.shop.svc.clusterset`)]).toEqual([
            n,
            open.has(key) && (view.own.exports.get(key)?.perCluster === true || pod?.hostname !== undefined),
          ])
        }
        expect(named).not.toContain('127.22.')
        expect(named).not.toContain('127.23.')
      }),
      { numRuns: 150 },
    )
  })

  test('a service that is neither own nor imported is never named to a caller', () => {
    fc.assert(
      fc.property(fleet, (text) => {
        const { view, proxy } = caseOf(text)
        const known = new Set([...Object.keys(text.services ?? {}), ...Object.keys(text.config?.imports ?? {})])
        const named = all(render(view, proxy)).map(textIn).join('\n')
        for (let n = 1; n <= 9; n += 1)
          expect([n, named.includes(`svc${n}.shop`)]).toEqual([n, known.has(`shop/svc${n}`)])
      }),
      { numRuns: 100 },
    )
  })
})

describe('a member joins, the roots change', () => {
  const other = (text: CaseText): CaseText => ({
    ...text,
    config: {
      members: [...(text.config?.members ?? []), 'd'],
      roots: ['-----BEGIN CERTIFICATE-----\nother\n-----END CERTIFICATE-----'],
      imports: text.config?.imports ?? {},
      exports: Object.fromEntries(
        Object.entries(text.config?.exports ?? {}).map(([key, e]) => [key, { ...e, consumers: ['b', 'd'] }]),
      ),
    },
  })

  test('only secrets and inbound routes move, and no name does', () => {
    fc.assert(
      fc.property(fleet, fc.constantFrom(...kinds), (text, kind) => {
        const proxyText = { ...text.proxy, ...kind }
        const before = caseOf({ ...text, proxy: proxyText })
        const after = caseOf({ ...other(text), proxy: proxyText })
        const one = byName(render(before.view, before.proxy))
        const two = byName(render(after.view, after.proxy))
        expect([...two.keys()]).toEqual([...one.keys()])
        for (const [name, r] of two) {
          const mayMove = r.type === typeUrls.secret || (r.type === typeUrls.route && r.name.startsWith('inbound|'))
          if (!mayMove) expect([name, r.version]).toEqual([name, one.get(name)?.version])
          if (r.type === typeUrls.secret) expect([name, r.version]).not.toEqual([name, one.get(name)?.version])
        }
      }),
      { numRuns: 100 },
    )
  })

  test('the centre is heard for the first time: what the roots already were is not sent again', () => {
    const { view, proxy } = at('caller')
    const { config, ...unheard } = view
    const first = render({ ...unheard, roots: config?.trust.roots ?? [] }, proxy)
    const second = render(view, proxy)
    expect(second[typeUrls.secret]?.get('mesh-roots')).toEqual(first[typeUrls.secret]?.get('mesh-roots'))
    const name = 'outbound|9080||ratings.bookinfo.svc.cluster.local'
    expect(second[typeUrls.cluster]?.get(name)).toEqual(first[typeUrls.cluster]?.get(name))
    expect(render(unheard.roots ? { ...unheard, roots: [] } : unheard, proxy)[typeUrls.secret]?.size).toBe(0)
  })
})

/** A port's listener and routes stand or fall with the last service of that port; they carry no name of a service. */
const isShared = (r: XdsResource): boolean => r.type === typeUrls.listener && r.owner === undefined

describe('what is remembered', () => {
  test('the same view gives the same objects, and the same map where proxies need the same', () => {
    const { view, proxy } = at('caller')
    const translator = createTranslator()
    const first = translator.resourcesFor(view, proxy)
    const again = translator.resourcesFor({ ...view }, proxy)
    for (const type of Object.values(typeUrls)) expect(again[type]).toBe(first[type])
    const other = translator.resourcesFor(view, {
      ...proxy,
      id: 'other',
      pod: 'details-1',
      ips: ['127.21.2.1'],
      plain: { application: '127.21.2.2', outbound: '127.21.2.3', tcp: {} },
    })
    expect(other[typeUrls.endpoint]).toBe(first[typeUrls.endpoint])
    const name = 'outbound|9080||details.bookinfo.svc.cluster.local'
    expect(other[typeUrls.cluster]?.get(name)).toBe(first[typeUrls.cluster]?.get(name))
    expect(other[typeUrls.route]?.get('9080')).toBe(first[typeUrls.route]?.get('9080'))
  })

  test('equal content keeps its objects, though every input was read anew', () => {
    const translator = createTranslator()
    const one = at('caller')
    const first = translator.resourcesFor(one.view, one.proxy)
    const two = at('caller')
    const again = translator.resourcesFor(two.view, two.proxy)
    for (const type of Object.values(typeUrls)) expect(again[type]).toBe(first[type])
  })

  test('one endpoint changes one assignment and nothing else', () => {
    const { view, proxy } = at('caller')
    const translator = createTranslator()
    const first = translator.resourcesFor(view, proxy)
    const endpoints = new Map(view.own.endpoints)
    const key = [...endpoints.keys()].find((k) => k === 'bookinfo/ratings')
    if (!key) throw new Error('the case has no ratings')
    endpoints.set(key, (endpoints.get(key) ?? []).slice(1))
    const second = translator.resourcesFor({ ...view, own: { ...view.own, endpoints } }, proxy)
    const before = new Set(all(first))
    expect(
      all(second)
        .filter((r) => !before.has(r))
        .map((r) => r.name),
    ).toEqual(['outbound|9080||ratings.bookinfo.svc.cluster.local'])
    for (const type of [typeUrls.cluster, typeUrls.listener, typeUrls.route]) expect(second[type]).toBe(first[type])
  })

  test('a far pod of a headless service turns ready: nothing; a new one: its own two and the routes', () => {
    const { view, proxy } = at('headless')
    const translator = createTranslator()
    const before = new Set(all(translator.resourcesFor(view, proxy)))
    const saying = (podNames: readonly PodName[]) => {
      const ofB = new Map(view.summaries.services.get('b'))
      const summary = ofB.get('bookinfo/db')
      if (!summary) throw new Error('the case has no summary of b')
      ofB.set('bookinfo/db', { ...summary, podNames })
      const services = new Map(view.summaries.services).set('b', ofB)
      const set = translator.resourcesFor({ ...view, summaries: { ...view.summaries, services } }, proxy)
      const moved = all(set).filter((r) => !before.has(r))
      for (const r of moved) before.add(r)
      return moved.map((r) => `${r.type.split('.').at(-1)} ${r.name}`)
    }
    const db0 = { hostname: 'db-0', ready: true }
    // Where nothing is ready the gateways are the last resort, so what a single far pod's host dials stays the same.
    expect(saying([db0, { hostname: 'db-1', ready: true }])).toEqual([])
    expect(saying([db0, { hostname: 'db-1', ready: true }, { hostname: 'db-2', ready: true }])).toEqual([
      'Cluster outbound|8080||db-2.b.db.bookinfo.svc.clusterset.local',
      'ClusterLoadAssignment outbound|8080||db-2.b.db.bookinfo.svc.clusterset.local',
      'RouteConfiguration 8080',
    ])
  })
})

test('a translator that remembers gives what a new one gives, whatever it was shown before', () => {
  fc.assert(
    fc.property(fc.array(fleet, { minLength: 2, maxLength: 4 }), (fleets) => {
      const translator = createTranslator()
      const { proxy } = caseOf(fleets[0] as CaseText)
      for (const one of fleets) {
        const { view } = caseOf(one)
        expect(versions(translator.resourcesFor(view, proxy))).toEqual(versions(render(view, proxy)))
      }
    }),
  )
})
