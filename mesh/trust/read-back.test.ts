import { sign } from 'node:crypto'
import { expect, test } from 'vitest'
import { assembleCertificate, buildTbs } from '#mesh/trust/build-certificate.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import { encode, sequence, time, unsigned } from '#mesh/trust/der.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { backdateSeconds } from '#mesh/trust/profile.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, keyInHand, makeIssuing, makeRoot } from '#tests/support/authorities.ts'

const now = new Date('2026-06-01T00:00:00Z')
const names = identityNames(spiffeId(domain('cluster-a'), 'shop', 'reviews'))

test('a leaf that is another than was asked in any one byte, though its CA signed it, is caught', async () => {
  const issuing = await makeIssuing(await makeRoot({ now }), 'cluster-a', { now })
  const { spki } = keyInHand()
  const serial = new Uint8Array(16).fill(7)
  const issuer = issuing.certificate
  const tbs = buildTbs({ profile: 'workload', names, publicKey: spki, issuer, now, serial, signature: 'ecdsa-sha256' })
  const faults = (bytes: Uint8Array) =>
    checkCertificate(signed(bytes, issuing.key.key), 'workload', { names, now, publicKey: spki, issuer })
  expect(faults(tbs)).toEqual([])

  // What may be otherwise: the serial number is random, a life may be shorter, and how many bits of keyUsage do not count is
  // told in more than one way by the authorities of others.
  const life = sequence(
    time(new Date(now.getTime() - backdateSeconds * 1000)),
    time(new Date(now.getTime() + 86_400_000)),
  )
  const usage = rangeOf(tbs, Uint8Array.of(3, 2, 7, 0x80))
  const unusedBits = { from: usage.from + 2, end: usage.from + 3 }
  const free = [rangeOf(tbs, encode(unsigned(serial))), rangeOf(tbs, encode(life)), unusedBits]
  const missed: string[] = []
  for (const [at, byte] of tbs.entries()) {
    if (free.some(({ from, end }) => at >= from && at < end)) continue
    for (const flip of [1 << (at % 8), 1 << ((at + 3) % 8), 0xff]) {
      const changed = Uint8Array.from(tbs)
      changed[at] = byte ^ flip
      if (faults(changed).length === 0) missed.push(`byte ${at} ^ ${flip}`)
    }
  }
  expect(missed).toEqual([])
})

/** Put together by hand, for what is no longer DER as well. */
function signed(tbs: Uint8Array, key: Parameters<typeof sign>[2]): Uint8Array {
  const honest = assembleCertificate(encode(sequence()), 'ecdsa-sha256', new Uint8Array(sign('sha256', tbs, key)))
  const rest = honest.subarray(honest[1] === 0x81 ? 5 : 4)
  const length = tbs.length + rest.length
  return Uint8Array.from([0x30, 0x82, length >> 8, length & 0xff, ...tbs, ...rest])
}

function rangeOf(bytes: Uint8Array, part: Uint8Array): { readonly from: number; readonly end: number } {
  const from = Buffer.from(bytes).indexOf(part)
  if (from < 0) throw new Error('the part is not there')
  return { from, end: from + part.length }
}
