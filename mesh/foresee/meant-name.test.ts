import { expect, test } from 'vitest'
import { hostKey, meantBy, nearTo } from '#mesh/foresee/meant-name.ts'
import { type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import { caseOf } from '#mesh/translate/testdata/case.ts'

const { view } = caseOf({
  ...{ cluster: 'west', region: 'r1' },
  services: { 'shop/web': { ports: ['http 80 http'], ips: ['10.96.0.7', 'fd00::7'] } },
  proxy: { id: 'router~~x.x~x', account: '', metadata: {} },
})
const textOf = (host: string): string => {
  const meant = meantBy(host, 'shop', view)
  if (typeof meant === 'string') return meant
  const { key, cluster, hostname } = meant
  return [key, cluster ?? '', hostname ?? ''].join(' ').trim()
}

test.each([
  ['cart', 'shop/cart'],
  ['cart.bank', 'bank/cart'],
  ['cart.bank.svc', 'bank/cart'],
  ['cart.bank.svc.cluster.local', 'bank/cart'],
  ['CART.bank.svc.cluster.local.', 'bank/cart'],
  ['cart.bank.svc.clusterset.local', 'bank/cart'],
  ['east.cart.bank.svc.clusterset.local', 'bank/cart east'],
  ['db-0.east.cart.bank.svc.clusterset.local', 'bank/cart east db-0'],
  ['db-0.cart.bank.svc.cluster.local', 'bank/cart  db-0'],
  ['db-0.cart.bank.svc', 'bank/cart  db-0'],
  ['10.96.0.7', 'shop/web'],
  ['fd00::7', 'shop/web'],
])('%s means %s', (host, meant) => expect(textOf(host)).toBe(meant))

test.each(['cart.svc', 'a.b.c', 'a.b.c.d.e.svc.clusterset.local', 'cart_1', '', '.', 'svc.clusterset.local', '*.shop'])(
  '"%s" is no name of the mesh, which is said and not thrown',
  (host) => {
    expect(textOf(host)).toMatch(/is no name of a service of the mesh/)
    expect(hostKey(host, 'shop')).toBeUndefined()
  },
)

test('an address is only known where a Service has it', () => {
  expect(textOf('10.96.0.8')).toBe("10.96.0.8 is the address of no Service of the caller's cluster")
  expect(hostKey('10.96.0.7', 'shop')).toBeUndefined()
})

test('near names are few slips away, the closest first; nothing is near a name of two letters', () => {
  const known = ['shop/carts', 'shop/cart', 'bank/cart', 'shop/card', 'shop/web'].map((key) => key as ServiceKey)
  expect(nearTo(serviceKey('shop', 'cart'), known)).toEqual(['bank/cart', 'shop/card', 'shop/carts'])
  expect(nearTo(serviceKey('shop', 'crat'), known)).toEqual(['shop/cart'])
  expect(nearTo(serviceKey('shop', 'db'), known)).toEqual([])
})
