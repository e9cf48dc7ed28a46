import { describe, expect, test } from 'vitest'
import { offer, port } from '#mesh/compile/testdata/fleet.ts'
import { parseRange } from '#mesh/mcs/addresses.ts'
import { type Change, changesBetween } from '#mesh/mcs/changes.ts'
import type { SeenObjects } from '#mesh/mcs/objects.ts'
import {
  addresses,
  configOfHome,
  db,
  emptyOwn,
  ours,
  seenOf,
  service,
  summariesOf,
  viewOf,
  web,
} from '#mesh/mcs/testing/two-clusters.ts'
import { type Wanted, type WantedFacts, wantedObjects } from '#mesh/mcs/wanted.ts'

const range = parseRange('241.0.0.0/24')
const wantedOf = (more: Partial<WantedFacts> = {}): Wanted =>
  wantedObjects({ view: viewOf(), seen: seenOf(), rejected: [], remarks: [], range, ...more })
const kinds = (changes: readonly Change[]): string[] => changes.map(({ kind }) => kind)

/** What the API server holds once everything was written. */
function written(wanted: Wanted, more: Partial<SeenObjects> = {}): SeenObjects {
  const meta = { uid: 'u1', resourceVersion: '2' }
  return seenOf({
    imports: new Map([...wanted.imports].map(([key, { spec, status }]) => [key, { ...ours(spec), status }])),
    slices: new Map([...wanted.slices].map(([id, slice]) => [id, { ...slice, ...meta }])),
    exports: new Map([...wanted.exports].map(([key, conditions]) => [key, { ...meta, conditions }])),
    policies: new Map([...wanted.policies].map(([key, conditions]) => [key, { ...meta, conditions }])),
    groups: new Map([...wanted.groups].map(([key, conditions]) => [key, { ...meta, conditions }])),
    ...more,
  })
}

describe('ServiceImports', () => {
  test('say type, ports, clusters and a cluster-set IP', () => {
    const { imports } = wantedOf()
    expect(imports.get(web)?.spec).toMatchObject({
      type: 'ClusterSetIP',
      sessionAffinity: 'None',
      ports: [
        { name: 'http', port: 80, appProtocol: 'http' },
        { name: 'db', port: 5432, appProtocol: 'tcp' },
      ],
      parts: {},
    })
    expect(imports.get(web)?.spec.ips[0]).toMatch(/^241\.0\.0\./)
    expect(imports.get(web)?.status.clusters).toEqual(['far', 'near'])
  })

  test('a headless one has no IP as a whole, each named pod elsewhere has one', () => {
    const spec = wantedOf().imports.get(db)?.spec
    expect(spec).toMatchObject({ type: 'Headless', ips: [] })
    expect(Object.keys(spec?.parts ?? {})).toEqual(['db-0.far', 'db-0.near', 'db-1.far'])
  })

  test('pods of a cluster that was not heard keep their addresses', () => {
    const clusterSet = addresses({ [db]: { parts: { 'db-7.far': '241.0.0.77', 'db-7.near': '241.0.0.78' } } })
    const summaries = summariesOf({ near: { [db]: { counts: [], podNames: [] } } })
    const { imports } = wantedOf({ view: viewOf({ clusterSet, summaries }) })
    expect(imports.get(db)?.spec.parts).toEqual({ 'db-7.far': '241.0.0.77' })
  })

  test('no namespace, no ServiceImport, and that is said', () => {
    const wanted = wantedOf({ seen: seenOf({ namespaces: new Set() }) })
    expect(wanted.imports.size).toBe(0)
    expect(wanted.withoutNamespace).toEqual(['shop'])
  })

  test('what somebody else made, and what refuses, is neither written nor removed', () => {
    const { imports } = wantedOf()
    const spec = imports.get(web)?.spec
    if (!spec) throw new Error('no import')
    for (const more of [{ isOurs: false }, { refuses: true }]) {
      const seen = seenOf({ imports: new Map([[web, ours({ ...spec, ips: ['1.2.3.4'] }, more)]]) })
      const wanted = wantedOf({ seen, view: viewOf({ own: { ...emptyOwn, refused: new Set([web]) } }) })
      expect(wanted.imports.has(web)).toBe(false)
      expect(changesBetween(wanted, seen).filter((one) => 'key' in one && one.key === web)).toEqual([])
    }
  })

  test('a range that is used up is said on the object and on the cluster, with what mends it', () => {
    const tiny = parseRange('241.0.0.0/28')
    const taken = Object.fromEntries(Array.from({ length: 14 }, (_, n) => [`db-${n}.far`, `241.0.0.${n + 1}`]))
    const clusterSet = addresses({ [db]: { parts: taken } })
    const wanted = wantedOf({ range: tiny, view: viewOf({ clusterSet }) })
    expect(wanted.imports.get(web)?.status.conditions[0]).toMatchObject({ status: 'False', reason: 'AddressesUsedUp' })
    expect(wanted.conditions[0]?.message).toContain('shop/web')
    expect(wanted.conditions[0]?.message).toContain('kubernetes.clusterSetCidr')
  })

  test('without a range they have no addresses and say so', () => {
    expect(wantedOf({ range: undefined }).imports.get(web)?.status.conditions[0]?.reason).toBe('NoAddressRange')
  })
})

