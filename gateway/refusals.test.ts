import { expect, test } from 'vitest'
import { causeOf, openRefusals } from '#gateway/refusals.ts'

test.each([
  [
    'TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: SAN matcher, certificate SANs are [spiffe://x]:TLS_error_end',
    'name',
  ],
  [
    'verify cert failed: X509_verify_cert: certificate verification error at depth 1: unable to get local issuer certificate',
    'unknown-issuer',
  ],
  ['X509_verify_cert: certificate verification error at depth 0: certificate has expired', 'expired'],
  ['certificate verification error at depth 0: certificate is not yet valid', 'not-yet-valid'],
  ['certificate verification error at depth 0: permitted subtree violation', 'constraint'],
  [
    'TLS_error:|268435655:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:TLS_error_end',
    'no-certificate',
  ],
  ['verify cert failed: no trust bundle store', 'no-bundle'],
  ['TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end', 'no-tls'],
  ['TLS_error:|268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end', 'refused-by-peer'],
  ['somebody pulled the plug', 'other'],
] as const)('%s is %s', (text, cause) => {
  expect(causeOf(text)).toBe(cause)
})

test('what proxies tell is merged by peer, place and cause, bounded, and counted by cause', () => {
  const refusals = openRefusals()
  const told = (peer: string, count: number) => ({ at: 1, peer, local: '10.0.0.1:9080', cause: 'SAN matcher', count })
  refusals.told('shop/a-0', [told('x', 2)])
  refusals.told('shop/b-0', [told('x', 3)])
  expect(refusals.list()).toMatchObject([{ peer: 'x', count: 5, pod: 'shop/b-0', reason: 'name' }])
  for (let i = 0; i < 100; i++) refusals.told('shop/a-0', [told(`p${i}`, 1)])
  expect([refusals.list().length, refusals.list()[0]?.peer, refusals.counts()]).toEqual([64, 'p99', { name: 105 }])
})
