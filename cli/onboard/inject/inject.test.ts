import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { changedText } from '#cli/onboard/inject/inject-text.ts'
import type { Shape } from '#cli/onboard/inject/kube-shape.ts'
import type { InjectSettings } from '#cli/onboard/inject/settings.ts'
import { injected, removed } from '#cli/onboard/inject/template.ts'
import { Problem } from '#mesh/model/problem.ts'

const settings: InjectSettings = {
  ...{ cluster: 'paris-1', mesh: 'shop', trustDomain: 'paris-1.shop', network: 'paris' },
  ...{ image: 'registry.example/isthmus-proxy:0.1.0', cni: false },
}
const inject = (text: string, more: Partial<InjectSettings> = {}): string =>
  changedText(text, 'deploy.yaml', ({ template, workload }) => injected(template, { ...settings, ...more }, workload))
    .text
const remove = (text: string): string =>
  changedText(text, 'deploy.yaml', ({ template }) => ({ template: removed(template), faults: [] })).text

function problemOf(work: () => unknown): Problem {
  try {
    work()
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
  throw new Error('nothing was refused')
}

const file = (name: string): string => join(import.meta.dirname, 'testdata', name)
const bookinfo = readFileSync(file('bookinfo.yaml'), 'utf8')

describe('the manifests of Bookinfo', () => {
  test.each([
    ['bookinfo.injected.yaml', {}],
    ['bookinfo.cni.yaml', { cni: true, region: 'eu-west-3' }],
  ])('are injected as %s says', (name, more) => {
    const text = inject(bookinfo, more)
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file(name), text)
    expect(text).toBe(readFileSync(file(name), 'utf8'))
  })

  test('twice is once, and what is removed leaves what was there before', () => {
    const once = inject(bookinfo)
    expect(inject(once)).toBe(once)
    expect(remove(bookinfo)).toBe(bookinfo)
    expect(objects(remove(once))).toEqual(objects(bookinfo))
    // Comments too, and the order.
    expect(remove(once)).toBe(bookinfo)
  })

  test('other settings replace those of before', () => {
    expect(inject(inject(bookinfo, { cluster: 'oslo-1', cni: true }))).toBe(inject(bookinfo))
  })
})

const objects = (text: string): unknown[] => {
  const documents = parseAllDocuments(text)
  return Array.isArray(documents) ? documents.map((one) => one.toJS() as unknown) : []
}

