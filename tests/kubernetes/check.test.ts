import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Finding } from '#cli/onboard/check/check.ts'
import { buildManifests } from '#cli/onboard/manifests/build.ts'
import { runCli } from '#cli/run.ts'
import type { Send } from '#cli/send.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'

/** `isthmus check` against a real API server; no pods run there, and no relay has joined. */
describeWithClusters('isthmus check', () => {
  let cluster: KubeCluster
  let centre: TestCentre
  beforeAll(async () => {
    ;[cluster, centre] = await Promise.all([startKubeCluster({ name: 'paris' }), openTestCentre()])
  })
  afterAll(async () => {
    await Promise.all([cluster?.stop(), centre?.close()])
  })

  const send: Send = async (url, { method = 'GET', headers = {}, body }) => {
    const asked = { method, headers: new Headers(headers), ...(body === undefined ? {} : { body }) }
    const response = await centre.api.request(url.href, asked)
    return { status: response.status, text: await response.text() }
  }
  const check = (line: string, kubeconfig?: string) => run(`check ${line}`, kubeconfig)
  async function run(line: string, kubeconfig = cluster.kubeconfig) {
    let [out, err] = ['', '']
    const code = await runCli([...line.split(' '), '--kubeconfig', kubeconfig], {
      env: { ISTHMUS_URL: 'https://centre.test:7400', ISTHMUS_API_KEY: centre.adminKey },
      out: (text) => {
        out += text
      },
      err: (text) => {
        err += text
      },
      // The centre of this process has a clock of its own.
      ...{ now: Date.now, colour: false, send },
    })
    return { code, out, err }
  }
  async function findings(line: string, kubeconfig = cluster.kubeconfig): Promise<ReadonlyMap<string, Finding>> {
    const { out } = await check(`${line} -o json`, kubeconfig)
    const { checks } = JSON.parse(out) as { readonly checks: readonly Finding[] }
    return new Map(checks.map((one) => [one.id, one]))
  }
  const node = (name: string, zone: string) => ({
    ...{ apiVersion: 'v1', kind: 'Node', spec: { podCIDR: '10.11.0.0/24', podCIDRs: ['10.11.0.0/24'] } },
    metadata: {
      name,
      labels: {
        ...{ 'topology.kubernetes.io/region': 'eu-west-3', 'topology.kubernetes.io/zone': zone },
        'kubernetes.io/arch': 'amd64',
      },
    },
  })
  const ready = async (name: string) =>
    cluster.api.call('PATCH', `/api/v1/nodes/${name}/status`, {
      body: { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
      contentType: 'application/merge-patch+json',
    })

  test('before a join: a cluster without nodes fails, with what mends it; one that is well does not', async () => {
    const bare = await check('--pre')
    expect(bare.out).toMatch(/nodes-ready +FAIL +none of 0 is ready/)
    expect(bare.code).toBe(1)
    await cluster.apply([node('a', 'eu-west-3a'), node('b', 'eu-west-3b')])
    await Promise.all([ready('a'), ready('b')])
    const found = await findings('--pre')
    const clocks = ['clock-centre', 'clocks-apart']
    expect([...found.values()].filter(({ id, result }) => result !== 'ok' && !clocks.includes(id))).toEqual([])
    expect(found.get('api-rights')?.found).toBe('all that a join does')
    expect(found.get('issuer')?.found).toBe(`${cluster.server}, 1 key`)
    expect(found.get('clock-cluster')?.found).toBe('less than a second apart')
    expect(found.has('relay-ready')).toBe(false)
  })

  test('as somebody who may do little: what he may not is named, and what he cannot see is not known', async () => {
    await cluster.apply([
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: 'default', name: 'guest' } },
    ])
    const guest = await cluster.kubeconfigOf({ namespace: 'default', serviceAccount: 'guest' })
    const found = await findings('--pre', guest)
    expect(found.get('api-rights')).toMatchObject({ result: 'fail', found: expect.stringContaining('list nodes') })
    expect(found.get('nodes-ready')).toMatchObject({ result: 'unknown', found: expect.stringContaining('403') })
    expect(found.get('kubernetes-version')?.result).toBe('ok')
  })

  test('of an installation: what is not there, what may not be done, and by whom', async () => {
    const audit = cluster.audit.fromNow()
    await cluster.apply(
      buildManifests({
        ...{ cluster: 'paris', mesh: 'mesh1', trustDomain: 'paris.mesh1', region: 'eu-west-3', network: 'paris' },
        images: { relay: 'registry.test/isthmus-relay:1', proxy: 'registry.test/isthmus-proxy:1' },
        gateway: { addresses: [], annotations: {}, replicas: 2 },
        clusterSetCidr: '10.96.128.0/20',
      }),
    )
    const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/isthmus-relay'
    const { rules } = (await cluster.api.call('GET', role)) as { rules: { resources: string[]; verbs: string[] }[] }
    const shorter = rules.map((one) => ({ ...one, verbs: one.verbs.filter((verb) => verb !== 'watch') }))
    await cluster.apply([
      {
        ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'isthmus-relay' } },
        rules: shorter,
      },
      { ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } } },
      {
        ...{ apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'shop', name: 'web' } },
        spec: { ports: [{ port: 80, name: 'x' }] },
      },
      ...['web', 'gone'].map((name) => ({
        ...{
          apiVersion: 'multicluster.x-k8s.io/v1beta1',
          kind: 'ServiceExport',
          metadata: { namespace: 'shop', name },
        },
      })),
    ])
    const found = await findings('paris')
    const of = (id: string) => `${found.get(id)?.result}: ${found.get(id)?.found}`
    expect(of('relay-ready')).toMatch(/^fail: 0\/2/)
    expect(of('relay-rights')).toMatch(/^fail: it may not: watch services, watch pods/)
    expect(of('member')).toBe('fail: the centre knows no paris')
    expect(of('one-relay')).toMatch(/^fail: /)
    expect(of('gateway-address')).toMatch(/^fail: it has none/)
    expect(of('address-overlap')).toMatch(
      /^fail: 10\.96\.0\.0\/16 of services and 10\.96\.128\.0\/20 of the cluster set/,
    )
    expect(of('exports-valid')).toMatch(/^fail: shop\/gone has no Service/)
    expect(of('exports-ready')).toMatch(/^warn: no ready pods: shop\/web/)
    expect(of('port-protocols')).toMatch(/^warn: without a protocol: shop\/web:80/)
    expect(of('clusterset-dns')).toMatch(/^unknown: there is no ConfigMap kube-system\/coredns/)
    // It looks, and changes nothing.
    await cluster.settled()
    expect(audit.entries().filter(({ userAgent }) => userAgent === 'isthmus').length).toBeGreaterThan(20)
    expect(audit.writes().filter(({ userAgent }) => userAgent === 'isthmus')).toEqual([])
    expect((await check('oslo')).err).toContain('is cluster "paris", not "oslo"')
  })

  test('a join says what is not well, and stops at what no waiting mends', async () => {
    const join = 'cluster join paris --registry registry.test --dry-run'
    const said = await run(join)
    expect(said.code).toBe(0)
    expect(said.err).toMatch(/clock-centre: .* behind this machine; set the clocks/)
    const labels = { 'app.kubernetes.io/part-of': 'isthmus', 'app.kubernetes.io/name': 'relay' }
    const other = {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment' },
      metadata: { namespace: 'shop', name: 'relay', labels },
    }
    const template = { metadata: { labels }, spec: { containers: [{ name: 'relay', image: 'registry.test/relay' }] } }
    await cluster.apply([{ ...other, spec: { replicas: 0, selector: { matchLabels: labels }, template } }])
    const stopped = await run(join)
    expect([stopped.code, stopped.out]).toEqual([1, ''])
    expect(stopped.err).toContain('other-agents: shop/relay: another relay')
    await cluster.remove(other)
  })
})
