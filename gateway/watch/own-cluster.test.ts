import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ownClusterOf } from '#gateway/watch/own-cluster.ts'
import { type PlacedObject, parseFile } from '#gateway/watch/parse-file.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { parseNetworkName, serviceKey } from '#mesh/model/id.ts'
import type { OwnCluster } from '#mesh/model/view.ts'

const home = { network: parseNetworkName('n1'), region: 'r1' }
const key = serviceKey('shop', 'web')

const parse = (...documents: string[]): readonly PlacedObject[] => {
  const parsed = parseFile('f.yaml', documents.join('\n---\n'))
  expect(parsed.rejected).toEqual([])
  return parsed.objects
}
const service = (spec = 'clusterIP: 10.0.0.1') => `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {${spec}, ports: [{name: http, port: 80, targetPort: web}, {name: admin, port: 81}]}`
const pod = (name: string, more = '', labels = 'security.istio.io/tlsMode: istio') => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, labels: {${labels}}}
spec: {serviceAccountName: sa-${name}${more}}`
const slice = (name: string, endpoints: string, more = 'addressType: IPv4\nports: [{name: http, port: 8080}]') => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}, namespace: shop, labels: {kubernetes.io/service-name: web}}
endpoints: [${endpoints}]
${more}`
const at = (address: string, name: string, conditions = '') =>
  `{addresses: ["${address}"], targetRef: {kind: Pod, name: ${name}}, zone: z1${conditions ? `, conditions: {${conditions}}` : ''}}`

const clusterOf = (...documents: string[]): OwnCluster => ownClusterOf(parse(...documents), home)
const endpointsOf = (...documents: string[]): readonly Endpoint[] => clusterOf(...documents).endpoints.get(key) ?? []

