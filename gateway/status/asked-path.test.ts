import { expect, test } from 'vitest'
import { parseAskedPath } from '#gateway/status/asked-path.ts'

test('a pod, a host and a port, which may be left out', () => {
  const asked = { namespace: 'shop', pod: 'web-1', host: 'cart.bank' }
  expect(parseAskedPath('pod=shop/web-1&host=cart.bank&port=80')).toEqual({ ...asked, port: 80 })
  expect(parseAskedPath('pod=shop%2Fweb-1&host=cart.bank')).toEqual(asked)
})

test.each([
  undefined,
  '',
  'pod=web-1&host=cart',
  'pod=Shop/web-1&host=cart',
  'pod=shop/web/1&host=cart',
  'pod=shop/web-1',
  'pod=shop/web-1&host=',
  `pod=shop/web-1&host=${'a'.repeat(254)}`,
  'pod=shop/web-1&host=cart&port=',
  'pod=shop/web-1&host=cart&port=0',
  'pod=shop/web-1&host=cart&port=65536',
  'pod=shop/web-1&host=cart&port=-1',
  'pod=shop/web-1&host=cart&port=1e3',
])('%s is refused, with how to ask', (query) => {
  expect(() => parseAskedPath(query)).toThrow('ask /explain?pod=<namespace>/<pod>&host=<host>&port=<port>')
})
