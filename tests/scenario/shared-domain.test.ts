import { afterEach, describe, expect, test } from 'vitest'
import { stepRotations } from '#control/trust/rotate.ts'
import { certificatePem, parseCertificate } from '#mesh/trust/certificate.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { csrOf, keyInHand, mesh } from '#tests/support/authorities.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { crooked } from '#tests/support/crooked.ts'
import { hasOpenssl, opensslSays } from '#tests/support/second-opinion.ts'
import { exported, facts } from '#tests/support/stores.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

const open: TestCentre[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
})
async function start(more: Parameters<typeof openTestCentre>[0] = {}): Promise<TestCentre> {
  const centre = await openTestCentre(more)
  open.unshift(centre)
  return centre
}

const trustOf = async (centre: TestCentre) => {
  const { body } = await centre.admin('GET', '/v1/trust')
  const clusters = (body['clusters'] as Record<string, unknown>[]).map(
    ({ cluster, trustDomain, confined, claims }) => ({
      ...{ cluster, trustDomain, confined, claims },
    }),
  )
  return { mode: body['mode'], clusters }
}

describe('a trust domain of a mesh of before, which clusters share', () => {
  const corp = { first: { sharedDomain: 'corp.example' } }

  test('is what every cluster is given, admitted by all, and reported as unconfined with what each could claim', async () => {
    const centre = await start(corp)
    const [east, west] = [await new TestRelay(centre, 'east').join(), await new TestRelay(centre, 'west').join()]
    await east.sync(
      { cluster: facts('net-east'), 'export/shop/cart': exported({ serviceAccounts: ['cart', 'till'] }) },
      { complete: true },
    )
    await west.sync(
      { cluster: facts('net-west'), 'export/shop/cart': exported({ serviceAccounts: ['cart'] }) },
      { complete: true },
    )
    expect([east.trustDomain, west.trustDomain]).toEqual(['corp.example', 'corp.example'])
    expect(await trustOf(centre)).toEqual({
      mode: { kind: 'shared', trustDomain: 'corp.example' },
      clusters: [
        { cluster: 'east', trustDomain: 'corp.example', confined: false, claims: { identities: 1, clusters: 1 } },
        { cluster: 'west', trustDomain: 'corp.example', confined: false, claims: { identities: 2, clusters: 1 } },
      ],
    })
    const { conditions } = (await centre.admin('GET', '/v1/clusters/east')).body as { conditions: { reason: string }[] }
    expect(conditions.map(({ reason }) => reason)).toContain('SharedTrustDomain')
    await centre.settle()
    await west.pull()
    const config = west.held.get('cfg/west')
    const imported = JSON.parse(config?.items.get('import/shop/cart') ?? '{}')
    expect(imported.sources.map((one: { identities: string[] }) => one.identities)).toEqual([
      ['spiffe://corp.example/ns/shop/sa/cart', 'spiffe://corp.example/ns/shop/sa/till'],
      ['spiffe://corp.example/ns/shop/sa/cart'],
    ])
  })

  test('lets the CA of one speak for another, and for nobody outside the domain: as OpenSSL has it too', async () => {
    const centre = await start(corp)
    const east = await new TestRelay(centre, 'east').join()
    await new TestRelay(centre, 'west').join()
    const key = keyInHand()
    const body = { kind: 'issuing', csr: await csrOf(key) }
    const answer = await centre.call('POST', `/v1/clusters/${east.id}/certificates`, { bearer: east.bearer, body })
    const certificate = parseCertificate(String(answer.body['chain']))
    const issuing = { key, certificate, pem: certificatePem(certificate) }
    const [root = ''] = answer.body['roots'] as string[]
    const leaves = await Promise.all(
      ['corp.example', 'west.mesh1', 'sub.corp.example'].map(async (domain) => {
        const life = {
          notBefore: new Date(centre.clock.now - 60_000),
          notAfter: new Date(centre.clock.now + 3_600_000),
        }
        return crooked({ names: [{ uri: `spiffe://${domain}/ns/shop/sa/of-west` }], ...life }, issuing)
      }),
    )
    const at = centre.clock.now / 1000
    const asked = leaves.map(({ der }) => ({ leaf: toPem(der), between: issuing.pem, root, at }))
    if (!hasOpenssl()) return
    expect((await opensslSays(asked)).map((said) => said === 'OK')).toEqual([true, false, false])
  })

  test('says that an export cannot be narrowed within it', async () => {
    const centre = await start(corp)
    const names = ['east', 'west', 'north']
    const [east] = await Promise.all(names.map((name) => new TestRelay(centre, name).join()))
    await east?.sync(
      { cluster: facts('net-east'), 'export/shop/cart': exported({ consumers: ['west'] }) },
      { complete: true },
    )
    await centre.settle()
    const { body } = await centre.admin('GET', '/v1/cluster-configs/east')
    expect(body['conditions']).toContainEqual(
      expect.objectContaining({
        reason: 'SharedTrustDomain',
        message: expect.stringMatching(/^it is not exported to north, whose workloads are let in all the same/),
      }),
    )
  })

  test('cannot be shut out because of one: the way is told, and goes', async () => {
    const centre = await start(corp)
    const [east, west] = [await TrustingRelay.join(centre, 'east'), await TrustingRelay.join(centre, 'west')]
    await centre.settle()
    for (const kind of ['cluster', 'issuer'])
      expect(await centre.admin('POST', '/v1/revocations', { kind, subject: 'east', reason: 'stolen' })).toMatchObject({
        status: 409,
        body: { detail: expect.stringMatching(/shares the trust domain corp.example with west: .*rotate-root/) },
      })
    const id = 'spiffe://corp.example/ns/shop/sa/cart'
    const denied = await centre.admin('POST', '/v1/revocations', { kind: 'workload', subject: id, reason: 'stolen' })
    expect(denied.status).toBe(201)
    // The way that was told: it goes, and a root that its issuing CA is not under.
    expect((await centre.admin('DELETE', '/v1/clusters/east')).status).toBe(200)
    const begun = await centre.admin('POST', '/v1/rotations', { kind: 'root' })
    for (let rounds = 0; rounds < 6; rounds++) {
      await west.keepUp()
      await stepRotations(centre.centre)
    }
    expect((await centre.admin('GET', `/v1/rotations/${begun.body['id']}`)).body['state']).toBe('done')
    expect(west.bundle?.roots).toHaveLength(1)
    expect(west.bundle?.revoked).toEqual([])
    expect(east.relay.trustDomain).toBe('corp.example')
    // Alone in it, its issuer can be revoked: it goes on under a trust domain of its own, confined.
    const alone = await centre.admin('POST', '/v1/revocations', { kind: 'issuer', subject: 'west', reason: 'stolen' })
    expect(alone.status).toBe(201)
    expect((await trustOf(centre)).clusters).toEqual([
      { cluster: 'west', trustDomain: 'west-g2.mesh1', confined: true, claims: null },
    ])
    // And nobody comes into a domain that is revoked.
    expect(await centre.admin('POST', '/v1/clusters', { name: 'south' })).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('corp.example cannot be given to a cluster: it is revoked') },
    })
  })
})