const pod = (spec: string, metadata = 'name: web'): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {${metadata}}\nspec: {${spec}}\n`
const web = 'containers: [{name: web, image: web}]'

describe('what cannot be given a sidecar says why', () => {
  test.each([
    ['the network of the node', pod(`hostNetwork: true, ${web}`), /hostNetwork/],
    ['the proxy’s user', pod(`securityContext: {runAsUser: 1337}, ${web}`), /runs as user 1337/],
    [
      'the proxy’s user in a container',
      pod('containers: [{name: web, securityContext: {runAsUser: 1337}}]'),
      /container web runs as user 1337/,
    ],
    ['the proxy’s port', pod('containers: [{name: web, ports: [{containerPort: 15006}]}]'), /has port 15006/],
    ['another sidecar', pod('containers: [{name: web}, {name: istio-proxy}]'), /istio-proxy already/],
    ['a volume of our name', pod(`volumes: [{name: isthmus-run}], ${web}`), /volume isthmus-run/],
    ['no containers', pod('containers: []'), /no containers/],
    ['Windows', pod(`os: {name: windows}, ${web}`), /Windows/],
    ['Istio’s sidecar', pod(web, 'name: web, labels: {sidecar.istio.io/inject: "true"}'), /Istio’s own sidecar/],
    [
      'ports that are none',
      pod(web, 'name: web, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: "80;81"}'),
      /"80;81"; give ports/,
    ],
    [
      'an annotation that is not known',
      pod(web, 'name: web, annotations: {traffic.sidecar.istio.io/excludeInterfaces: "eth1"}'),
      /excludeInterfaces is not supported/,
    ],
  ])('%s', (_, text, why) => {
    const { message, extra, kind } = problemOf(() => inject(text))
    expect({ kind, ...extra }).toMatchObject({ kind: 'invalid', on: 'deploy.yaml' })
    expect(message).toMatch(/Pod web \(deploy.yaml:1\)/)
    expect(message).toMatch(why)
  })

  test('every fault of a file is told at once, by object and line', () => {
    const { violations } = problemOf(() =>
      inject([pod('hostNetwork: true'), pod(`hostNetwork: true, ${web}`)].join('---\n')),
    )
    expect(violations.map(({ path }) => path)).toEqual([
      ...['Pod web (deploy.yaml:1)', 'Pod web (deploy.yaml:1)', 'Pod web (deploy.yaml:6)'],
    ])
  })

  test('what is no YAML is told with its line', () => {
    const { message, extra } = problemOf(() => inject('kind: Pod\nspec: [1,\n'))
    expect(message).toMatch(/this is not YAML/)
    expect(extra['on']).toMatch(/^deploy.yaml:\d+$/)
  })

  test('aliases that grow without end are not followed', () => {
    const lines = Array.from({ length: 12 }, (_, at) => `a${at + 1}: &a${at + 1} [${`*a${at}, `.repeat(9)}]`)
    expect(problemOf(() => inject(['a0: &a0 [x]', ...lines, ''].join('\n'))).message).toMatch(/aliases/)
  })
})

describe('how it is written', () => {
  test('what has no pods is given back to the byte', () => {
    const text = '# a\nkind:   Service\nmetadata: { name:  x }   # b\n--- \n\nkind: ConfigMap\ndata: {a: "1"}'
    expect(inject(text)).toBe(text)
    expect(inject('')).toBe('')
  })

  test('a label for pods is none of a selector that was written with the same anchor', () => {
    const text = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: &labels { app: web } }
  template:
    metadata: { labels: *labels }
    spec: { containers: [{ name: web, image: web }] }
`
    const { spec } = parse(inject(text)) as { spec: { selector: Shape; template: { metadata: { labels: Shape } } } }
    expect(spec.selector).toEqual({ matchLabels: { app: 'web' } })
    expect(spec.template.metadata.labels).toMatchObject({ app: 'web', 'security.istio.io/tlsMode': 'istio' })
  })

  test('a container waits before it ends, unless it has a hook of its own; without the sidecar it is as it was', () => {
    const pod = (container: string) =>
      `apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [${container}]\n`
    const lifecycleOf = (text: string) =>
      (parse(text) as { spec: { containers: Shape[] } }).spec.containers[0]?.['lifecycle']
    const cases = [
      ['{name: web, image: web}', { preStop: { sleep: { seconds: 2 } } }],
      ['{name: web, image: web, lifecycle: {}}', { preStop: { sleep: { seconds: 2 } } }],
      ['{name: web, image: web, lifecycle: {preStop: {sleep: {seconds: 9}}}}', { preStop: { sleep: { seconds: 9 } } }],
      [
        '{name: web, image: web, lifecycle: {postStart: {exec: {command: [a]}}}}',
        { postStart: { exec: { command: ['a'] } }, preStop: { sleep: { seconds: 2 } } },
      ],
    ] as const
    for (const [container, lifecycle] of cases) {
      const there = inject(pod(container))
      expect(lifecycleOf(there)).toEqual(lifecycle)
      expect(parse(remove(there))).toEqual(parse(pod(container)))
    }
  })

  test('merge keys are understood', () => {
    const text =
      'x: &x {name: web, image: web}\napiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{<<: *x}]}\n'
    const { spec } = parse(inject(text)) as { spec: { containers: Shape[] } }
    expect(spec.containers).toMatchObject([{ name: 'web', image: 'web' }])
  })

  test('a comment stays with what it is about', () => {
    const text = `kind: Pod
apiVersion: v1
metadata:
  name: web
spec:
  initContainers:
    # waits for the database
    - name: wait
    # and for the cache
    - name: cache
  containers:
    - name: web # the web
`
    const once = inject(text)
    expect(once).toMatch(/# waits for the database\n {4}- name: wait\n {4}# and for the cache\n {4}- name: cache\n/)
    expect(once).toContain('- name: web # the web\n')
    expect(remove(once)).toBe(text)
  })

  test('JSON stays JSON', () => {
    const json = JSON.stringify(parse(pod(web)))
    expect(JSON.parse(inject(json))).toEqual(parse(inject(pod(web))))
    expect(JSON.parse(remove(inject(json)))).toEqual(JSON.parse(json))
  })

  test('Lists are looked through', () => {
    const text = stringify({ apiVersion: 'v1', kind: 'List', items: [parse(pod(web)), { kind: 'Service' }] })
    const { items } = parse(inject(text)) as { items: Shape[] }
    expect(items).toEqual([parse(inject(pod(web))), { kind: 'Service' }])
  })
})