describe('endpoints', () => {
  test('a slice and its pod make an endpoint, ports by the service port’s name', () => {
    expect(endpointsOf(service(), pod('a'), slice('s', at('10.1.0.1', 'a')))).toEqual([
      {
        address: '10.1.0.1',
        ports: { http: 8080 },
        health: 'ready',
        locality: { region: 'r1', zone: 'z1' },
        network: 'n1',
        pod: 'shop/a',
        serviceAccount: 'sa-a',
        meshed: true,
      },
    ])
  })

  test.each([
    ['', 'ready'],
    ['ready: true', 'ready'],
    ['ready: null', 'ready'],
    ['ready: false', 'not-ready'],
    ['ready: false, serving: true, terminating: true', 'draining'],
    ['ready: false, serving: false, terminating: true', 'not-ready'],
    ['ready: true, terminating: true', 'draining'],
  ])('conditions {%s}: %s', (conditions, health) => {
    expect(endpointsOf(service(), slice('s', at('10.1.0.1', 'a', conditions)))[0]?.health).toBe(health)
  })

  test('follow their pod where nothing but the pod changed', () => {
    const fixed = parse(service(), slice('s', at('10.1.0.1', 'a')))
    const before = ownClusterOf([...fixed, ...parse(pod('a'))], home)
    expect(before.endpoints.get(key)?.[0]?.meshed).toBe(true)
    const after = ownClusterOf([...fixed, ...parse(pod('a', '', 'app: web'))], home, before)
    expect(after.endpoints.get(key)?.[0]?.meshed).toBe(false)
  })

  test('a pod that is not known is counted as not meshed', () => {
    expect(endpointsOf(service(), slice('s', at('10.1.0.1', 'a')))[0]).toMatchObject({
      meshed: false,
      serviceAccount: '',
    })
    expect(endpointsOf(service(), pod('a', '', 'app: x'), slice('s', at('10.1.0.1', 'a')))[0]?.meshed).toBe(false)
  })

  test('slices with the ports of one pod are one endpoint, as healthy as its worst', () => {
    const other = slice('t', at('10.1.0.1', 'a', 'ready: false'), 'addressType: IPv4\nports: [{name: admin, port: 9}]')
    expect(endpointsOf(service(), pod('a'), slice('s', at('10.1.0.1', 'a')), other)).toMatchObject([
      { ports: { http: 8080, admin: 9 }, health: 'not-ready' },
    ])
  })

  test.each([
    ['clusterIP: 10.0.0.1', ['10.1.0.1', '10.1.0.2']],
    ['clusterIP: "fd00::1"', ['10.1.0.2', 'fd00::a']],
  ])('a pod of both families counts once, in that of its Service (%s)', (spec, addresses) => {
    const six = slice('t', at('fd00::a', 'a'), 'addressType: IPv6\nports: [{name: http, port: 8080}]')
    const four = slice('s', `${at('10.1.0.1', 'a')}, ${at('10.1.0.2', 'b')}`)
    expect(endpointsOf(service(spec), six, four).map((e) => e.address)).toEqual(addresses)
  })

  test('the hostname of a pod stays, whichever of its slices says it', () => {
    const bare = at('10.1.0.1', 'a')
    const named = `${bare.slice(0, -1)}, hostname: web-0}`
    for (const [one = '', other = ''] of [
      [named, bare],
      [bare, named],
    ])
      expect(endpointsOf(service('clusterIP: None'), slice('s', one), slice('t', other))).toMatchObject([
        { hostname: 'web-0' },
      ])
  })

  test('the network: of the pod, of its namespace, of Istio’s namespace, of the cluster', () => {
    const namespace = (name: string, network: string) =>
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}, labels: {topology.istio.io/network: ${network}}}`
    const network = (...more: string[]) => endpointsOf(service(), slice('s', at('10.1.0.1', 'a')), ...more)[0]?.network
    const plain = pod('a')
    expect(network(plain)).toBe('n1')
    expect(network(plain, namespace('istio-system', 'n2'))).toBe('n2')
    expect(network(plain, namespace('istio-system', 'n2'), namespace('shop', 'n3'))).toBe('n3')
    expect(network(pod('a', '', 'topology.istio.io/network: n4'), namespace('shop', 'n3'))).toBe('n4')
  })

  test('a Service without slices has no endpoints, a slice without its Service is nobody’s', () => {
    expect(clusterOf(service()).endpoints).toEqual(new Map([[key, []]]))
    expect(clusterOf(slice('s', at('10.1.0.1', 'a'))).endpoints).toEqual(new Map())
  })
})

test('exports, refusals and policies', () => {
  const mcs = (kind: string, name: string, annotations: string) =>
    `apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: shop, annotations: {${annotations}}}`
  const own = clusterOf(
    mcs('ServiceExport', 'web', 'isthmus.dev/consumers: b'),
    mcs('ServiceImport', 'no', 'isthmus.dev/accept: "false"'),
    mcs('ServiceImport', 'yes', ''),
    'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec: {mtls: {mode: PERMISSIVE}}',
  )
  expect(own.exports.get(key)).toEqual({ key, consumers: ['b'], createdAt: 0, origin: 'f.yaml:1' })
  expect([...own.refused]).toEqual(['shop/no'])
  expect(own.peerAuthentications).toEqual([
    { namespace: 'shop', name: 'p', selector: {}, mode: 'PERMISSIVE', ports: {} },
  ])
})

describe('identity', () => {
  const all = [service(), pod('a'), pod('b'), slice('s', at('10.1.0.1', 'a')), slice('t', at('10.1.0.2', 'b'))]
  const before = ownClusterOf(parse(...all), home)

  test('equal objects read again give the very same value', () => {
    expect(ownClusterOf(parse(...all), home, before)).toBe(before)
  })

  test('one endpoint changes: every other part is the same object', () => {
    const changed = [
      service(),
      pod('a'),
      pod('b'),
      slice('s', at('10.1.0.1', 'a')),
      slice('t', at('10.1.0.2', 'b', 'ready: false')),
    ]
    const after = ownClusterOf(parse(...changed), home, before)
    expect(after).not.toBe(before)
    expect(after.services).toBe(before.services)
    expect(after.pods).toBe(before.pods)
    expect(after.endpoints.get(key)?.[0]).toBe(before.endpoints.get(key)?.[0])
    expect(after.endpoints.get(key)?.[1]).toMatchObject({ health: 'not-ready' })
  })

  test('an endpoint in front leaves the others the same objects', () => {
    const after = ownClusterOf(parse(...all, slice('u', at('10.1.0.0', 'c'))), home, before)
    expect(after.endpoints.get(key)?.[1]).toBe(before.endpoints.get(key)?.[0])
  })
})

describe('changes', () => {
  const node = (name: string, zone: string) =>
    `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}, labels: {topology.kubernetes.io/zone: ${zone}}}`
  const noZone = (address: string, name: string) => `{addresses: ["${address}"], targetRef: {kind: Pod, name: ${name}}}`
  const sliceOf = (name: string, of: string, pods: readonly string[], hostname = ''): string =>
    slice(
      name,
      pods.map((p) => noZone(`10.1.0.${p.charCodeAt(0)}`, p).replace('}}', `}${hostname}}`)).join(', '),
    ).replace('name: web', `name: ${of}`)
  /** What one place of the cluster may hold. */
  const may: readonly (readonly string[])[] = [
    ...['a', 'b', 'c'].map((name) => [
      pod(name, ', nodeName: n1'),
      pod(name, ', nodeName: n2'),
      pod(name, '', 'app: x'),
    ]),
    ...['n1', 'n2'].map((name) => [node(name, 'z1'), node(name, 'z2')]),
    ...['r', 's', 't'].map((name) => [
      sliceOf(name, 'web', ['a', 'b'], `, hostname: ${name}`),
      sliceOf(name, 'web', ['b', 'c']),
      sliceOf(name, 'other', ['a']),
      sliceOf(name, 'nobody', ['c']),
    ]),
  ]
  const parsed = may.map((documents) => documents.map((one) => parse(one)[0]))
  const services = parse(service(), service().replace('name: web', 'name: other'))
  const objectsOf = (state: readonly (PlacedObject | undefined)[]) =>
    [...services, ...state.flatMap((one) => one ?? [])].toSorted((a, b) => (a.id < b.id ? -1 : 1))

  test('of slices, pods and nodes give what reading everything gives, and do not read everything', () => {
    const step = fc.array(fc.tuple(fc.nat(may.length - 1), fc.nat(4)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        const state = parsed.map(([first]) => first)
        let own = ownClusterOf(objectsOf(state), home)
        for (const some of steps) {
          const was = [...state]
          for (const [place, what] of some) state[place] = parsed[place]?.[what]
          const changes = state.flatMap((now, place) => {
            const old = was[place]
            return old === now ? [] : [{ ...(old ? { old } : {}), ...(now ? { now } : {}) }]
          })
          const asked = () => expect.unreachable('everything was read')
          const next = ownClusterOf(asked, home, own, changes)
          expect(next).toEqual(ownClusterOf(objectsOf(state), home))
          expect(next.services).toBe(own.services)
          for (const [name, one] of next.pods) if (own.pods.get(name) === one) expect(next.pods.get(name)).toBe(one)
          own = next
        }
        expect(ownClusterOf(objectsOf(state), home, own)).toEqual(own)
      }),
      { numRuns: 60 },
    )
  })

  test('a node that says another zone moves its pods and no others', () => {
    const state = [
      pod('a', ', nodeName: n1'),
      pod('b', ', nodeName: n2'),
      node('n1', 'z1'),
      node('n2', 'z1'),
      sliceOf('s', 'web', ['a', 'b']),
    ]
    const objects = [...services, ...parse(...state)]
    const before = ownClusterOf(objects, home)
    const [now] = parse(node('n2', 'z2'))
    const old = objects.find(({ id }) => id === 'Node n2')
    if (!old || !now) throw new Error('the node is missing')
    const after = ownClusterOf([], home, before, [{ old, now }])
    expect(after.endpoints.get(key)?.map(({ locality }) => locality.zone)).toEqual(['z1', 'z2'])
    expect(after.endpoints.get(key)?.[0]).toBe(before.endpoints.get(key)?.[0])
    expect(after.pods).toBe(before.pods)
  })

  test('a Service that changes is read with everything', () => {
    const before = ownClusterOf(services, home)
    const [now] = parse(service('clusterIP: 10.0.0.9'))
    const [old] = services.filter(({ id }) => id === now?.id)
    if (!old || !now) throw new Error('the service is missing')
    const after = ownClusterOf(() => [now], home, before, [{ old, now }])
    expect([...after.services.values()].map(({ clusterIps }) => clusterIps)).toEqual([['10.0.0.9']])
  })
})

describe('east-west gateways', () => {
  const gatewayService = (status: string, labels = 'topology.istio.io/network: n1', spec = '') => `
