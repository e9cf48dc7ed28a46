import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerFault, gatewayAddressFault, gatewayAddressOf } from '#mesh/model/gateway-address.ts'

describe('the address of a gateway', () => {
  test.each([
    '203.0.113.9',
    '10.0.0.1',
    '127.21.0.2',
    '2001:db8::1',
    'a1b2-0123456789abcdef.elb.eu-west-1.amazonaws.com',
    'gw.example.com',
    'xn--bcher-kva.example',
    '7.example',
    `${'a.'.repeat(125)}com`,
  ])('%s is one', (text) => expect(gatewayAddressFault(text)).toBeUndefined())

  test.each([
    ['*.example.com', /wildcard/],
    ['localhost', /localhost/],
    ['gw.localhost', /localhost/],
    ['gw', /single label/],
    ['istio-eastwestgateway.istio-system.svc.cluster.local', /\.local/],
    ['', /neither/],
    ['gw..example.com', /neither/],
    ['gw.example.com.', /neither/],
    ['GW.example.com', /neither/],
    ['-gw.example.com', /neither/],
    ['gw_1.example.com', /neither/],
    ['gw.example.com:15443', /neither/],
    ['gw.example.com\n', /neither/],
    [`${'a'.repeat(64)}.com`, /neither/],
    [`${'a.'.repeat(126)}com`, /253/],
    ['127.1', /odd form/],
    ['0x7f.0.0.1', /odd form/],
    ['0x7f000001', /odd form/],
    ['2130706433', /odd form/],
    ['010.0.0.1', /odd form/],
    ['1.2.3.4.5', /odd form/],
    ['10.0.0.0x1', /odd form/],
    ['2001:0db8::1', /use 2001:db8::1/],
    ['2001:DB8::1', /use 2001:db8::1/],
    ['fe80::1%eth0', /interface/],
    ['169.254.169.254', /link-local/],
    ['::ffff:169.254.169.254', /link-local/],
    ['0.0.0.0', /single host/],
    ['255.255.255.255', /single host/],
    ['239.1.1.1', /single host/],
    ['::', /single host/],
    ['ff02::1', /single host/],
  ])('%j is none', (text, why) => expect(gatewayAddressFault(text)).toMatch(why))

  test('one spelling each', () => {
    expect(['GW.Example.com.', '2001:0DB8:0::1', '203.0.113.9'].map(gatewayAddressOf)).toEqual([
      'gw.example.com',
      '2001:db8::1',
      '203.0.113.9',
    ])
  })

  test('whatever is one is spelled in one way', () => {
    const text = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[a-zA-Z0-9.:%*-]{0,40}$/))
    fc.assert(
      fc.property(text, (said) => {
        const spelled = gatewayAddressOf(said)
        expect(gatewayAddressOf(spelled)).toBe(spelled)
        if (gatewayAddressFault(said) === undefined) expect(spelled).toBe(said)
      }),
      { examples: [['..'], ['.'], ['a..']] },
    )
  })
})

describe('an answer of the DNS', () => {
  test.each(['203.0.113.9', '10.1.2.3', '192.168.7.7', '100.64.0.9', '2600:1f18::1', 'fd12:3456::1'])(
    '%s may be dialled',
    (address) => expect(answerFault(address, false)).toBeUndefined(),
  )
  test.each([
    '169.254.169.254',
    '169.254.170.2',
    'fe80::1',
    'fd00:ec2::254',
    '::ffff:169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    '0.0.0.0',
    '224.0.0.251',
    '255.255.255.255',
    '::',
  ])('%s never', (address) => expect(answerFault(address, true)).toBeDefined())
  test.each(['127.0.0.1', '127.31.0.2', '::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1'])(
    '%s only in a fleet on loopback',
    (address) => {
      expect(answerFault(address, false)).toMatch(/loopback/)
      expect(answerFault(address, true)).toBeUndefined()
    },
  )
})