test('what is excluded by annotation is not redirected, SSH and the proxy’s own ports never', () => {
  const said = {
    includeInboundPorts: '*',
    excludeInboundPorts: '9100, 22',
    includeOutboundIPRanges: '10.0.0.0/8,fd00::/8',
    excludeOutboundPorts: '5432',
  }
  const annotations = Object.fromEntries(
    Object.entries(said).map(([name, value]) => [`traffic.sidecar.istio.io/${name}`, value]),
  )
  const { template } = injected({ metadata: { annotations }, spec: { containers: [{ name: 'web' }] } }, settings, 'web')
  expect((template['spec'] as { initContainers: { args: string[] }[] }).initContainers[0]?.args).toEqual([
    ...['redirect', '--include-inbound-ports=*', '--exclude-inbound-ports=22,9100,15020,15021,15090'],
    ...['--include-outbound-ranges=10.0.0.0/8,fd00::/8', '--exclude-outbound-ports=5432'],
  ])
})

describe('any pod', () => {
  const name = fc.stringMatching(/^[a-z]([a-z0-9]{0,5})$/)
  const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
  const handler = fc.oneof(
    fc.record({ httpGet: fc.record({ path: fc.constant('/x'), port: fc.constantFrom(80, 'http', 'none') }) }),
    fc.record({ tcpSocket: fc.record({ port: fc.constantFrom(80, 'http') }) }),
    fc.record({ grpc: fc.record({ port: fc.constant(80), service: fc.string() }) }),
    fc.constant({ httpGet: { host: 'elsewhere', port: 80 } }),
    fc.constant({ exec: { command: ['true'] } }),
    fc.constant({}),
  )
  const probe = fc.tuple(handler, maybe(fc.nat(9))).map(([one, periodSeconds]) => ({ ...one, periodSeconds }))
  const container = fc.record(
    {
      name,
      image: fc.string(),
      ports: fc.constant([{ name: 'http', containerPort: 8080 }]),
      ...{ readinessProbe: probe, livenessProbe: probe, startupProbe: probe },
      restartPolicy: fc.constant('Always'),
    },
    { requiredKeys: ['name'] },
  )
  const containers = (minLength: number) =>
    fc.uniqueArray(container, { minLength, maxLength: 3, selector: (one) => one.name })
  const words = fc.dictionary(fc.constantFrom('app', 'version', 'security.istio.io/tlsMode', '8080'), name)
  const template = fc.record(
    {
      metadata: fc.record({ labels: words, annotations: words, name }, { requiredKeys: [] }),
      spec: fc.record(
        {
          containers: containers(1),
          initContainers: containers(0).map((all) => all.map((one) => ({ ...one, name: `init-${one.name}` }))),
          volumes: fc.uniqueArray(fc.record({ name }), { maxLength: 2, selector: (one) => one.name }),
        },
        { requiredKeys: ['containers'] },
      ),
    },
    { requiredKeys: ['spec'] },
  )
  // As a file has it: what is undefined is not there.
  const object = template.map((one) => JSON.parse(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', ...one })) as Shape)

  test('injected twice is injected once, and removed is as it was, in YAML and in objects', () => {
    fc.assert(
      fc.property(object, fc.boolean(), fc.boolean(), (one, cni, indentSeq) => {
        const text = stringify(one, { indentSeq })
        const once = inject(text, { cni })
        const { template } = injected(
          one,
          { ...settings, cni },
          String((one['metadata'] as Shape | undefined)?.['name'] ?? ''),
        )
        expect(inject(once, { cni })).toBe(once)
        expect(parse(once)).toEqual(template)
        expect(parse(remove(once))).toEqual(one)
        expect(removed(template)).toEqual(one)
        expect(parse(inject(inject(text, { cni: !cni }), { cni }))).toEqual(parse(once))
      }),
      { numRuns: 60 },
    )
  })
})