apiVersion: v1
kind: Service
metadata: {name: eastwest, namespace: istio-system, labels: {${labels}}}
spec: {type: LoadBalancer, ports: [{name: status, port: 15021}, {name: tls, port: 15443}, {name: other, port: 443}]${spec}}
status: {loadBalancer: {${status}}}`
  const gatewaysOf = (...documents: string[]) => clusterOf(...documents).gateways?.map((g) => `${g.address}:${g.port}`)

  test('a load balancer’s addresses and names, in one spelling', () => {
    const status = 'ingress: [{hostname: GW-1.elb.eu-west-1.amazonaws.com.}, {ip: 203.0.113.7}, {ip: ""}]'
    expect(gatewaysOf(gatewayService(status, undefined, ', externalIPs: [198.51.100.1]'))).toEqual([
      '198.51.100.1:15443',
      '203.0.113.7:15443',
      'gw-1.elb.eu-west-1.amazonaws.com:15443',
    ])
  })
  test('the port is as the label says', () => {
    const labels = 'topology.istio.io/network: n1, networking.istio.io/gatewayPort: "443"'
    expect(gatewaysOf(gatewayService('ingress: [{ip: 203.0.113.7}]', labels))).toEqual(['203.0.113.7:443'])
  })
  test.each([
    ['no load balancer yet', gatewayService('')],
    ['another network', gatewayService('ingress: [{ip: 203.0.113.7}]', 'topology.istio.io/network: n2')],
    ['no label', gatewayService('ingress: [{ip: 203.0.113.7}]', 'app: web')],
    [
      'no such port',
      gatewayService(
        'ingress: [{ip: 203.0.113.7}]',
        'topology.istio.io/network: n1, networking.istio.io/gatewayPort: "1"',
      ),
    ],
  ])('%s: none', (_, document) => expect(gatewaysOf(document)).toEqual([]))
  test('what did not change is the same list', () => {
    const objects = parse(gatewayService('ingress: [{ip: 203.0.113.7}]'))
    const before = ownClusterOf(objects, home)
    const after = ownClusterOf([...objects, ...parse(service())], home, before)
    expect(after.gateways).toBe(before.gateways)
  })
})

test('policies that were never read are there, with why; files that were never read are counted', () => {
  const good = `
apiVersion: isthmus.dev/v1alpha1
kind: GlobalTrafficPolicy
metadata: {name: web, namespace: shop}
spec: {services: {names: [web]}}`
  const rejected = (object: string) => ({ at: 'f.yaml:9', object, reason: 'spec.tirs: there is no such field' })
  const unread = {
    rejected: ['GlobalTrafficPolicy shop/web', 'GlobalTrafficPolicy shop/odd', 'SamenessGroup prod', 'document 3'].map(
      rejected,
    ),
    files: 1,
  }
  const found = ownClusterOf(parse(good), home, undefined, undefined, unread)
  expect(found.unreadFiles).toBe(1)
  expect(found.trafficObjects).toEqual([
    { kind: 'GlobalTrafficPolicy', namespace: 'shop', name: 'odd', fault: 'spec.tirs: there is no such field' },
    { kind: 'GlobalTrafficPolicy', namespace: 'shop', name: 'web', spec: { services: { names: ['web'] } } },
    { kind: 'SamenessGroup', name: 'prod', fault: 'spec.tirs: there is no such field' },
  ])
  expect(ownClusterOf(parse(good), home, found, [], unread)).toBe(found)
  expect(ownClusterOf(parse(good), home, found, []).unreadFiles).toBe(0)
})
