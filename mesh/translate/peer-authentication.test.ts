import { expect, test } from 'vitest'
import type { PeerAuthentication } from '#mesh/model/pod.ts'
import { mutualTlsModeOf } from '#mesh/translate/peer-authentication.ts'

const policy = (more: Partial<PeerAuthentication>): PeerAuthentication => ({
  namespace: 'shop',
  name: 'default',
  selector: {},
  ports: {},
  ...more,
})
const mesh = policy({ namespace: 'istio-system', mode: 'DISABLE' })
const namespace = policy({ mode: 'PERMISSIVE' })
const pod = policy({ name: 'pod', selector: { app: 'cart' }, mode: 'STRICT' })
const portOnly = policy({ name: 'port', selector: { app: 'cart' }, ports: { '8080': 'DISABLE' } })

test.each([
  ['nothing said: STRICT', [], 'STRICT'],
  ['the cluster’s', [mesh], 'DISABLE'],
  ['the namespace’s before the cluster’s', [mesh, namespace], 'PERMISSIVE'],
  ['the pod’s before the namespace’s', [mesh, namespace, pod], 'STRICT'],
  ['a port’s own before all', [mesh, namespace, portOnly], 'DISABLE'],
  ['a policy without a mode inherits', [namespace, policy({ name: 'p', selector: { app: 'cart' } })], 'PERMISSIVE'],
  ['another pod’s does not count', [policy({ selector: { app: 'other' }, mode: 'DISABLE' })], 'STRICT'],
  ['another namespace’s does not count', [policy({ namespace: 'other', mode: 'DISABLE' })], 'STRICT'],
  [
    'a selector in the root namespace is that namespace’s own',
    [policy({ namespace: 'istio-system', selector: { app: 'cart' }, mode: 'DISABLE' })],
    'STRICT',
  ],
  ['ports count only with a selector', [policy({ ports: { '8080': 'DISABLE' } })], 'STRICT'],
] as const)('%s', (_, policies, mode) => {
  const facts = { namespace: 'shop', labels: { app: 'cart' } }
  expect(mutualTlsModeOf(policies, facts, 8080)).toBe(mode)
  expect(mutualTlsModeOf([...policies].reverse(), facts, 8080)).toBe(mode)
})

test('a port’s mode is that port’s alone', () => {
  expect(mutualTlsModeOf([portOnly, namespace], { namespace: 'shop', labels: { app: 'cart' } }, 9090)).toBe(
    'PERMISSIVE',
  )
})
