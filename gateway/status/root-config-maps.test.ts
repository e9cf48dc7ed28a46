import { expect, test } from 'vitest'
import { openRootConfigMaps } from '#gateway/status/root-config-maps.ts'
import { keptObjects } from '#tests/support/kept-objects.ts'

const name = 'istio-ca-root-cert'
const at = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps/${name}`

function rig() {
  const kube = keptObjects()
  const state = { roots: 'ca 1', namespaces: new Set(['shop']), leads: true, upMs: 0 }
  const maps = openRootConfigMaps({
    ...{ api: kube.api, name, log: { info: () => undefined, warn: () => undefined } },
    ...{
      roots: () => state.roots,
      namespaces: () => state.namespaces,
      leads: () => state.leads,
      upMs: () => state.upMs,
    },
  })
  const writes = () => kube.calls.filter((call) => !call.startsWith('GET'))
  return { kube, state, maps, writes }
}

test('each namespace with meshed pods has the CA, and a newer one in its place', async () => {
  const { kube, state, maps } = rig()
  await maps.look()
  expect(kube.objects.get(at('shop'))).toMatchObject({ data: { 'root-cert.pem': 'ca 1' } })
  state.roots = 'ca 2'
  state.namespaces.add('bank')
  await maps.look()
  for (const namespace of ['shop', 'bank'])
    expect(kube.objects.get(at(namespace))).toMatchObject({ data: { 'root-cert.pem': 'ca 2' } })
})

test('what is as it should be is written no second time, nor by a replica that does not lead', async () => {
  const { state, maps, writes } = rig()
  await maps.look()
  await maps.look()
  expect(writes()).toHaveLength(1)
  state.leads = false
  state.roots = 'ca 2'
  await maps.look()
  expect(writes()).toHaveLength(1)
})

test('while nobody knows the CA nothing is written', async () => {
  const { state, maps, writes } = rig()
  state.roots = ''
  await maps.look()
  expect(writes()).toEqual([])
})

test('one that somebody deleted is there again after a while', async () => {
  const { kube, state, maps } = rig()
  await maps.look()
  kube.objects.delete(at('shop'))
  state.upMs = 5 * 60_000
  await maps.look()
  expect(kube.objects.has(at('shop'))).toBe(true)
})

test('one that an istiod keeps is left to it, and said', async () => {
  const { kube, maps, writes } = rig()
  const theirs = { metadata: { name, labels: { 'istio.io/config': 'true' } }, data: { 'root-cert.pem': 'theirs' } }
  await kube.api.call('POST', '/api/v1/namespaces/shop/configmaps', { body: theirs })
  await maps.look()
  expect(writes()).toHaveLength(1)
  expect(maps.conditions()).toMatchObject([{ reason: 'OwnedByAnother', object: `ConfigMap shop/${name}` }])
})

test('one namespace that refuses keeps nobody else from having it, and says why', async () => {
  const { kube, state, maps } = rig()
  state.namespaces = new Set(['closing', 'shop'])
  const { call } = kube.api
  kube.api.call = async (method, path, asked) => {
    if (method === 'POST' && path.includes('closing')) throw new Error('the namespace is being deleted')
    return call(method, path, asked)
  }
  await maps.look()
  expect(kube.objects.has(at('shop'))).toBe(true)
  expect(maps.conditions()).toMatchObject([{ reason: 'NotWritten', message: 'the namespace is being deleted' }])
})
