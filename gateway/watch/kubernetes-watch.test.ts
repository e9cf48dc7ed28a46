import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { kubeApi } from '#gateway/kube-api.ts'
import type { KeptObjects } from '#gateway/watch/kube-keep.ts'
import { watchedKinds } from '#gateway/watch/kube-kinds.ts'
import type { KubernetesWatch, KubernetesWatchSettings } from '#gateway/watch/kubernetes-watch.ts'
import { kubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import { parseNetworkName, serviceKey } from '#mesh/model/id.ts'
import { FakeKubeApi, type FakeObject, status } from '#tests/support/fake-kube-api.ts'

const home = { network: parseNetworkName('n1'), region: 'r1' }
const key = serviceKey('shop', 'web')
/** Long, so that it never passes; what must pass is short. */
const times = {
  ...{ watchSeconds: 600, silentMs: 60_000, absentMs: 60_000, backoff: { firstMs: 3, maxMs: 15 } },
  ...{ coalesceMs: 2, holdMs: 50, graceMs: 3_600_000, keepMs: 10 },
}

/** Looks often: a hundred waits make this suite. */
async function eventually(ms: number, what: string, isSo: () => unknown): Promise<void> {
  const end = performance.now() + ms
  for (let reason = ''; ; await new Promise((resolve) => setTimeout(resolve, 3))) {
    try {
      if (isSo()) return
    } catch (fault) {
      reason = String(fault)
    }
    if (performance.now() > end) throw new Error(`waited ${ms} ms: ${what} ${reason}`)
  }
}

let fake: FakeKubeApi
let running: KubernetesWatch[]
/** Each kind costs some handshakes at each start: most tests do with few. */
const some = (...names: readonly string[]) => watchedKinds.filter(({ kind }) => names.includes(kind))
const kinds = some('Pod', 'Service')
const withSlices = some('Pod', 'Service', 'EndpointSlice')
beforeEach(async () => {
  fake = await FakeKubeApi.start(watchedKinds.map(({ resource }) => resource))
  running = []
})
afterEach(async () => {
  await Promise.all(running.map((one) => one.stop()))
  await fake.stop()
})

function opened(more: Partial<Omit<KubernetesWatchSettings, 'times'>> & { times?: object } = {}): KubernetesWatch {
  const api = kubeApi({ kubeconfig: fake.kubeconfig })
  const watch = kubernetesWatch({ api, home, kinds, ...more, times: { ...times, ...more.times } })
  running.push(watch)
  return watch
}
async function started(more?: Parameters<typeof opened>[0]): Promise<KubernetesWatch> {
  const watch = opened(more)
  await watch.start()
  return watch
}
const pod = (name: string, more: object = {}): FakeObject => ({
  metadata: { name, namespace: 'shop', labels: { 'security.istio.io/tlsMode': 'istio' } },
  spec: { serviceAccountName: `sa-${name}`, nodeName: 'n' },
  ...more,
})
const service = (name = 'web'): FakeObject => ({
  metadata: { name, namespace: 'shop' },
  spec: { clusterIP: '10.0.0.1', ports: [{ name: 'http', port: 80 }] },
})
const slice = (name: string, ...pods: readonly string[]): FakeObject => ({
  metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  endpoints: pods.map((one) => ({
    addresses: [`10.1.0.${one.charCodeAt(0)}`],
    targetRef: { kind: 'Pod', name: one },
  })),
  ports: [{ name: 'http', port: 8080 }],
})
const pods = (watch: KubernetesWatch): string =>
  [...watch.current().pods.values()]
    .map((one) => `${one.name}:${one.serviceAccount}`)
    .toSorted()
    .join(' ')
const shows = (watch: KubernetesWatch, text: string): Promise<unknown> =>
  eventually(20_000, `pods ${text}`, () => {
    if (pods(watch) !== text) throw new Error(`they are ${pods(watch)}; ${JSON.stringify(watch.rejected())}`)
    return true
  })
const asked = (resource: string, isWatch = false) =>
  fake.asked.filter((one) => one.resource === resource && one.isWatch === isWatch)
const hears = (watch: KubernetesWatch, text: string): Promise<unknown> =>
  eventually(20_000, `it says "${text}"`, () => {
    const said = watch.rejected().map(({ at, object, reason }) => `${at} ${object}: ${reason}`)
    if (!said.some((one) => one.includes(text))) throw new Error(`it says ${said.join('; ') || 'nothing'}`)
    return true
  })
const isWell = (watch: KubernetesWatch): Promise<unknown> =>
  eventually(20_000, 'nothing is wrong', () => {
    if (watch.rejected().length > 0) throw new Error(JSON.stringify(watch.rejected()))
    return watch.isSynced()
  })
/** Another change of that kind is seen: then all before it was. */
async function seen(watch: KubernetesWatch): Promise<void> {
  fake.put('pods', pod('zz'))
  await eventually(20_000, 'the last pod is seen', () => watch.current().pods.has('shop/zz'))
  fake.remove('pods', 'shop/zz')
  await eventually(20_000, 'the last pod is gone', () => !watch.current().pods.has('shop/zz'))
}
/** Asked again and again, and to no avail. */
async function triedAgain(resource: string, isWatch = false): Promise<void> {
  const { length } = asked(resource, isWatch)
  await eventually(20_000, `${resource} is tried again`, () => asked(resource, isWatch).length >= length + 3)
}

describe('a cluster', () => {
  test('what else somebody keeps of an object follows it, a change that is nothing to us too', async () => {
    fake.put('services', service())
    const statusOf = (object: unknown): unknown => (object as { status?: { said?: string } }).status?.said
    const watch = await started({ also: { Service: statusOf } })
    expect(watch.also('Service')).toEqual(new Map())
    expect(watch.version('Service')).toBe('v1')
    let told = 0
    watch.onAlso(() => {
      told += 1
    })
    fake.put('services', { ...service(), status: { said: 'here' } })
    await eventually(20_000, 'it is seen', () => watch.also('Service').get('shop/web') === 'here')
    await eventually(20_000, 'it is told', () => told === 1)
    fake.remove('services', 'shop/web')
    await eventually(20_000, 'it is gone', () => watch.also('Service').size === 0)
  })

  test('is read whole, and followed', async () => {
    const labels = { 'topology.kubernetes.io/region': 'r2', 'topology.kubernetes.io/zone': 'z2' }
    fake.put('nodes', { metadata: { name: 'n', labels } })
    fake.put('services', service())
    fake.put('pods', pod('a'))
    fake.put('endpointslices', slice('s', 'a'))
    fake.put('serviceexports', { metadata: { name: 'web', namespace: 'shop' } })
    const watch = await started({ kinds: watchedKinds })
    expect(watch.isSynced()).toBe(true)
    expect(watch.current().exports.get(key)).toMatchObject({
      origin: '/apis/multicluster.x-k8s.io/v1alpha1/namespaces/shop/serviceexports/web',
    })
    expect(watch.current().endpoints.get(key)).toMatchObject([
      { address: '10.1.0.97', locality: { region: 'r2', zone: 'z2' }, serviceAccount: 'sa-a', meshed: true },
    ])
    fake.put('pods', pod('b'))
    fake.put('endpointslices', slice('s', 'a', 'b'))
    await eventually(20_000, 'b is an endpoint', () => watch.current().endpoints.get(key)?.length === 2)
    fake.remove('pods', 'shop/a')
    await shows(watch, 'b:sa-b')
    expect(watch.rejected()).toEqual([])
  })

  test('is listed in pages, one list at a time, and never a Secret', async () => {
    for (let n = 0; n < 25; n++) fake.put('pods', pod(`p${n}`))
    const watch = await started({ pageLimit: 10 })
    expect(watch.current().pods.size).toBe(25)
    expect(asked('pods').map(({ query }) => query.get('limit'))).toEqual(['10', '10', '10'])
    expect(asked('pods', true).map(({ query }) => query.get('allowWatchBookmarks'))).toEqual(['true'])
    expect(fake.listsAtOnce).toBe(1)
    expect(fake.asked.filter(({ path }) => path.includes('secrets'))).toEqual([])
  })

  test('a port changes its protocol; a namespace goes in mid-export, in whatever order', async () => {
    const spec = (appProtocol: string) => ({ clusterIP: '10.0.0.1', ports: [{ name: 'main', port: 80, appProtocol }] })
    fake.put('services', { ...service(), spec: spec('http') })
    fake.put('pods', pod('a'))
    fake.put('endpointslices', slice('s', 'a'))
    fake.put('serviceexports', { metadata: { name: 'web', namespace: 'shop' } })
    const watch = await started({ kinds: [...withSlices, ...some('ServiceExport')] })
    const protocol = (): string | undefined => watch.current().services.get(key)?.ports[0]?.protocol
    const { endpoints } = watch.current()
    expect(protocol()).toBe('http')
    fake.put('services', { ...service(), spec: spec('tcp') })
    await eventually(20_000, 'it is tcp', () => protocol() === 'tcp')
    expect(watch.current().endpoints).toBe(endpoints)
    for (const [kind, name] of [
      ['pods', 'a'],
      ['services', 'web'],
      ['serviceexports', 'web'],
      ['endpointslices', 's'],
    ] as const)
      fake.remove(kind, `shop/${name}`)
    await eventually(20_000, 'nothing is left', () => {
      const { services, endpoints: left, pods: alive, exports } = watch.current()
      return services.size + left.size + alive.size + exports.size === 0
    })
    expect(watch.rejected()).toEqual([])
  })

  test('an annotation as long as kubectl makes them is no fault', async () => {
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': 'x'.repeat(20_000) }
    fake.put('pods', pod('a', { metadata: { name: 'a', namespace: 'shop', annotations } }))
    const watch = await started()
    expect([pods(watch), watch.rejected()]).toEqual(['a:sa-a', []])
  })

  test('a kind that the server does not have is empty, and looked for again', async () => {
    for (const kind of ['serviceexports', 'peerauthentications']) fake.serve(kind, false)
    const watch = await started({ kinds: some('ServiceExport', 'PeerAuthentication'), times: { absentMs: 20 } })
    expect(watch.rejected()).toEqual([])
    expect(asked('serviceexports').map(({ path }) => path.split('/')[3])).toContain('v1beta1')
    fake.serve('serviceexports', true)
    fake.put('serviceexports', { metadata: { name: 'web', namespace: 'shop' } })
    await eventually(20_000, 'the export is seen', () => watch.current().exports.has(key))
    // One 404 may be a server that has not yet read its own definitions: two are none.
    fake.serve('serviceexports', false)
    const { length } = asked('serviceexports')
    fake.expire('serviceexports')
    await eventually(20_000, 'the export is gone', () => !watch.current().exports.has(key))
    expect(asked('serviceexports').length).toBeGreaterThanOrEqual(length + 6)
  })
})

describe('a list', () => {
  test('that begins with an empty page is read to its end', async () => {
    fake.put('pods', pod('a'))
    fake.isEmptyFirst = true
    const watch = await started()
    expect(pods(watch)).toBe('a:sa-a')
    expect(asked('pods').length).toBe(2)
  })

  test('whose token expired is asked for anew, and then all at once', async () => {
    for (let n = 0; n < 5; n++) fake.put('pods', pod(`p${n}`))
    fake.fault = ({ query }) => (query.has('continue') ? { status: 410 } : undefined)
    const watch = await started({ pageLimit: 2 })
    expect(watch.current().pods.size).toBe(5)
    expect(asked('pods').map(({ query }) => [query.get('limit'), query.has('continue')])).toEqual([
      ['2', false],
      ['2', true],
      ['2', false],
      ['2', true],
      [null, false],
    ])
  })

  const metadata = { resourceVersion: '900' }
  test.each([
    ['that is none', { kind: 'Status' }, 'is no list'],
    ['with an object without a name', { metadata, items: [{ spec: {} }] }, 'no event of an object'],
    ['that is no JSON', 'nonsense', 'not JSON'],
    ['that never ends', { metadata: { ...metadata, continue: 'x' }, items: [] }, 'the same continue token'],
  ])('%s takes nothing away', async (_, body, reason) => {
    fake.put('pods', pod('a'))
    const watch = await started()
    fake.fault = ({ resource, isWatch }) => (resource === 'pods' && !isWatch ? { status: 200, body } : undefined)
    fake.remove('pods', 'shop/a', false)
    fake.expire('pods')
    await hears(watch, reason)
    await triedAgain('pods')
    expect(pods(watch)).toBe('a:sa-a')
    expect(watch.faults()).toMatchObject([{ at: 'pods', object: 'Pod' }])
    fake.fault = () => undefined
    await shows(watch, '')
    await isWell(watch)
  })

  test('of an older store is believed only when it is so again and again', async () => {
    fake.put('pods', pod('a'))
    const watch = await started()
    const { length } = asked('pods')
    fake.remove('pods', 'shop/a', false)
    fake.rewind(50)
    fake.put('pods', pod('old'))
    fake.expire('pods')
    await hears(watch, 'is older')
    expect(pods(watch)).toBe('a:sa-a')
    await shows(watch, 'old:sa-old')
    expect(asked('pods').length).toBeGreaterThanOrEqual(length + 4)
    fake.put('pods', pod('new'))
    await shows(watch, 'new:sa-new old:sa-old')
  })
})

describe('versions', () => {
  const event = (type: string, object: object): string => JSON.stringify({ type, object })

  test('that come again or go back bring no older object back', async () => {
    const first = fake.put('pods', pod('a', { spec: { serviceAccountName: 'first' } }))
    const gone = fake.put('pods', pod('b'))
    const watch = await started()
    const last = fake.put('pods', pod('a', { spec: { serviceAccountName: 'last' } }))
    fake.remove('pods', 'shop/b')
    await shows(watch, 'a:last')
    const states = new Set<string>()
    watch.onChange(() => states.add(pods(watch)))
    fake.send('pods', event('MODIFIED', last))
    for (const old of [event('MODIFIED', first), event('ADDED', gone), event('DELETED', first)]) {
      fake.send('pods', old)
      await eventually(20_000, 'it is watched', () => fake.watching('pods') === 1)
      await seen(watch)
    }
    expect([...states].filter((one) => one.includes('first') || one.includes('b:'))).toEqual([])
    expect(pods(watch)).toBe('a:last')
  })

  test('that are no numbers can only be the same', async () => {
    const watch = await started()
    const opaque = (version: string, account: string): object => {
      const { metadata, spec } = pod('o', { spec: { serviceAccountName: account } })
      return { metadata: { ...metadata, resourceVersion: version }, spec }
    }
    fake.send('pods', event('ADDED', opaque('x9', 'one')))
    await shows(watch, 'o:one')
    fake.send('pods', event('MODIFIED', opaque('x9', 'never')))
    fake.send('pods', event('MODIFIED', opaque('a1', 'two')))
    await shows(watch, 'o:two')
  })
})

describe('a watch', () => {
  test.each(['end', 'destroy'] as const)('that ends (%s) goes on where it was', async (how) => {
    const watch = await started()
    const lists = asked('pods').length
    fake.put('pods', pod('a'))
    await shows(watch, 'a:sa-a')
    fake.endWatches(how)
    fake.put('pods', pod('b'))
    await shows(watch, 'a:sa-a b:sa-b')
    expect(asked('pods').length).toBe(lists)
  })

  test('that was told a bookmark goes on from there', async () => {
    const watch = await started()
    fake.put('services', service())
    await eventually(20_000, 'the service is seen', () => watch.current().services.size === 1)
    fake.bookmark('pods')
    fake.endWatches('end', 'pods')
    await eventually(
      20_000,
      'pods are watched from there',
      () => asked('pods', true).at(-1)?.query.get('resourceVersion') === '101',
    )
  })

  test('that falls silent is noticed', async () => {
    const watch = await started({ times: { silentMs: 300 } })
    fake.endWatches('silence', 'pods')
    fake.put('pods', pod('a'))
    await shows(watch, 'a:sa-a')
  })

  test('all of them told 410 at once: one list at a time, what went meanwhile is gone, and nothing else is news', async () => {
    for (const name of ['a', 'b']) fake.put('pods', pod(name))
    fake.put('services', service())
    const watch = await started()
    const own = watch.current()
    for (let round = 0; round < 3; round++) {
      const before = asked('pods').length
      fake.compact()
      fake.expire()
      await eventually(20_000, 'pods are listed anew', () => asked('pods').length > before)
      for (const { resource } of kinds)
        await eventually(20_000, `${resource} are watched`, () => fake.watching(resource) === 1)
    }
    await isWell(watch)
    expect(watch.current()).toBe(own)
    fake.remove('pods', 'shop/a', false)
    fake.compact()
    fake.expire()
    await shows(watch, 'b:sa-b')
    expect(fake.listsAtOnce).toBe(1)
    expect(watch.current().services).toBe(own.services)
  })

  test.each([
    ['no JSON', 'nonsense'],
    ['no event', '{"type":"SOMETHING","object":{}}'],
    ['an event of nothing', '{"type":"ADDED","object":{"spec":{}}}'],
    ['an error', JSON.stringify({ type: 'ERROR', object: status(500, 'etcd is away') })],
    ['a version that is gone', JSON.stringify({ type: 'ERROR', object: status(410, 'too old') })],
  ])('in which comes %s: nothing is lost, and what follows is seen', async (_, line) => {
    fake.put('pods', pod('a'))
    const watch = await started()
    fake.send('pods', line)
    fake.put('pods', pod('b'))
    await shows(watch, 'a:sa-a b:sa-b')
    await isWell(watch)
  })

  test('that says the same nonsense each time is given up for a list', async () => {
    const watch = await started()
    fake.put('pods', pod('a'))
    fake.put('pods', { metadata: { name: 'b', namespace: 'shop' }, spec: { nodeName: 'n' } })
    await shows(watch, 'a:sa-a b:default')
    const lists = asked('pods').length
    fake.fault = ({ resource, isWatch }) =>
      resource === 'pods' && isWatch && asked('pods').length === lists ? { status: 200, body: 'nonsense\n' } : undefined
    fake.endWatches('end', 'pods')
    await eventually(20_000, 'pods are listed', () => asked('pods').length > lists)
    fake.put('pods', pod('c'))
    await shows(watch, 'a:sa-a b:default c:sa-c')
  })
})

describe('an API server', () => {
  test('that is away at the start is waited for', async () => {
    fake.put('pods', pod('a'))
    fake.away(true)
    const watch = opened()
    let isStarted = false
    const start = watch.start().then(() => {
      isStarted = true
    })
    await hears(watch, 'did not answer /api/v1/pods')
    expect([isStarted, watch.isSynced()]).toEqual([false, false])
    fake.away(false)
    await start
    expect([pods(watch), watch.rejected()]).toEqual(['a:sa-a', []])
  })

  test('that is away is named in the log once for each kind, and so is its return', async () => {
    const said: string[] = []
    const log = {
      info: (facts: object, text: string) => void said.push(`${JSON.stringify(facts).slice(0, 30)} ${text}`),
      warn: (facts: object, text: string) => void said.push(`${JSON.stringify(facts).slice(0, 30)} ${text}`),
    }
    const watch = await started({ log, kinds: some('Pod') })
    said.length = 0
    fake.away(true)
    await hears(watch, 'did not answer')
    fake.away(false)
    await isWell(watch)
    expect(said).toEqual([
      expect.stringMatching(/"Pod".* is not followed/),
      expect.stringMatching(/"Pod".* is followed again/),
    ])
  })

  test('that goes away takes nothing with it, and what happened meanwhile is seen when it is back', async () => {
    for (const name of ['a', 'b']) fake.put('pods', pod(name))
    const watch = await started()
    fake.away(true)
    await hears(watch, 'did not answer')
    fake.remove('pods', 'shop/a')
    fake.put('pods', pod('c'))
    fake.compact()
    expect([pods(watch), watch.isSynced()]).toEqual(['a:sa-a b:sa-b', true])
    fake.away(false)
    await shows(watch, 'b:sa-b c:sa-c')
    await isWell(watch)
  })

  test('that asks for patience (429) loses nothing', async () => {
    fake.put('pods', pod('a'))
    let refusals = 3
    fake.fault = ({ resource }) => (resource === 'pods' && refusals-- > 0 ? { status: 429 } : undefined)
    expect(pods(await started())).toBe('a:sa-a')
  })

  test.each(['list', 'watch'])('one RBAC verb short (%s) is named with its rule; the rest goes on', async (verb) => {
    fake.put('pods', pod('a'))
    fake.put('services', service())
    const said = `services is forbidden: User "u" cannot ${verb} resource "services" in API group "" at the cluster scope`
    fake.fault = ({ resource, isWatch }) =>
      resource === 'services' && isWatch === (verb === 'watch') ? { status: 403, body: status(403, said) } : undefined
    const watch = opened()
    const start = watch.start()
    await hears(
      watch,
      `add this rule to the ClusterRole of the relay: {"apiGroups":[""],"resources":["services"],"verbs":["${verb}"]}`,
    )
    await shows(watch, 'a:sa-a')
    expect(watch.isSynced()).toBe(false)
    fake.fault = () => undefined
    await start
    expect([watch.current().services.size, watch.isSynced()]).toEqual([1, true])
    await isWell(watch)
  })

  test('that no longer takes the token: everything stays, and goes on with the next', async () => {
    fake.put('pods', pod('a'))
    const watch = await started()
    fake.fault = () => ({ status: 401 })
    fake.endWatches('end')
    await hears(watch, 'its token or certificate is not taken')
    expect(pods(watch)).toBe('a:sa-a')
    fake.put('pods', pod('b'))
    fake.fault = () => undefined
    await shows(watch, 'a:sa-a b:sa-b')
    await isWell(watch)
  })
})

describe('objects', () => {
  test('that become invalid stay as they were, and that is said until they are right or gone', async () => {
    fake.put('pods', pod('a'))
    fake.put('pods', pod('b', { spec: 7 }))
    const watch = await started()
    expect(watch.rejected()).toMatchObject([{ at: '/api/v1/namespaces/shop/pods/b', object: 'Pod shop/b' }])
    fake.put('pods', pod('a', { spec: { serviceAccountName: 7 } }))
    await hears(watch, 'Pod shop/a: spec.serviceAccountName')
    await hears(watch, 'it stays as it was')
    expect(pods(watch)).toBe('a:sa-a')
    fake.remove('pods', 'shop/b')
    fake.put('pods', pod('a', { spec: { serviceAccountName: 'good' } }))
    await shows(watch, 'a:good')
    await isWell(watch)
  })

  test('a policy that was never right is there by name, as one that cannot be read', async () => {
    const watch = await started({ kinds: some('GlobalTrafficPolicy') })
    const policy = (spec: object): FakeObject => ({ metadata: { name: 'web', namespace: 'shop' }, spec })
    fake.put('globaltrafficpolicies', policy({ tirs: [] }))
    await eventually(20_000, 'it is told', () => watch.current().trafficObjects?.length === 1)
    expect(watch.current().trafficObjects).toMatchObject([{ fault: expect.stringContaining('tirs') }])
    fake.put('globaltrafficpolicies', policy({ services: { names: ['web'] } }))
    await eventually(20_000, 'it is right', () => watch.current().trafficObjects?.some((one) => 'spec' in one))
    fake.remove('globaltrafficpolicies', 'shop/web')
    await eventually(20_000, 'it is gone', () => watch.current().trafficObjects?.length === 0)
  })

  test('past the bound are set aside and counted, and taken when there is room', async () => {
    for (const name of ['a', 'b', 'c']) fake.put('pods', pod(name))
    const watch = await started({ kinds: kinds.map((kind) => (kind.kind === 'Pod' ? { ...kind, max: 2 } : kind)) })
    expect(pods(watch)).toBe('a:sa-a b:sa-b')
    expect(watch.rejected()).toMatchObject([
      { object: 'Pod', reason: expect.stringContaining('1 are past the bound of 2') },
    ])
    fake.remove('pods', 'shop/a')
    await shows(watch, 'b:sa-b')
    fake.endWatches('end', 'pods')
    await shows(watch, 'b:sa-b c:sa-c')
    await isWell(watch)
  })

  test('of two kinds that are both read anew are never shown half', async () => {
    fake.put('services', service())
    fake.put('pods', pod('a'))
    fake.put('endpointslices', slice('s', 'a'))
    const watch = await started({ kinds: withSlices, times: { holdMs: 3_600_000 } })
    const wrong: unknown[] = []
    watch.onChange(() => {
      const all = watch.current().endpoints.get(key) ?? []
      if (all.length !== 1 || !all.every(({ meshed }) => meshed)) wrong.push(all)
    })
    fake.away(true)
    await hears(watch, 'did not answer')
    fake.remove('pods', 'shop/a')
    fake.put('pods', pod('b'))
    fake.put('endpointslices', slice('s', 'b'))
    fake.compact()
    fake.away(false)
    await eventually(20_000, 'b is the endpoint', () => watch.current().endpoints.get(key)?.[0]?.pod === 'shop/b')
    expect(wrong).toEqual([])
  })
})

describe('whatever happens', () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), name, told: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), name, told: fc.boolean() }) },
    fc.record({ kind: fc.constant('again' as const), at: fc.nat(30) }),
    fc.constantFrom(
      ...(['expire', 'compact', 'end', 'destroy', 'nonsense', 'bookmark', 'away', 'back', 'seen'] as const).map(
        (kind) => ({ kind }),
      ),
    ),
  )

  test('nothing goes back, nothing comes back, and in the end all is as the API server has it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 25 }), async (steps) => {
        fake.away(false)
        const watch = await started({ kinds: some('Pod') })
        const { wrong, look } = lookout(watch)
        const lines: string[] = []
        const there = new Set(pods(watch).match(/[abc](?=:)/g))
        for (const one of steps) {
          if (one.kind === 'put') {
            const object = fake.put('pods', pod(one.name, { spec: { serviceAccountName: `v${counter++}` } }), one.told)
            lines.push(JSON.stringify({ type: there.has(one.name) ? 'MODIFIED' : 'ADDED', object }))
            there.add(one.name)
          } else if (one.kind === 'remove') {
            if (there.delete(one.name)) fake.remove('pods', `shop/${one.name}`, one.told)
          } else if (one.kind === 'again') fake.send('pods', lines[one.at] ?? '')
          else if (one.kind === 'compact') {
            fake.compact()
            fake.expire()
          } else if (one.kind === 'expire') fake.expire()
          else if (one.kind === 'nonsense') fake.send('pods', '{"type":')
          else if (one.kind === 'bookmark') fake.bookmark('pods')
          else if (one.kind === 'end' || one.kind === 'destroy') fake.endWatches(one.kind)
          else if (one.kind === 'seen') await new Promise((resolve) => setTimeout(resolve, 5))
          else fake.away(one.kind === 'away')
        }
        fake.away(false)
        // What was never told is found by a list, which nobody can now do without.
        fake.put('pods', pod('zz', { spec: { serviceAccountName: `v${counter++}` } }), false)
        fake.compact()
        fake.expire()
        await eventually(20_000, 'all is seen', () => {
          const now = (pods(watch).match(/[abcz]+(?=:)/g) ?? []).join()
          if (now !== [...there, 'zz'].toSorted().join() || watch.rejected().length > 0) throw new Error(now)
          return true
        })
        look()
        expect(wrong).toEqual([])
        await watch.stop()
      }),
      { numRuns: 6 },
    )
  })
  let counter = 1

  /** Pods say with their account how new they are. */
  function lookout(watch: KubernetesWatch) {
    const newest = new Map<string, { version: number; isGone: boolean }>()
    const wrong: string[] = []
    const look = (): void => {
      const now = watch.current().pods
      for (const [key, last] of newest) if (!now.has(key)) newest.set(key, { ...last, isGone: true })
      for (const [key, { serviceAccount }] of now) {
        const version = Number(serviceAccount.slice(1))
        const last = newest.get(key)
        if (last && (version < last.version || (last.isGone && version === last.version)))
          wrong.push(`${key}: ${version} after ${last.version}`)
        newest.set(key, { version, isGone: false })
      }
    }
    watch.onChange(look)
    look()
    return { wrong, look }
  }
})

