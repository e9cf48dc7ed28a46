import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { buildManifests } from '#cli/onboard/manifests/build.ts'
import { buildChart } from '#cli/onboard/manifests/chart.ts'
import { type KubeObject, managedByLabel, objectText } from '#cli/onboard/manifests/object.ts'
import { relayClusterRules, relayRules } from '#cli/onboard/manifests/rbac.ts'
import { relaySettingsText } from '#cli/onboard/manifests/relay.ts'
import { nlbAnnotations, type OnboardSettings } from '#cli/onboard/manifests/settings.ts'
import { version } from '#mesh/model/version.ts'
import { renderChart } from '#tests/support/chart-renderer.ts'
import { root } from '#tests/support/parts.ts'

const update = process.env['UPDATE_GOLDEN'] === '1'

const settings: OnboardSettings = {
  ...{ cluster: 'paris-1', mesh: 'mesh1', trustDomain: 'paris-1.mesh1', region: 'eu-west-3', network: 'paris-1' },
  images: { relay: 'registry.test/isthmus-relay:1', proxy: 'registry.test/isthmus-proxy:1' },
  gateway: { addresses: [], annotations: nlbAnnotations(false), replicas: 2 },
  clusterSetCidr: '240.100.0.0/16',
}
const byHand: OnboardSettings = {
  ...{ ...settings, trustDomain: 'paris-1-g2.mesh1', network: 'lan' },
  gateway: { addresses: [{ address: '203.0.113.9', port: 15443 }], annotations: {}, replicas: 3 },
}
const { clusterSetCidr: _, ...plain } = byHand

test('what a cluster is given is what testdata says', () => {
  const path = join(root, 'cli/onboard/testdata/manifests.yaml')
  const isKind = ({ kind }: KubeObject): boolean => kind === 'CustomResourceDefinition'
  const text = buildManifests(settings)
    .filter((object) => !isKind(object))
    .map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n')
  if (update) writeFileSync(path, text)
  expect(text).toBe(readFileSync(path, 'utf8'))
})

const objects = buildManifests(settings)
const deployments = objects.filter(({ kind }) => kind === 'Deployment')

describe('every object', () => {
  test('says that it is ours', () => {
    for (const { metadata } of objects) expect(metadata.labels?.[managedByLabel]).toBe('isthmus')
  })

  test('is there once', () => {
    const names = objects.map(objectText)
    expect(new Set(names).size).toBe(names.length)
  })
})

test.each(deployments.map((one) => [one.metadata.name, one] as const))(
  '%s passes the restricted pod security',
  (_, object) => {
    const { template } = object['spec'] as {
      template: { spec: { securityContext: object; containers: Record<string, object>[] } }
    }
    expect(template.spec.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    for (const container of template.spec.containers) {
      expect(container['securityContext']).toEqual({
        ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
      })
      expect(Object.keys(container['resources'] ?? {})).toEqual(['requests', 'limits'])
    }
  },
)

describe('the relay', () => {
  test('never lists or watches Secrets, and knows its own by name', () => {
    const secrets = [...relayClusterRules, ...relayRules].filter(({ resources }) => resources.includes('secrets'))
    expect(secrets).toEqual([
      { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'update'], resourceNames: ['relay'] },
      { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
    ])
  })

  test('makes no roles, webhooks or pods, and has no right by a wildcard', () => {
    const rules = [...relayClusterRules, ...relayRules]
    expect(rules.flatMap(({ apiGroups, resources, verbs }) => [...apiGroups, ...resources, ...verbs])).not.toContain(
      '*',
    )
    const written = rules.filter(({ verbs }) =>
      verbs.some((verb) => ['create', 'update', 'patch', 'delete'].includes(verb)),
    )
    expect([...new Set(written.flatMap(({ resources }) => resources))].sort()).toEqual([
      ...['configmaps', 'endpointslices', 'events', 'globaltrafficpolicies/status', 'leases', 'samenessgroups/status'],
      ...['secrets', 'serviceexports/status', 'serviceimports', 'serviceimports/status'],
    ])
  })

  test('is told any names as they are', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (region, network) => {
        expect(parse(relaySettingsText({ ...settings, region, network }))).toMatchObject({ region, network })
      }),
      { numRuns: 50 },
    )
  })
})

describe('the chart', () => {
  const chart = buildChart(version)
  const dir = join(root, 'infra/chart')

  test('is what these objects make of it', () => {
    if (update) {
      rmSync(dir, { recursive: true, force: true })
      for (const [path, text] of chart) {
        mkdirSync(dirname(join(dir, path)), { recursive: true })
        writeFileSync(join(dir, path), text)
      }
    }
    const written = existsSync(dir) ? (readdirSync(dir, { recursive: true }) as string[]) : []
    expect(written.filter((path) => /\.\w+$/.test(path)).sort()).toEqual([...chart.keys()].sort())
    for (const [path, text] of chart) expect(readFileSync(join(dir, path), 'utf8'), path).toBe(text)
  })

  const templates = new Map([...chart].filter(([path]) => path.startsWith('templates/')))
  const values = parse(chart.get('values.yaml') ?? '') as Record<string, string>
  const rendered = (given: object, namespace = 'isthmus-system') =>
    [...renderChart(templates, { Values: { ...values, ...given }, Release: { Namespace: namespace } }).values()]
      .map((text) => parse(text) as KubeObject | null)
      .filter((object) => object !== null)
  const sorted = (all: readonly KubeObject[]) => all.toSorted((a, b) => (objectText(a) < objectText(b) ? -1 : 1))
  const applied = (of: OnboardSettings) =>
    sorted(buildManifests(of).filter(({ kind }) => !['Namespace', 'CustomResourceDefinition'].includes(kind)))

  test.each([
    ['with a load balancer of AWS', settings, { network: '', trustDomain: '' }],
    ['with a load balancer by hand', plain, { network: 'lan', trustDomain: 'paris-1-g2.mesh1', clusterSetCidr: '' }],
  ] as const)('renders what a join applies, %s', (_, of, more) => {
    const { cluster, mesh, region, images, gateway, clusterSetCidr = '' } = { clusterSetCidr: '', ...of }
    expect(sorted(rendered({ cluster, mesh, region, images, gateway, clusterSetCidr, ...more }))).toEqual(applied(of))
  })

  test('says what is missing, and where it belongs', () => {
    expect(() => rendered({})).toThrow('cluster is missing')
    expect(() => rendered({ cluster: 'a', mesh: 'm', region: 'r' })).toThrow('images.relay is missing')
    expect(() => rendered({}, 'default')).toThrow('--namespace isthmus-system')
  })
})
