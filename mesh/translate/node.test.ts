import { describe, expect, test } from 'vitest'
import { Problem } from '#mesh/model/problem.ts'
import { type NodeFacts, parseProxy } from '#mesh/translate/node.ts'

const identity = { namespace: 'bookinfo', serviceAccount: 'reviews' }
const node = (more: Partial<NodeFacts> = {}): NodeFacts => ({
  id: 'sidecar~10.4.1.7~reviews-v1-a.bookinfo~bookinfo.svc.cluster.local',
  cluster: 'reviews.bookinfo',
  metadata: {},
  extensions: [],
  ...more,
})

/** The problem that `run` throws, as `kind: detail`. */
function problem(run: () => unknown): string {
  try {
    run()
    return 'nothing was thrown'
  } catch (error) {
    return error instanceof Problem ? `${error.kind}: ${error.message}` : String(error)
  }
}

describe('a node as pilot-agent sends it', () => {
  test('is read, whatever is quoted', () => {
    const metadata = {
      NAMESPACE: 'bookinfo',
      SERVICE_ACCOUNT: 'reviews',
      INSTANCE_IPS: '10.4.1.7,fe80::1, not-an-ip',
      INTERCEPTION_MODE: 'REDIRECT',
      LABELS: { version: 'v1', app: 'reviews', generation: 3 },
      ENVOY_STATUS_PORT: 15021,
      PILOT_SAN: ['istiod.istio-system.svc'],
      METADATA_DISCOVERY: 'false',
      PROXY_CONFIG: { concurrency: 1 },
    }
    expect(parseProxy(node({ metadata, locality: { region: 'r1', zone: 'z1' } }), identity)).toEqual({
      kind: 'sidecar',
      id: 'sidecar~10.4.1.7~reviews-v1-a.bookinfo~bookinfo.svc.cluster.local',
      namespace: 'bookinfo',
      pod: 'reviews-v1-a',
      serviceAccount: 'reviews',
      ips: ['10.4.1.7', 'fe80::1'],
      labels: { app: 'reviews', generation: '3', version: 'v1' },
      locality: { region: 'r1', zone: 'z1' },
      interception: 'REDIRECT',
    })
  })

  test('without metadata is read from its id', () => {
    expect(parseProxy(node(), identity)).toMatchObject({
      pod: 'reviews-v1-a',
      ips: ['10.4.1.7'],
      interception: 'REDIRECT',
    })
    const router = parseProxy(node({ id: 'router~10.4.2.9~gw.x.isthmus-system~isthmus-system.svc.cluster.local' }), {
      namespace: 'isthmus-system',
      serviceAccount: 'eastwest',
    })
    expect(router).toMatchObject({ kind: 'router', pod: 'gw.x' })
  })
})

describe('a node of our own', () => {
  test('says where it listens', () => {
    const plain = {
      application: '127.21.1.2',
      outbound: '127.21.1.3',
      tcp: { 'db.shop.svc.cluster.local:5432': '127.21.1.10' },
    }
    const proxy = parseProxy(node({ metadata: { INTERCEPTION_MODE: 'NONE', ISTHMUS: plain } }), identity)
    expect(proxy).toMatchObject({ interception: 'NONE', plain })
    const gateway = { address: '127.21.0.2', port: 15443 }
    expect(
      parseProxy(node({ id: 'router~127.21.0.2~gw.bookinfo~x', metadata: { ISTHMUS: { gateway } } }), identity).gateway,
    ).toEqual(gateway)
  })
})

describe('a node is refused', () => {
  const metadata = (more: NodeFacts['metadata']) => node({ metadata: more })
  test.each([
    ['too few parts', node({ id: 'sidecar~10.4.1.7' }), /^invalid: node id "sidecar~10.4.1.7" is not/],
    ['too many parts', node({ id: 'sidecar~a~b~c~d' }), /^invalid: node id/],
    ['a kind that is not served', node({ id: 'ztunnel~10.4.1.7~a.b~c' }), /^invalid: .* has type "ztunnel"/],
    [
      'another namespace',
      metadata({ NAMESPACE: 'kube-system' }),
      /^forbidden: the node says NAMESPACE "kube-system", its identity says "bookinfo"/,
    ],
    ['another account', metadata({ SERVICE_ACCOUNT: 'admin' }), /^forbidden: the node says SERVICE_ACCOUNT "admin"/],
    [
      'NONE without addresses',
      metadata({ INTERCEPTION_MODE: 'NONE' }),
      /^invalid: .*ISTHMUS.application is missing; .*ISTHMUS.outbound is missing/,
    ],
    [
      'a name where an address belongs',
      metadata({
        INTERCEPTION_MODE: 'NONE',
        ISTHMUS: { application: '127.0.0.1', outbound: '127.0.0.1', tcp: { 'db:1': 'db' } },
      }),
      /^invalid: .*tcp\["db:1"\] "db" is not an IP address/,
    ],
    [
      'a gateway that listens nowhere',
      node({ id: 'router~10.4.1.7~a.b~c', metadata: { ISTHMUS: { gateway: { address: 'gw', port: 0 } } } }),
      /^invalid: ISTHMUS.gateway/,
    ],
  ])('%s', (_, given, expected) => {
    expect(problem(() => parseProxy(given, identity))).toMatch(expected)
  })
})
