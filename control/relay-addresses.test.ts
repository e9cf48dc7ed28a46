import { expect, test } from 'vitest'
import { checkRelayAddresses } from '#control/relay-addresses.ts'

const real = { url: 'https://10.0.0.7:7400', reservedIps: ['10.0.0.8', '2001:db8::8'] }
const named = { url: 'https://centre.example', reservedIps: [] }
const sandbox = { url: 'https://127.0.0.1:7400', reservedIps: ['127.0.0.1'] }

test.each([
  ['10.0.0.9', real],
  ['192.168.1.1', named],
  ['203.0.113.5', named],
  ['2001:db8::9', real],
  ['fd12:3456::1', named],
  ['127.21.0.1', sandbox],
  ['::1', { url: 'https://localhost:7400', reservedIps: [] }],
])('%s may be a relay’s', (ip, centre) => {
  expect(() => checkRelayAddresses([ip], centre)).not.toThrow()
})

test.each([
  ['10.0.0.7', real, "the centre's own"],
  ['10.0.0.8', real, "the centre's own"],
  ['2001:DB8:0::8', real, "the centre's own"],
  ['::ffff:10.0.0.7', real, "the centre's own"],
  ['::ffff:a00:7', real, "the centre's own"],
  ['127.0.0.1', sandbox, "the centre's own"],
  ['127.0.0.1', real, 'a loopback address'],
  ['127.9.9.9', named, 'a loopback address'],
  ['::1', named, 'a loopback address'],
  ['0.0.0.0', sandbox, 'no address of a single host'],
  ['::', sandbox, 'no address of a single host'],
  ['224.0.0.1', named, 'no address of a single host'],
  ['255.255.255.255', named, 'no address of a single host'],
  ['ff02::1', named, 'no address of a single host'],
  ['169.254.169.254', sandbox, 'a link-local address'],
  ['fe80::1', named, 'a link-local address'],
  ['fe80::1%eth0', named, 'names an interface'],
  ['::ffff:10.1.1.1', named, 'IPv4 address in IPv6 form'],
  ['2001:DB8::1', named, 'odd form'],
  ['10.0.0.1/8', named, 'no IP address'],
  ['*', named, 'no IP address'],
  ['relay.example', named, 'no IP address'],
  ['127.1', sandbox, 'no IP address'],
])('%s is none: %s', (ip, centre, reason) => {
  expect(() => checkRelayAddresses(['10.5.5.5', ip], centre)).toThrow(reason)
  expect(() => checkRelayAddresses(['10.5.5.5', ip], centre)).toThrow(
    expect.objectContaining({ kind: 'forbidden', violations: [expect.objectContaining({ path: 'ips[1]' })] }),
  )
})
