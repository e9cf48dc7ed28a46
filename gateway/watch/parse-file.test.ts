import { describe, expect, test } from 'vitest'
import { parseFile } from '#gateway/watch/parse-file.ts'

const service = (name: string, more = ''): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]${more}}\n`
const used = (text: string): string[] => parseFile('f.yaml', text).objects.map((o) => `${o.id} ${o.at}`)
const set = (text: string): string[] =>
  parseFile('f.yaml', text).rejected.map((r) => `${r.at} ${r.object}: ${r.reason}`)
const objectOf = (text: string) => parseFile('f.yaml', text).objects[0]?.object
const object = (apiVersion: string, kind: string, metadata: string, rest = ''): string =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: x, namespace: shop${metadata}}\n${rest}`

describe('documents', () => {
  test('several documents, each with its line', () => {
    expect(used(`# a comment\n${service('a')}---\n---\n${service('b')}...\n`)).toEqual([
      'Service shop/a f.yaml:2',
      'Service shop/b f.yaml:8',
    ])
  })

  test('a List and a ServiceList, each item with its line', () => {
    const item = (name: string) =>
      `- apiVersion: v1\n  kind: Service\n  metadata: {name: ${name}, namespace: shop}\n  spec: {ports: []}\n`
    const list = (kind: string) => `apiVersion: v1\nkind: ${kind}\nitems:\n${item('a')}${item('b')}`
    expect(used(list('List'))).toEqual(['Service shop/a f.yaml:4', 'Service shop/b f.yaml:8'])
    expect(used(list('ServiceList'))).toEqual(['Service shop/a f.yaml:4', 'Service shop/b f.yaml:8'])
    expect(used('apiVersion: v1\nkind: List\nitems: null\n')).toEqual([])
  })

  test('a malformed document is set aside with its line, the rest goes on', () => {
    const text = `${service('a')}---\nkind: [\n---\n${service('b')}`
    expect(used(text)).toEqual(['Service shop/a f.yaml:1', 'Service shop/b f.yaml:8'])
    expect(set(text)).toEqual([expect.stringMatching(/^f\.yaml:[678] document 2: is malformed YAML: /)])
    expect(parseFile('f.yaml', text).isUnclear).toBe(true)
  })

  test.each([
    ['nothing', ''],
    ['white space', ' \n\n'],
    ['comments', '# nothing here\n'],
    ['empty documents', '---\n---\nnull\n'],
  ])('%s is no object and no fault', (_name, text) => {
    expect(parseFile('f.yaml', text)).toEqual({ objects: [], rejected: [], invalid: new Set(), isUnclear: false })
  })

  test.each([
    ['a scalar', 'hello\n', 'is not an object'],
    ['a list', '- 1\n- 2\n', 'is not an object'],
    ['no kind', 'apiVersion: v1\nmetadata: {name: a}\n', 'kind: '],
    ['no name', 'apiVersion: v1\nkind: Service\nmetadata: {}\n', 'metadata.name'],
    ['a name that is none', 'apiVersion: v1\nkind: Service\nmetadata: {name: A_b}\n', 'is not a Kubernetes name'],
    ['a key twice', 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\nspec: {}\n', 'says "spec" twice'],
    ['tabs', 'kind:\n\t- x\n', 'malformed'],
  ])('%s: nothing can be concluded from such a file', (_name, text, reason) => {
    const parsed = parseFile('f.yaml', text)
    expect(parsed.objects).toEqual([])
    expect(parsed.isUnclear).toBe(true)
    expect(parsed.rejected[0]?.reason).toContain(reason)
  })

  test('an alias bomb is refused in no time, an anchor or two are fine', () => {
    const layer = (n: number) =>
      `l${n}: &l${n} [${Array(10)
        .fill(`*l${n - 1}`)
        .join(', ')}]\n`
    const bomb = `l0: &l0 [x]\n${[1, 2, 3, 4, 5, 6, 7, 8, 9].map(layer).join('')}`
    const before = process.cpuUsage()
    expect(set(bomb)).toEqual([expect.stringContaining('cannot be expanded')])
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(4)
    expect(used('apiVersion: v1\nkind: Pod\nmetadata: {name: &n x, labels: {app: *n}}\n')).toEqual([
      'Pod default/x f.yaml:1',
    ])
  })

  test('depth and width do not hang or crash the reader', () => {
    const before = process.cpuUsage()
    expect(set('['.repeat(200_000))).toHaveLength(1)
    const wide = Array.from({ length: 50_000 }, (_, i) => `k${i}: 1`).join('\n')
    expect(set(wide)).toHaveLength(1)
    // Processor time, not the clock's: others may keep the machine busy. A quadratic search would take minutes.
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(20)
  }, 120_000)
})

describe('kinds', () => {
  test.each([
    ['apps/v1', 'Deployment'],
    ['v1', 'ConfigMap'],
    ['rbac.authorization.k8s.io/v1', 'ClusterRole'],
    ['networking.k8s.io/v1', 'Ingress'],
  ])('%s %s has its place here and means nothing to a relay', (apiVersion, kind) => {
    expect(parseFile('f.yaml', object(apiVersion, kind, ''))).toMatchObject({
      objects: [],
      rejected: [],
      isUnclear: false,
    })
  })

  test.each([
    ['example.com/v1', 'Frobnicator', 'not a kind that is known'],
    ['v1', 'Frobnicator', 'not a kind that is known'],
    ['security.istio.io/v1', 'AuthorizationPolicy', 'has no effect in this version'],
    ['networking.istio.io/v1', 'VirtualService', 'has no effect in this version'],
    ['discovery.k8s.io/v1beta1', 'EndpointSlice', 'use v1'],
  ])('%s %s is set aside by name', (apiVersion, kind, reason) => {
    const parsed = parseFile('f.yaml', object(apiVersion, kind, ''))
    expect(parsed.rejected).toEqual([
      { at: 'f.yaml:1', object: `${kind} shop/x`, reason: expect.stringContaining(reason) },
    ])
    expect(parsed.isUnclear).toBe(false)
  })

  test.each([
    ['a port of 0', 'v1', 'Service', '', 'spec: {ports: [{port: 0}]}', 'spec.ports.0.port'],
    ['a port as text', 'v1', 'Service', '', 'spec: {ports: [{port: http}]}', 'spec.ports.0.port'],
    ['a Service without spec', 'v1', 'Service', '', '', 'spec'],
    ['a label that is no text', 'v1', 'Pod', ', labels: {a: 1}', '', 'metadata.labels.a'],
    ['a network that is no name', 'v1', 'Pod', ', labels: {topology.istio.io/network: A_b}', '', 'network "A_b"'],
    [
      'consumers that are no names',
      'multicluster.x-k8s.io/v1alpha1',
      'ServiceExport',
      ', annotations: {isthmus.dev/consumers: "b,C!"}',
      '',
      '"C!"',
    ],
    [
      'accept: maybe',
      'multicluster.x-k8s.io/v1alpha1',
      'ServiceImport',
      ', annotations: {isthmus.dev/accept: maybe}',
      '',
      '"maybe"',
    ],
    [
      'a mode that is none',
      'security.istio.io/v1',
      'PeerAuthentication',
      '',
      'spec: {mtls: {mode: STRIKT}}',
      'spec.mtls.mode',
    ],
    [
      'an address that is none',
      'discovery.k8s.io/v1',
      'EndpointSlice',
      ', labels: {kubernetes.io/service-name: x}',
      'addressType: IPv4\nendpoints: [{addresses: [nowhere]}]\n',
      'is not an IP address',
    ],
  ])('%s: that object is set aside', (_name, apiVersion, kind, metadata, rest, reason) => {
    const text = `${object(apiVersion, kind, metadata, rest)}\n---\n${service('other')}`
    expect(parseFile('f.yaml', text).rejected).toEqual([
      expect.objectContaining({ at: 'f.yaml:1', reason: expect.stringContaining(reason) }),
    ])
    expect(used(text)).toHaveLength(1)
  })
})

describe('what an object says', () => {
  test('a Service: TCP ports with their protocol, headless by clusterIP None', () => {
    const spec =
      'spec: {clusterIP: None, ports: [{name: grpc-x, port: 1}, {name: dns, port: 53, protocol: UDP}, {port: 2, appProtocol: tls}]}'
    expect(objectOf(object('v1', 'Service', '', spec))).toEqual({
      kind: 'Service',
      key: 'shop/x',
      ports: [
        { name: 'grpc-x', port: 1, protocol: 'grpc', declared: true },
        { name: '', port: 2, protocol: 'tls', declared: true },
      ],
      clusterIps: [],
      headless: true,
    })
  })

  test('a Service: the first sixteen labels that Kubernetes would take, and whether clients stay with one pod', () => {
    const labels = Array.from({ length: 20 }, (_, n) => `l${String(n).padStart(2, '0')}: v`).join(', ')
    const text = (more: string) =>
      `apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: shop, labels: {${labels}, a: ${'x'.repeat(64)}}}\nspec: {${more}}\n`
    const sticky = objectOf(text('sessionAffinity: ClientIP'))
    expect(sticky).toMatchObject({ sticky: true })
    expect(sticky?.kind === 'Service' && Object.keys(sticky.labels ?? {})).toEqual(
      Array.from({ length: 16 }, (_, n) => `l${String(n).padStart(2, '0')}`),
    )
    expect(objectOf(text('sessionAffinity: None'))).not.toHaveProperty('sticky')
  })

  test('an ExternalName is none that has pods', () => {
    const found = objectOf(object('v1', 'Service', '', 'spec: {type: ExternalName, externalName: example.com}'))
    expect(found?.kind).toBe('ExternalName')
  })

  test('a ServiceImport keeps the addresses that it names', () => {
    const metadata =
      ', annotations: {isthmus.dev/addresses-0: "db-0.b=241.0.0.2"}, creationTimestamp: "2026-01-01T00:00:00Z"'
    const text = object('multicluster.x-k8s.io/v1beta1', 'ServiceImport', metadata, 'spec: {ips: ["241.0.0.1"]}')
    expect(objectOf(text)).toMatchObject({
      accept: true,
      addresses: { ip: '241.0.0.1', parts: { 'db-0.b': '241.0.0.2' }, createdAt: Date.parse('2026-01-01') },
    })
  })

  test.each([
    ['', undefined],
    [', annotations: {isthmus.dev/consumers: "c, b,,group/prod"}', ['b', 'c', 'group/prod']],
    [', annotations: {isthmus.dev/consumers: ""}', []],
    [', annotations: {isthmus.dev/consumers: "*, spiffe://partner.example"}', ['*', 'spiffe://partner.example']],
  ])('a ServiceExport %s', (metadata, consumers) => {
    const text = object('multicluster.x-k8s.io/v1alpha1', 'ServiceExport', metadata)
    expect(objectOf(text)).toEqual({
      kind: 'ServiceExport',
      key: 'shop/x',
      createdAt: 0,
      ...(consumers ? { consumers } : {}),
    })
  })

  test.each([
    ['', undefined],
    [', annotations: {isthmus.dev/per-cluster-name: "true"}', true],
    [', annotations: {isthmus.dev/per-cluster-name: "true", isthmus.dev/consumers: b}', true],
    [', annotations: {isthmus.dev/per-cluster-name: "false"}', undefined],
  ])('a name of its own for its cluster: ServiceExport with {name: x%s}', (metadata, perCluster) => {
    const found = objectOf(object('multicluster.x-k8s.io/v1alpha1', 'ServiceExport', metadata))
    expect(found?.kind === 'ServiceExport' && found.perCluster).toBe(perCluster)
  })

  test('an annotation that is neither true nor false sets the export aside', () => {
    const said = ', annotations: {isthmus.dev/per-cluster-name: yes please}'
    expect(set(object('multicluster.x-k8s.io/v1alpha1', 'ServiceExport', said))).toEqual([
      expect.stringContaining('per-cluster-name is "yes please": use "true" or "false"'),
    ])
  })

  test('an export’s age is its creationTimestamp', () => {
    const text = object(
      'multicluster.x-k8s.io/v1alpha1',
      'ServiceExport',
      ', creationTimestamp: "2026-01-02T03:04:05Z"',
    )
    expect(objectOf(text)).toMatchObject({ createdAt: Date.UTC(2026, 0, 2, 3, 4, 5) })
  })

  test('a PeerAuthentication: UNSET inherits', () => {
    const spec =
      'spec: {selector: {matchLabels: {app: x}}, mtls: {mode: UNSET}, portLevelMtls: {80: {mode: DISABLE}, 81: {mode: UNSET}}}'
    expect(objectOf(object('security.istio.io/v1', 'PeerAuthentication', '', spec))).toEqual({
      kind: 'PeerAuthentication',
      policy: { namespace: 'shop', name: 'x', selector: { app: 'x' }, ports: { 80: 'DISABLE' } },
    })
  })

  test('a Pod before it is scheduled', () => {
    expect(objectOf(object('v1', 'Pod', '', 'spec: null\nstatus: {podIPs: null}\n'))).toEqual({
      kind: 'Pod',
      pod: { namespace: 'shop', name: 'x', ips: [], serviceAccount: 'default', labels: {}, node: '', meshed: false },
    })
  })
})

describe('policies and groups', () => {
  const policy = (spec: string, more = ''): string =>
    `apiVersion: isthmus.dev/v1alpha1\nkind: GlobalTrafficPolicy\nmetadata: {name: x, namespace: shop}\nspec: ${spec}\n${more}`

  test('by the rules of the API: every unknown field is named with its path', () => {
    const spec = { services: { names: ['web'] }, tiers: [{ targets: [{ cluster: 'a', weight: 2 }] }] }
    expect(objectOf(policy(JSON.stringify(spec)))).toEqual({
      kind: 'GlobalTrafficPolicy',
      namespace: 'shop',
      name: 'x',
      spec,
    })
    expect(set(policy('{services: {}, tirs: [], retries: {tries: 1}}'))).toEqual([
      'f.yaml:1 GlobalTrafficPolicy shop/x: spec.retries.tries: there is no such field; spec.tirs: there is no such field',
    ])
    expect(set(policy('{services: {}}', 'tiers: []\n'))[0]).toMatch(/tiers: there is no such field: is it one of spec/)
    expect(set(policy('{services: {}}').replace('v1alpha1', 'v1'))[0]).toMatch(
      /apiVersion isthmus.dev\/v1 is not known/,
    )
    expect(set(policy('{services: {}}').replace('name: x', 'name: x.y'))[0]).toMatch(/metadata.name/)
  })

  test('a group lies in no namespace', () => {
    const text =
      'apiVersion: isthmus.dev/v1alpha1\nkind: SamenessGroup\nmetadata: {name: prod}\nspec: {clusters: [b, a, b]}\n'
    expect(used(text)).toEqual(['SamenessGroup prod f.yaml:1'])
    expect(objectOf(text)).toEqual({ kind: 'SamenessGroup', name: 'prod', spec: { clusters: ['a', 'b'] } })
    expect(set(text.replace('clusters', 'members'))[0]).toMatch(/^f.yaml:1 SamenessGroup prod: /)
  })
})