describe('EndpointSlices', () => {
  test('are there for clusters of the same network alone, with the ports of the pods', () => {
    const { slices } = wantedOf()
    expect([...slices.keys()]).toEqual([expect.stringMatching(/^shop\/web-near-[0-9a-f]{8}$/)])
    expect([...slices.values()][0]).toMatchObject({
      ...{ service: web, cluster: 'near', addressType: 'IPv4' },
      ports: [
        { name: 'db', port: 5432 },
        { name: 'http', port: 8080 },
      ],
      endpoints: [
        { address: '10.2.0.1', ready: true, zone: 'a' },
        { address: '10.2.0.2', ready: true, zone: 'a' },
      ],
    })
  })

  test('of a cluster that was not heard they stay, of one that says it has none they go', () => {
    const before = written(wantedOf())
    const unheard = wantedOf({ seen: before, view: viewOf({ summaries: summariesOf({}) }) })
    expect(kinds(changesBetween(unheard, before))).not.toContain('remove slice')
    const none = summariesOf({ near: { [web]: { counts: [], flat: [] } } })
    expect(kinds(changesBetween(wantedOf({ seen: before, view: viewOf({ summaries: none }) }), before))).toContain(
      'remove slice',
    )
  })

  test('wait for the ServiceImport that owns them', () => {
    expect(kinds(changesBetween(wantedOf(), seenOf()))).not.toContain('slice')
  })
})

describe('ServiceExports', () => {
  const exported = offer(web, { ports: [port(80, 'tcp', 'http')], createdAt: 2000 })
  const ofWeb = { key: web, createdAt: 1, origin: 'kubernetes' }
  const own = { ...emptyOwn, services: new Map([[web, service(web)]]), exports: new Map([[web, ofWeb]]) }
  const seen = seenOf({ exports: new Map([[web, { uid: 'u', resourceVersion: '1', conditions: [] }]]) })
  const conditionsOf = (more: Partial<WantedFacts>) =>
    Object.fromEntries(
      (wantedOf({ seen, ...more }).exports.get(web) ?? []).map((one) => [one.type, `${one.status} ${one.reason}`]),
    )

  test('the older export wins: Conflict says why', () => {
    const view = viewOf({ own, config: configOfHome([exported]) })
    expect(conditionsOf({ view })).toEqual({
      Valid: 'True Valid',
      Ready: 'True Exported',
      Conflict: 'True PortConflict',
    })
    const said = wantedOf({ seen, view }).exports.get(web)?.at(-1)?.message
    expect(said).toContain('port 80 ')
  })

  test('type and ports at once: reasons are joined', () => {
    const view = viewOf({ own, config: configOfHome([{ ...exported, headless: true }]) })
    expect(conditionsOf({ view })['Conflict']).toBe('True PortConflict,TypeConflict')
  })

  test('no Service, an ExternalName, an object that cannot be read: Valid is False', () => {
    const without = { ...own, services: new Map() }
    expect(conditionsOf({ view: viewOf({ own: without }) })['Valid']).toBe('False NoService')
    const external = { ...without, externalNames: new Set([web]) }
    expect(conditionsOf({ view: viewOf({ own: external }) })['Valid']).toBe('False InvalidServiceType')
    const rejected = [{ at: 'x', object: `ServiceExport ${web}`, reason: 'annotation isthmus.dev/consumers: bad' }]
    expect(conditionsOf({ view: viewOf({ own: { ...own, exports: new Map() } }), rejected })['Valid']).toBe(
      'False Invalid',
    )
  })

  test('what the centre has not said yet is not said here', () => {
    expect(conditionsOf({ view: viewOf({ own }) })['Ready']).toBe('Unknown Pending')
  })
})

