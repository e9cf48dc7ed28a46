import { afterAll, beforeAll, expect, test } from 'vitest'
import { kubeApi } from '#gateway/kube-api.ts'
import { said } from '#tests/support/kubernetes/audit.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { eventually } from '#tests/support/until.ts'

describeWithClusters('a real API server', () => {
  let cluster: KubeCluster
  beforeAll(async () => {
    cluster = await startKubeCluster({ name: 'one' })
  })
  afterAll(() => cluster?.stop())

  const rules = (verbs: readonly string[]) => [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: 'default', name: 'reader' } },
    {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'reader' } },
      rules: [{ apiGroups: [''], resources: ['services'], verbs }],
    },
    {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'reader' } },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'reader' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'default', name: 'reader' }],
    },
  ]
  const reader = { namespace: 'default', serviceAccount: 'reader' }
  const user = 'system:serviceaccount:default:reader'

  test('lets a service account do what its rules say, and its log names what it was refused', async () => {
    await cluster.apply(rules(['list']))
    const api = kubeApi({ kubeconfig: await cluster.kubeconfigOf(reader) })
    await eventually(20_000, 'the rules are in force', () => api.call('GET', '/api/v1/services'))
    const { refusedRequests, secretReads, writes } = cluster.audit.fromNow()
    await expect(api.call('GET', '/api/v1/namespaces/default/secrets/gone')).rejects.toThrow(
      /add this rule to the Role in default .*"secrets".*"get"/,
    )
    await expect(api.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'mine' } } })).rejects.toThrow(
      /with 403/,
    )
    await cluster.settled()
    expect(refusedRequests(user).map(said)).toEqual([
      `get secrets default/gone → 403 (${user})`,
      `create namespaces → 403 (${user})`,
    ])
    expect(secretReads(user).map(({ objectRef }) => objectRef?.name)).toEqual(['gone'])
    expect(writes(user)).toEqual([])
  })

  test('gives tokens for an audience, and serves the keys that prove them', async () => {
    await cluster.apply(rules(['list']))
    const token = await cluster.token({ ...reader, audiences: ['istio-ca'] })
    const [, claims = ''] = token.split('.')
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString('utf8'))).toMatchObject({
      iss: cluster.server,
      aud: ['istio-ca'],
      'kubernetes.io': { serviceaccount: { name: 'reader' } },
    })
    await expect(cluster.api.call('GET', '/openid/v1/jwks')).resolves.toMatchObject({ keys: [{ alg: 'ES256' }] })
  })

  test('keeps what it has over SIGKILL, at the same address', async () => {
    await cluster.apply('{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}, data: {a: b}}')
    await cluster.apiServer.kill()
    const path = '/api/v1/namespaces/default/configmaps/kept'
    await expect(cluster.api.call('GET', path)).rejects.toThrow(/did not answer/)
    await cluster.apiServer.start()
    await expect(cluster.api.call('GET', path)).resolves.toMatchObject({ data: { a: 'b' } })
  })

  test('two clusters have nothing in common but the LAN', async () => {
    const other = await startKubeCluster({ name: 'two' })
    try {
      expect(other.address).not.toBe(cluster.address)
      await expect(other.api.call('GET', '/api/v1/namespaces/default/configmaps/kept')).rejects.toThrow(/with 404/)
      const ask = `require('https').get('${other.server}/livez', { rejectUnauthorized: false }, (a) => a.pipe(process.stdout))`
      await expect(cluster.run(process.execPath, '-e', ask)).resolves.toBe('ok')
    } finally {
      await other.stop()
    }
  })
})
