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
  let near: KubeCluster
  let far: KubeCluster
  let before: ReadonlyMap<string, string>
  beforeAll(async () => {
    const images = imagesOf(await ownImages())
    ;[mesh, near, far] = await Promise.all([
      startMeshCentre(),
      startKubeCluster({ name: 'near', images }),
      startKubeCluster({ name: 'far', images }),
    ])
    // Somebody else has installed the kind, and uses it.
    await near.apply(readFileSync(join(root, 'infra/crds/serviceexports.yaml'), 'utf8'))
    await eventually(30_000, 'the kind is served', () => near.apply(offered).then(() => true))
    before = await eventually(30_000, 'every kind is served', () => everything(near.api))
  }, 180_000)
  afterAll(async () => {
    await Promise.all([near?.stop(), far?.stop()])
    await mesh?.stop()
  })

  const metadata = { name: 'web', namespace: 'default' }
  const offered = [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { ports: [{ name: 'http', port: 80 }], selector: { app: 'web' } },
    },
    { apiVersion: 'multicluster.x-k8s.io/v1beta1', kind: 'ServiceExport', metadata },
  ]
  const cluster = (verb: string, of: KubeCluster, ...words: readonly string[]) =>
    mesh.isthmus('cluster', verb, of.name, ...mesh.at(of), ...words)
  const importers = async () => {
    const { items } = (await mesh.centre.call('GET', '/v1/service-imports')) as {
      readonly items: readonly { readonly cluster: string }[]
    }
    return items.map((one) => one.cluster).toSorted()
  }

  test('joins with the kinds that others have defined left to them', { timeout: 180_000 }, async () => {
    const { code, out, err } = await cluster('join', near, '--gateway-replicas', '1')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('of others: CustomResourceDefinition serviceexports.multicluster.x-k8s.io')
    expect(out).toContain('no other member calls anything there yet')
  })

  test('is verified from there once it is called, and nothing is written for that', { timeout: 180_000 }, async () => {
    const other = await cluster('join', far, '--gateway-replicas', '1')
    expect([other.code, other.err]).toEqual([0, ''])
    await eventually(60_000, 'the other one may call it', async () => (await importers()).includes('far'))
    await near.settled()
    const audit = near.audit.fromNow()
    const { code, out, err } = await cluster('join', near, '--gateway-replicas', '1')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('far reaches its gateway')
    await near.settled()
    expect(audit.writes('admin').map(said)).toEqual([])
  })

  test('leaves, and every object is what it was before', { timeout: 180_000 }, async () => {
    const { code, out, err } = await cluster('leave', near, '--over', '0s', '--grace', '0s')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('near has left')
    await eventually(20_000, 'all is as it was', async () => expect(await everything(near.api)).toEqual(before))
    await eventually(30_000, 'nobody may call it any more', async () => (await importers()).length === 0)
  })

  test('is gone for the centre with its API server, by name typed twice', { timeout: 180_000 }, async () => {
    const early = await mesh.isthmus('cluster', 'leave', 'far', '--force', 'far')
    expect([early.code, early.err]).toEqual([1, expect.stringContaining('it is not gone: its relay reports')])
  })
})
