import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildDefinitions } from '#cli/onboard/manifests/definitions.ts'
import { buildRbac } from '#cli/onboard/manifests/rbac.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { openProxy, type ScriptedProxy } from '#tests/support/ads-client.ts'
import { type FleetCentre, fleetCentre, joinTokenOf } from '#tests/support/fleet-centre.ts'
import { said } from '#tests/support/kubernetes/audit.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { type Replica, relayPort, relayReplica, untilStatus } from '#tests/support/kubernetes/relay.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

const system = 'isthmus-system'
const relay = { namespace: system, serviceAccount: 'relay' }

/** A pod that runs as far as anybody can tell: its status is said by hand, there is no node. */
const pod = (name: string, ip: string) => ({
  ...{ apiVersion: 'v1', kind: 'Pod' },
  metadata: { namespace: 'shop', name, labels: { app: 'reviews', 'security.istio.io/tlsMode': 'istio' } },
  spec: { serviceAccountName: 'default', nodeName: 'node-1', containers: [{ name: 'app', image: 'reviews' }] },
  status: {
    ...{ phase: 'Running', podIP: ip, podIPs: [{ ip }] },
    conditions: [{ type: 'Ready', status: 'True' }],
    containerStatuses: [],
  },
})

describeWithClusters('two replicas of a relay', () => {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-replicas-'))
  const joinFile = join(dir, 'token')
  let cluster: KubeCluster
  let centre: FleetCentre
  let replicas: readonly [Replica, Replica]

  beforeAll(async () => {
    centre = fleetCentre({
      ...{
        program: join(root, 'functions/server.ts'),
        port: 7411,
        dir: join(dir, 'centre'),
        log: join(dir, 'centre.log'),
      },
    })
    ;[cluster] = await Promise.all([startKubeCluster({ name: 'west' }), centre.start()])
    for (const name of [system, 'shop'])
      await cluster.apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }])
    await cluster.apply([
      { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } },
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: system, name: 'relay' } },
      ...buildDefinitions(),
      ...buildRbac(),
      {
        ...{ apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'shop', name: 'reviews' } },
        spec: { selector: { app: 'reviews' }, ports: [{ name: 'http', port: 9080 }] },
      },
    ])
    for (const [name, ip] of [
      ['reviews-0', '10.11.0.10'],
      ['reviews-1', '10.11.0.11'],
    ] as const)
      await addPod(name, ip)
    const kubeconfig = await cluster.kubeconfigOf(relay)
    const make = (name: string, address: string) => relayReplica({ cluster, name, address, kubeconfig, joinFile })
    replicas = [make('relay-a', '127.1.0.1'), make('relay-b', '127.1.0.2')]
  })
  afterAll(async () => {
    for (const one of replicas ?? []) await one.kill()
    await centre?.stop()
    await cluster?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  async function addPod(name: string, ip: string): Promise<void> {
    const { status, ...rest } = pod(name, ip)
    await cluster.apply([
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: 'shop', name: 'default' } },
      rest,
    ])
    await cluster.api.call('PATCH', `/api/v1/namespaces/shop/pods/${name}/status`, {
      ...{ body: { status }, contentType: 'application/merge-patch+json' },
    })
  }

  const leader = async () => {
    const found = await eventually(60_000, 'one leads, and one only', async () => {
      const all = await Promise.all(replicas.map((one) => one.status().catch(() => undefined)))
      const leading = replicas.filter((_, n) => all[n]?.lead?.leads)
      return leading.length === 1 && leading[0]
    })
    const other = replicas.find((one) => one !== found)
    if (!other) throw new Error('there are two')
    return { leader: found, other }
  }
  /** What pod reviews-0 dials a relay with. */
  const dialOf = async () => {
    const { metadata } = (await cluster.api.call('GET', '/api/v1/namespaces/shop/pods/reviews-0')) as {
      metadata: { uid: string }
    }
    const token = await cluster.token({
      ...{ namespace: 'shop', serviceAccount: 'default', audiences: ['istio-ca'] },
      pod: { name: 'reviews-0', uid: metadata.uid },
    })
    const roots = (await cluster.api.call('GET', '/api/v1/namespaces/shop/configmaps/istio-ca-root-cert')) as {
      data: Record<string, string>
    }
    return {
      ...{ mode: 'delta' as const, port: relayPort, relayRoots: roots.data['root-cert.pem'] ?? '' },
      serverName: 'relay.isthmus-system.svc',
      headers: { authorization: `Bearer ${token}` },
      node: {
        id: 'sidecar~10.11.0.10~reviews-0.shop~shop.svc.cluster.local',
        metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: 'default', CLUSTER_ID: 'west', INSTANCE_IPS: '10.11.0.10' },
      },
    }
  }
  const proxyAt = async (replica: Replica, memory?: ScriptedProxy['memory']): Promise<ScriptedProxy> =>
    openProxy({ ...(await dialOf()), host: replica.address, ...(memory ? { memory } : {}) })

  test('wait for a token, and join as one with it', async () => {
    for (const one of replicas) one.start()
    for (const one of replicas) await untilStatus(one, 'waits', ({ state }) => state === 'joining')
    writeFileSync(joinFile, await joinTokenOf(centre, { name: 'west', network: 'net-west', region: 'eu-central-1' }))
    for (const one of replicas) await untilStatus(one, 'serves', ({ state }) => state === 'serving')
    const secret = (await cluster.api.call('GET', `/api/v1/namespaces/${system}/secrets/relay`)) as {
      data: Record<string, string>
    }
    expect(Object.keys(secret.data).toSorted()).toEqual(['issuing.key', 'membership.json', 'relay-key.pem'])
    await leader()
    const { items } = (await centre.call('GET', '/v1/clusters')) as { items: readonly { name: string }[] }
    expect(items.map(({ name }) => name)).toEqual(['west'])
  })

  test('each namespace with meshed pods is told whom to believe', async () => {
    for (const namespace of [system, 'shop'])
      await eventually(20_000, `the root is in ${namespace}`, () =>
        cluster.api.call('GET', `/api/v1/namespaces/${namespace}/configmaps/istio-ca-root-cert`),
      )
  })

  test('a proxy that comes to one that does not lead is the leader’s', async () => {
    const { leader: one, other } = await leader()
    const proxy = await proxyAt(other)
    await proxy.ready
    await untilStatus(one, 'has the proxy', ({ proxies }) => proxies?.length === 1)
    expect((await other.status()).proxies).toEqual([])
    proxy.close()
  })

  test('the leader killed: the other reports, and a proxy that has everything is sent nothing', async () => {
    const { leader: one, other } = await leader()
    const before = await proxyAt(other)
    await before.ready
    await one.kill()
    await before.ended
    // At once, while nobody leads yet.
    const after = await proxyAt(other, before.memory)
    await untilStatus(other, 'has the proxy', ({ proxies }) => proxies?.length === 1)
    await untilStatus(other, 'leads', ({ lead }) => lead?.leads === true)
    expect(after.wire.filter((line) => line.startsWith('<'))).toEqual([])
    await eventually(30_000, 'the centre hears of another pod', async () => {
      await addPod('reviews-2', '10.11.0.12')
      return ((await other.status()).centre?.toTell ?? 1) === 0
    })
    after.close()
    one.start()
    await untilStatus(one, 'serves', ({ state, lead }) => state === 'serving' && lead?.holder === other.name)
    expect((await one.status()).lead?.leads).toBe(false)
  })

  test('with exactly the rights that a cluster gives: nothing is refused, no Secret read but its own', async () => {
    await cluster.settled()
    const user = `system:serviceaccount:${system}:relay`
    expect(cluster.audit.refusedRequests(user).map(said)).toEqual([])
    expect(cluster.audit.entries(user).length).toBeGreaterThan(20)
    const secrets = cluster.audit.secretReads(user).map(({ objectRef }) => `${objectRef?.namespace}/${objectRef?.name}`)
    expect([...new Set(secrets)]).toEqual([`${system}/relay`])
    const written = cluster.audit.writes(user).map(({ objectRef }) => `${objectRef?.resource} ${objectRef?.name}`)
    expect([...new Set(written)].toSorted()).toEqual(['configmaps istio-ca-root-cert', 'leases relay', 'secrets relay'])
  })

  test('the API server killed: a replica that starts again serves what it knew', async () => {
    const { leader: one, other } = await leader()
    const dial = await dialOf()
    const name = 'outbound|9080||reviews.shop.svc.cluster.local'
    const endpointsAt = async (replica: Replica): Promise<string> => {
      const proxy = openProxy({ ...dial, host: replica.address })
      await proxy.ready
      proxy.close()
      return Buffer.from(proxy.memory.held.get(typeUrls.endpoint)?.get(name)?.bytes ?? []).toString('latin1')
    }
    const before = await endpointsAt(one)
    expect(before).toContain('10.11.0.11')
    await cluster.apiServer.kill()
    await other.kill()
    other.start()
    await untilStatus(other, 'serves', ({ state }) => state === 'serving')
    expect((await one.status()).lead?.leads).toBe(true)
    await one.kill()
    expect(await endpointsAt(other)).toBe(before)
    await cluster.apiServer.start()
    await untilStatus(other, 'sees the Lease again', ({ lead }) => lead?.fault === undefined)
  })
})