describe('policies and groups', () => {
  const meta = { uid: 'u', resourceVersion: '1', conditions: [] }
  const seen = seenOf({ policies: new Map([['shop/p', meta]]), groups: new Map([['g', meta]]) })
  const fault = { type: 'PolicyNotInForce', reason: 'Refused', message: 'it is not', object: 'policy shop/p' }

  test('in force, not in force with the reason, and not known', () => {
    const config = configOfHome()
    const reason = (view: WantedFacts['view']) => wantedOf({ seen, view }).policies.get('shop/p')?.[0]?.reason
    expect(reason(viewOf({ config }))).toBe('GovernsNothing')
    expect(reason(viewOf({ config: { ...config, conditions: [fault] } }))).toBe('Refused')
    const one = config.imports.get(web)
    const policy = {
      name: 'shop/p@3',
      holdSeconds: 1,
      rampSeconds: 1,
      onExporterLost: 'keep',
      spillByReadiness: true,
      tierOf: [0],
    }
    const imports = new Map([[web, { ...one, policy }]]) as unknown as typeof config.imports
    expect(reason(viewOf({ config: { ...config, imports } }))).toBe('Governs')
    expect(wantedOf({ seen, view: viewOf({ config }) }).groups.get('g')?.[0]?.reason).toBe('Accepted')
  })
})

describe('changes', () => {
  test('nothing is written twice: what is there as it is wanted needs no write', () => {
    const seen = seenOf({ groups: new Map([['g', { uid: 'u', resourceVersion: '1', conditions: [] }]]) })
    const wanted = wantedOf({ seen })
    expect(kinds(changesBetween(wanted, seen)).sort()).toEqual([...['group status', 'import', 'import']])
    const after = written(wanted)
    const clusterSet = new Map(
      [...after.imports].map(([key, { spec }]) => [key, { ip: spec.ips[0] ?? '', parts: spec.parts }]),
    )
    const again = wantedOf({ seen: after, view: viewOf({ clusterSet }) })
    expect(changesBetween(again, after)).toEqual([])
  })

  test('a condition of somebody else is left alone', () => {
    const wanted = wantedOf({
      seen: seenOf({ groups: new Map([['g', { uid: 'u', resourceVersion: '1', conditions: [] }]]) }),
    })
    const theirs = { type: 'Theirs', status: 'True' as const, reason: 'X', message: '' }
    const conditions = [theirs, ...(wanted.groups.get('g') ?? [])]
    const seen = written(wanted, { groups: new Map([['g', { uid: 'u', resourceVersion: '1', conditions }]]) })
    expect(kinds(changesBetween(wanted, seen))).toEqual([])
  })

  test('an import that ended goes, with its slices before it', () => {
    const before = written(wantedOf())
    const config = { ...configOfHome(), imports: new Map() }
    expect(kinds(changesBetween(wantedOf({ seen: before, view: viewOf({ config }) }), before))).toEqual([
      ...['remove slice', 'remove import', 'remove import'],
    ])
  })

  test('in a namespace that is going nothing is written and nothing removed', () => {
    const before = written(wantedOf(), { namespaces: new Set() })
    const wanted = wantedOf({ seen: before })
    expect(kinds(changesBetween(wanted, before)).filter((kind) => kind !== 'remove slice')).toEqual([])
  })

  test('another cluster’s word for an address is no reason to fail', () => {
    const flat = ['not-an-ip', '127.0.0.1', '169.254.169.254', 'fe80::1%eth0'].map((address) => ({
      ...{ address, port: 1, servicePort: 80, region: '', zone: '', draining: false },
    }))
    const summaries = summariesOf({ near: { [web]: { counts: [], flat } } })
    expect(wantedOf({ view: viewOf({ summaries }) }).slices.size).toBe(0)
  })
})
