import { sign } from 'node:crypto'
import { describe, test } from 'vitest'
import { assembleCsr, buildCsrTbs, parseCsr } from '#mesh/trust/csr.ts'
import { decode, encode, octets, oid, sequence, setOf, tagged, unsigned, utf8 } from '#mesh/trust/der.ts'
import { buildGeneralName } from '#mesh/trust/general-name.ts'
import { oids } from '#mesh/trust/oid.ts'
import { parsePem } from '#mesh/trust/pem.ts'
import { changedTree, type TreeChange, treeChanges } from '#tests/fuzz/der-tree.ts'
import { type Change, changed, changes, type Fuzz, fuzz, outcome, timeout } from '#tests/fuzz/fuzz.ts'
import { keyInHand } from '#tests/support/authorities.ts'
import { goForTests, goSays, hasOpenssl, opensslSaysOfRequest } from '#tests/support/second-opinion.ts'

const key = keyInHand()
const derOf = (pem: string): Uint8Array => parsePem(pem, ['CERTIFICATE REQUEST'], 'x')[0] ?? new Uint8Array()
const requestOf = (tbs: Uint8Array): Uint8Array =>
  derOf(assembleCsr(tbs, 'ecdsa-sha256', new Uint8Array(sign('sha256', tbs, key.key))))
const honest = requestOf(buildCsrTbs(key.spki))

/** As Istio's agents send it: a subject, and an extension request with a name. */
const rich = encode(
  sequence(
    unsigned(Uint8Array.of(0)),
    sequence(setOf(sequence(oid(oids.organization), utf8('istio')))),
    decode(key.spki, 'key'),
    tagged(0, [
      sequence(
        oid('1.2.840.113549.1.9.14'),
        setOf(
          sequence(
            sequence(
              oid(oids.subjectAltName),
              octets(encode(sequence(buildGeneralName({ kind: 'uri', text: 'spiffe://a.mesh1/ns/x/sa/y' })))),
            ),
          ),
        ),
      ),
    ]),
  ),
)
const algorithm = encode(sequence(oid('1.2.840.10045.4.3.2')))

const go = goForTests()

/** A request that we take, OpenSSL and Go take too: neither proves possession where they see none. */
const judge: Fuzz<unknown>['judge'] = async (inputs) => {
  const faults: (string | undefined)[] = inputs.map(() => undefined)
  const taken: number[] = []
  for (const [i, input] of inputs.entries()) {
    const ours = outcome(() => parseCsr(new Uint8Array(Buffer.from(input, 'base64'))))
    if (ours === 'refused') continue
    if ('crash' in ours) faults[i] = ours.crash
    else taken.push(i)
  }
  const theirs = go
    ? await goSays(
        go,
        taken.map((i) => ({ kind: 'csr', der: inputs[i] })),
      )
    : []
  for (const [k, i] of taken.entries()) {
    if (theirs[k] !== undefined && theirs[k] !== 'OK') faults[i] = `taken, and Go refuses it: ${theirs[k]}`
    // One program start each: the first of every round.
    if (k < 5 && hasOpenssl()) {
      const said = await opensslSaysOfRequest(Buffer.from(inputs[i] ?? '', 'base64'))
      if (said !== 'OK') faults[i] = `taken, and OpenSSL refuses it: ${said}`
    }
  }
  return faults
}

describe('certificate requests', { timeout }, () => {
  test('any bytes: refused, or taken by OpenSSL and Go as well', async () => {
    await fuzz<readonly Change[]>({
      kind: 'csr',
      specs: changes(),
      build: (list) => Buffer.from(changed(honest, list)).toString('base64'),
      judge,
    })
  })

  test('a tree changed and signed anew: refused, or taken by OpenSSL and Go as well', async () => {
    await fuzz<readonly TreeChange[]>({
      kind: 'csr',
      specs: treeChanges(),
      build: (list) => Buffer.from(resigned(list)).toString('base64'),
      judge,
    })
  })
})

function resigned(list: readonly TreeChange[]): Uint8Array {
  const tbs = changedTree(rich, list)
  const signature = sign('sha256', tbs, key.key)
  const parts = [tbs, algorithm, Uint8Array.of(3, signature.length + 1, 0), signature]
  const body = Buffer.concat(parts)
  return Buffer.concat([Uint8Array.of(0x30, 0x82, body.length >> 8, body.length & 0xff), body])
}
