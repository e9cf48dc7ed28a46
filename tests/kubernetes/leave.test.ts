import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { said } from '#tests/support/kubernetes/audit.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { imagesOf, ownImages } from '#tests/support/kubernetes/images.ts'
import { everything } from '#tests/support/kubernetes/kinds.ts'
import { type MeshCentre, startMeshCentre } from '#tests/support/kubernetes/mesh.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

describeWithClusters('a member that another one calls', () => {
  let mesh: MeshCentre
  let lyon: KubeCluster
  let nice: KubeCluster
  let before: ReadonlyMap<string, string>
  beforeAll(async () => {
    const images = imagesOf(await ownImages())
    ;[mesh, lyon, nice] = await Promise.all([
      startMeshCentre(),
      startKubeCluster({ name: 'lyon', images }),
      startKubeCluster({ name: 'nice', images }),
    ])
    // Somebody else has installed the kind.
    await lyon.apply(readFileSync(join(root, 'infra/crds/serviceexports.yaml'), 'utf8'))
    await lyon.apply([service, pod])
    before = await eventually(30_000, 'every kind is served', () => everything(lyon.api))
  }, 180_000)
  afterAll(async () => {
    await Promise.all([lyon?.stop(), nice?.stop()])
    await mesh?.stop()
  })

  const metadata = { name: 'web', namespace: 'default' }
  const service = {
    ...{ apiVersion: 'v1', kind: 'Service', metadata },
    spec: { ports: [{ name: 'http', port: 80 }], selector: { app: 'web' } },
  }
  const labels = { app: 'web', 'security.istio.io/tlsMode': 'istio' }
  const pod = {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, labels } },
    spec: { containers: [{ name: 'web', image: 'registry.test/sh', args: ['exec sleep infinity'] }] },
  }
  const offer = { apiVersion: 'multicluster.x-k8s.io/v1beta1', kind: 'ServiceExport', metadata }
  const mayWrite = ['configmaps', 'endpointslices', 'events', 'leases', 'secrets', 'serviceexports', 'serviceimports']
  const cluster = (verb: string, of: KubeCluster, ...words: readonly string[]) =>
    mesh.isthmus('cluster', verb, of.name, ...mesh.at(of), ...words)
  const importers = async () => {
    const { items } = (await mesh.centre.call('GET', '/v1/service-imports')) as {
      readonly items: readonly { readonly cluster: string }[]
    }
    return items.map((one) => one.cluster).toSorted()
  }

  test('joins with the kinds that others have defined left to them', { timeout: 180_000 }, async () => {
    const { code, out, err } = await cluster('join', lyon, '--gateway-replicas', '1')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('of others: CustomResourceDefinition serviceexports.multicluster.x-k8s.io')
    expect(out).toContain('no other member calls anything there yet')
  })

  test('is verified from there once it is called, and nothing is written for that', { timeout: 180_000 }, async () => {
    await lyon.apply([offer])
    const other = await cluster('join', nice, '--gateway-replicas', '1')
    expect([other.code, other.err]).toEqual([0, ''])
    await eventually(60_000, 'the other one may call it', async () => (await importers()).includes('nice'))
    await lyon.settled()
    const audit = lyon.audit.fromNow()
    const { code, out, err } = await cluster('join', lyon, '--gateway-replicas', '1')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('nice reaches its gateway')
    await lyon.settled()
    expect(audit.writes('admin').map(said)).toEqual([])
  })

  test('asks the API server for what its role allows and nothing else', async () => {
    const relay = 'system:serviceaccount:isthmus-system:relay'
    for (const { settled, audit } of [lyon, nice]) {
      await settled()
      expect(audit.refusedRequests(relay).map(said)).toEqual([])
      const secrets = audit.secretReads(relay).map(({ verb, objectRef }) => `${verb} ${objectRef?.name}`)
      expect([...new Set(secrets)]).toEqual(['get relay'])
      const written = audit.writes(relay).map(({ objectRef }) => objectRef?.resource ?? '')
      expect([...new Set(written)].filter((resource) => !mayWrite.includes(resource))).toEqual([])
    }
  })

  test('does not leave while somebody would have nobody left', { timeout: 180_000 }, async () => {
    const { code, err } = await cluster('leave', lyon, '--over', '0s', '--grace', '0s')
    expect(code).toBe(1)
    expect(err).toContain('nobody else offers it')
    expect(err).toContain('kubectl delete serviceexport')
    await lyon.remove(offer)
    await eventually(60_000, 'nobody may call it any more', async () => (await importers()).length === 0)
  })

  test('leaves, and every object is what it was before', { timeout: 180_000 }, async () => {
    const { code, out, err } = await cluster('leave', lyon, '--over', '0s', '--grace', '0s')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('lyon has left')
    await eventually(20_000, 'all is as it was', async () => expect(await everything(lyon.api)).toEqual(before))
  })

  test('is gone for the centre with its API server, by name typed twice', { timeout: 180_000 }, async () => {
    const early = await mesh.isthmus('cluster', 'leave', 'nice', '--force', 'nice')
    expect([early.code, early.err]).toEqual([1, expect.stringContaining('it is not gone: its relay reports')])
  })
})
