import { expect, test } from 'vitest'
import { readExports } from '#cli/onboard/check/gather-services.ts'
import { fakeClusterApi } from '#tests/support/fake-cluster-api.ts'

const named = (namespace: string, name: string, more: object = {}, labels: object = {}) => ({
  ...{ metadata: { namespace, name, labels } },
  ...more,
})
const slice = (namespace: string, service: string, endpoints: readonly object[]) =>
  named(namespace, `${service}-1`, { endpoints }, { 'kubernetes.io/service-name': service })
const pod = (name: string, ready = true) => ({ conditions: { ready }, targetRef: { kind: 'Pod', name } })
const condition = (type: string, status: string, message: string) => ({ type, status, message })

const answers = {
  // A cluster of before v1beta1.
  '/apis/multicluster.x-k8s.io/v1alpha1/serviceexports': [
    named('shop', 'web', {
      status: { conditions: [condition('Valid', 'True', ''), condition('Conflict', 'True', 'ports')] },
    }),
    named('shop', 'gone', { status: { conditions: [condition('Valid', 'False', 'no Service')] } }),
    named('data', 'db'),
  ],
  '/api/v1/services': [
    named('shop', 'web', {
      spec: {
        ports: [
          { port: 80, name: 'http-web' },
          { port: 9000, name: 'x' },
        ],
      },
    }),
    named('data', 'db', { spec: { ports: [{ port: 3306, appProtocol: 'mysql' }] } }),
    named('shop', 'inner', { spec: {} }),
  ],
  '/apis/security.istio.io/v1/peerauthentications': [
    named('istio-system', 'default', { spec: { mtls: { mode: 'PERMISSIVE' } } }),
    named('shop', 'default', { spec: { mtls: { mode: 'STRICT' } } }),
  ],
  '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices': [
    slice('shop', 'web', [pod('web-1'), pod('web-2'), pod('web-3', false)]),
    slice('shop', 'inner', [pod('inner-1')]),
  ],
  // One pod, in slices of both families.
  '/apis/discovery.k8s.io/v1/namespaces/data/endpointslices': [
    slice('data', 'db', [pod('db-0')]),
    slice('data', 'db', [pod('db-0')]),
  ],
  '/api/v1/namespaces/shop/pods': [
    named('shop', 'web-1', {}, { 'security.istio.io/tlsMode': 'istio' }),
    named('shop', 'web-2'),
    named('shop', 'inner-1'),
  ],
  '/api/v1/namespaces/data/pods': [named('data', 'db-0', {}, { 'security.istio.io/tlsMode': 'istio' })],
}

test('exports are read with what stands behind them, and what nobody exports beside them', async () => {
  const { exports, unexported } = await readExports(fakeClusterApi(answers))
  expect(exports).toEqual([
    {
      ...{ service: 'shop/web', exists: true, ready: 2, unmeshed: ['web-2'], permissive: false },
      faults: ['Conflict: ports'],
      ports: [
        { port: 80, name: 'http-web', protocol: 'http', declared: true },
        { port: 9000, name: 'x', protocol: 'tcp', declared: false },
      ],
    },
    {
      ...{ service: 'shop/gone', exists: false, ready: 0, unmeshed: [], permissive: false, ports: [] },
      faults: ['Valid: no Service'],
    },
    {
      ...{ service: 'data/db', exists: true, ready: 1, unmeshed: [], permissive: true, faults: [] },
      ports: [{ port: 3306, name: '', protocol: 'tcp', declared: true }],
    },
  ])
  expect(unexported).toEqual(['shop/inner'])
})
