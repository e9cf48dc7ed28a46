import { afterAll, beforeAll, expect, test } from 'vitest'
import { said } from '#tests/support/kubernetes/audit.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { imagesOf, ownImages } from '#tests/support/kubernetes/images.ts'
import { type MeshCentre, startMeshCentre } from '#tests/support/kubernetes/mesh.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'

describeWithClusters('two clusters with the same pod addresses', () => {
  let mesh: MeshCentre
  let near: KubeCluster
  let far: KubeCluster
  beforeAll(async () => {
    const images = imagesOf(await ownImages())
    ;[mesh, near, far] = await Promise.all([
      startMeshCentre(),
      startKubeCluster({ name: 'near', images }),
      startKubeCluster({ name: 'far', images }),
    ])
  }, 180_000)
  afterAll(async () => {
    await Promise.all([near?.stop(), far?.stop()])
    await mesh?.stop()
  })

  const relay = 'system:serviceaccount:isthmus-system:relay'

  test('join by one command each, and a second run changes nothing', { timeout: 300_000 }, async () => {
    for (const cluster of [near, far]) {
      const begun = performance.now()
      const { code, out, err } = await mesh.isthmus('cluster', 'join', cluster.name, ...mesh.at(cluster))
      process.stderr.write(`${out}${err}${cluster.name} joined in ${Math.round(performance.now() - begun)} ms\n`)
      expect(code, err).toBe(0)
    }
    await near.settled()
    const before = near.audit.fromNow()
    const { code, out } = await mesh.isthmus('cluster', 'join', 'near', ...mesh.at(near))
    expect([code, out]).toEqual([0, expect.stringContaining('nothing was to be changed')])
    await near.settled()
    expect(before.writes('admin').map(said)).toEqual([])
  })

  test('the relay was refused nothing, and has read one Secret alone', async () => {
    for (const cluster of [near, far]) {
      await cluster.settled()
      expect(cluster.audit.refusedRequests(relay).map(said)).toEqual([])
      const secrets = cluster.audit
        .secretReads(relay)
        .map(({ objectRef }) => `${objectRef?.namespace}/${objectRef?.name}`)
      expect([...new Set(secrets)]).toEqual(['isthmus-system/relay'])
    }
  })
})