describe('what was kept', () => {
  function store() {
    const files = new Map<string, string>()
    const kept: KeptObjects = {
      load: (kind) => JSON.parse(files.get(kind) ?? 'null') ?? undefined,
      save: (kind, objects) => void files.set(kind, JSON.stringify(objects)),
    }
    return { files, kept }
  }

  test('is served at once by a relay whose API server is away, and told to nobody', async () => {
    fake.put('services', service())
    for (const name of ['a', 'b']) fake.put('pods', pod(name))
    fake.put('endpointslices', slice('s', 'a', 'b'))
    const { kept, files } = store()
    const first = await started({ kinds: withSlices, kept })
    await eventually(20_000, 'all kinds are kept', () => files.size === withSlices.length)
    fake.put('pods', pod('c'))
    await shows(first, 'a:sa-a b:sa-b c:sa-c')
    await first.stop()
    fake.away(true)
    fake.remove('pods', 'shop/a')
    fake.put('endpointslices', slice('s', 'b'))
    const second = await started({ kinds: withSlices, kept })
    expect(pods(second)).toBe('a:sa-a b:sa-b c:sa-c')
    expect(second.current().endpoints.get(key)).toEqual(first.current().endpoints.get(key))
    expect(second.isSynced()).toBe(false)
    await hears(second, 'did not answer')
    expect(second.current().endpoints.get(key)?.length).toBe(2)
    fake.away(false)
    await shows(second, 'b:sa-b c:sa-c')
    expect(second.isSynced()).toBe(true)
    expect(second.current().endpoints.get(key)?.length).toBe(1)
  })

  test('an API server that answers is listened to first', async () => {
    fake.put('pods', pod('a'))
    const { kept, files } = store()
    const first = await started({ kept })
    await eventually(20_000, 'all kinds are kept', () => files.size === kinds.length)
    await first.stop()
    fake.put('pods', pod('b'))
    expect(pods(await started({ kept }))).toBe('a:sa-a b:sa-b')
  })

  test('one that says nothing is not waited for', async () => {
    const { kept, files } = store()
    const first = await started({ kept })
    await eventually(20_000, 'all kinds are kept', () => files.size === kinds.length)
    await first.stop()
    fake.fault = () => 'hang'
    expect((await started({ kept, times: { graceMs: 20 } })).isSynced()).toBe(false)
  })

  test('is never passed for what the API server said', async () => {
    fake.put('pods', pod('a'))
    const { kept, files } = store()
    const first = await started({ kept })
    await eventually(20_000, 'all kinds are kept', () => files.size === kinds.length)
    await first.stop()
    fake.put('pods', pod('b'))
    fake.away(true)
    const second = await started({ kept, times: { coalesceMs: 100 } })
    fake.away(false)
    await eventually(20_000, 'it is synced', () => second.isSynced())
    expect(pods(second)).toBe('a:sa-a b:sa-b')
  })

  test('where a kind is missing nothing counts', async () => {
    const { kept, files } = store()
    files.set('Pod', '[]')
    fake.put('pods', pod('a'))
    expect(pods(await started({ kept }))).toBe('a:sa-a')
  })
})