describe('for single clusters', () => {
  test('asked for when a cluster is created, by an admin; later it stays as it is', async () => {
    const centre = await start()
    const made = await centre.admin('POST', '/v1/clusters', { name: 'old-1', trustDomain: 'cluster.local' })
    expect(made).toMatchObject({ status: 201, body: { trustDomain: 'cluster.local' } })
    await centre.admin('POST', '/v1/clusters', { name: 'new-1' })
    expect((await centre.admin('GET', '/v1/clusters/new-1')).body['trustDomain']).toBe('new-1.mesh1')
    const key = await centre.admin('POST', '/v1/operator-keys', { name: 'ops', role: 'operator' })
    const send = { bearer: String(key.body['key']), body: { name: 'old-2', trustDomain: 'cluster.local' } }
    expect((await centre.call('POST', '/v1/clusters', send)).status).toBe(403)
    const change = await centre.admin('PUT', '/v1/clusters/old-1', { trustDomain: 'old-1.mesh1' })
    expect(change).toMatchObject({
      status: 409,
      body: { violations: [{ path: 'trustDomain', reason: 'is cluster.local, and stays it' }] },
    })
    expect((await centre.admin('PUT', '/v1/clusters/old-1', { trustDomain: 'cluster.local' })).status).toBe(200)
    for (const trustDomain of ['new-1.mesh1', 'x.mesh1', mesh, 'Cluster.local', 'a_b.c'])
      expect([
        trustDomain,
        (await centre.admin('POST', '/v1/clusters', { name: 'old-3', trustDomain })).status,
      ]).toEqual([trustDomain, 400])
    // It left, and comes back with one of its own.
    await centre.admin('DELETE', '/v1/clusters/old-1')
    const back = await centre.admin('POST', '/v1/clusters', { name: 'old-1' })
    expect(back.body).toMatchObject({ trustDomain: 'old-1-g2.mesh1', generation: 2 })
  })
})
