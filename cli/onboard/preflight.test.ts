import { describe, expect, test } from 'vitest'
import { buildNamespace } from '#cli/onboard/manifests/build.ts'
import { buildRbac } from '#cli/onboard/manifests/rbac.ts'
import { checkInstalled, checkRights, placeFrom, readFacts, rightsFor } from '#cli/onboard/preflight.ts'
import { fakeClusterApi } from '#tests/support/fake-cluster-api.ts'

const version = (minor: string, gitVersion = `v1.${minor}.0`) => ({ '/version': { major: '1', minor, gitVersion } })
const node = (labels: object, providerID = '') => ({ metadata: { labels }, spec: { providerID } })
const nodes = (...all: object[]) => ({ '/api/v1/nodes': all as never })
const region = (name: string) => ({ 'topology.kubernetes.io/region': name })
const settings = (text: string) => ({
  '/api/v1/namespaces/isthmus-system/configmaps/relay': { data: { 'isthmus.yaml': text } },
})
const factsOf = (...answers: object[]) => readFacts(fakeClusterApi(Object.assign({}, ...answers)))

describe('what a cluster is', () => {
  test('is read of its server and its nodes', async () => {
    const facts = await factsOf(version('36'), nodes(node(region('eu-1')), node(region('eu-1'))))
    expect(facts).toEqual({ version: 'v1.36.0', nodes: 2, isEks: false, regions: ['eu-1'], networks: [] })
  })

  test.each([
    ['its version', version('33', 'v1.33.1-eks-1a2b3c'), nodes()],
    ['its nodes', version('33'), nodes(node({}, 'aws:///eu-west-1a/i-0abc'))],
  ])('is EKS by %s', async (_, server, some) => {
    expect((await factsOf(server, some)).isEks).toBe(true)
  })

  test('is too old before native sidecars', async () => {
    await expect(factsOf(version('28+'))).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringContaining('1.30'),
    })
  })

  test.each([
    ['cluster: paris-1', 'paris-1'],
    ['{ not yaml', undefined],
    ['', undefined],
  ])('installed with %j is %s', async (text, installed) => {
    expect((await factsOf(version('36'), settings(text))).installed).toBe(installed)
  })

  test('is one cluster', async () => {
    const facts = await factsOf(version('36'), settings('cluster: rome-1'))
    expect(() => checkInstalled('rome-1', facts, fakeClusterApi({}))).not.toThrow()
    expect(() => checkInstalled('paris-1', facts, fakeClusterApi({}))).toThrow('is cluster "rome-1" already')
  })
})

describe('where it is', () => {
  const facts = { version: '', nodes: 2, isEks: false }
  const place = (regions: string[], networks: string[], said = {}) =>
    placeFrom('paris-1', { ...facts, regions, networks }, said)

  test('is as its nodes say', () => {
    expect(place(['eu-1'], ['lan'])).toEqual({
      ...{ region: 'eu-1', network: 'lan', why: 'region eu-1 (by its nodes), network lan (by its nodes)' },
    })
  })

  test('is as the user says, whatever its nodes do', () => {
    expect(place(['eu-1', 'eu-2'], ['a', 'b'], { region: 'eu-9', network: 'lan' })).toMatchObject({
      region: 'eu-9',
      network: 'lan',
    })
  })

  test('is a network of its own where nothing names one', () => {
    expect(place(['eu-1'], [])).toMatchObject({ network: 'paris-1', why: expect.stringContaining('(its own)') })
  })

  test.each([
    ['no region', [], [], 'its region is not known'],
    ['two regions', ['eu-1', 'eu-2'], [], 'its nodes are of several regions: eu-1, eu-2'],
    ['two networks', ['eu-1'], ['a', 'b'], 'its nodes are of several networks: a, b'],
  ])('is asked for with %s', (_, regions, networks, why) => {
    expect(() => place(regions, networks)).toThrow(why)
  })
})

describe('rights', () => {
  const review = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
  type Review = { readonly spec: { readonly resourceAttributes: { readonly verb: string; readonly resource: string } } }
  const allowing = (is: (of: Review['spec']['resourceAttributes']) => boolean) =>
    fakeClusterApi({
      [review]: ((body: Review) => ({ status: { allowed: is(body.spec.resourceAttributes) } })) as never,
    })
  const rights = rightsFor([buildNamespace(), ...buildRbac()])

  test('are all there', async () => {
    await expect(
      checkRights(
        allowing(() => true),
        rights,
      ),
    ).resolves.toBeUndefined()
  })

  test('that are missing are named, each with what it is for', async () => {
    const checked = checkRights(
      allowing(({ verb, resource }) => !(verb === 'create' && /roles$|secrets/.test(resource))),
      rights,
    )
    await expect(checked).rejects.toMatchObject({
      kind: 'forbidden',
      violations: [
        { path: 'create clusterroles.rbac.authorization.k8s.io', reason: 'is not allowed' },
        { path: 'create roles.rbac.authorization.k8s.io in isthmus-system', reason: 'is not allowed' },
        { path: 'create secrets in isthmus-system', reason: 'is not allowed' },
      ],
    })
  })
})
