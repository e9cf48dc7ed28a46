import {
  bitString,
  type Der,
  encode,
  octets,
  oid,
  sequence,
  setOf,
  time,
  unsigned,
  utf8,
  yes,
} from '#mesh/trust/der.ts'
import { oids } from '#mesh/trust/oid.ts'

// What certificates of tests are put together from, apart from our own builder, which makes none that is wrong.

/** A Name of one common name; empty: no part at all. */
export const commonNameOf = (text: string): Der =>
  text === '' ? sequence() : sequence(setOf(sequence(oid(oids.commonName), utf8(text))))

export const extension = (id: string, critical: boolean, value: Der): Der =>
  sequence(oid(id), ...(critical ? [yes()] : []), octets(encode(value)))

/** `usage`: the first byte; 0x80 is digitalSignature, 0x04 keyCertSign. */
export const keyUsage = (usage: number): Der =>
  extension(oids.keyUsage, true, bitString(Uint8Array.of(usage), 31 - Math.clz32(usage & -usage)))

export const basicConstraints = (ca: boolean, pathLen: number | undefined): Der =>
  extension(
    oids.basicConstraints,
    true,
    sequence(...(ca ? [yes()] : []), ...(pathLen === undefined ? [] : [unsigned(Uint8Array.of(pathLen))])),
  )

/** Where nothing is said: from five minutes ago, for an hour. */
export const lifeOf = ({ notBefore, notAfter }: { readonly notBefore?: Date; readonly notAfter?: Date }): Der => {
  const now = Date.now()
  return sequence(time(notBefore ?? new Date(now - 300_000)), time(notAfter ?? new Date(now + 3_600_000)))
}
