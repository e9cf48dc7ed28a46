import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { bitString, decode, encode, sequence } from '#mesh/trust/der.ts'
import { identityNames } from '#mesh/trust/names.ts'
import type { extendedUsages } from '#mesh/trust/oid.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { changedTree, type TreeChange, treeChanges } from '#tests/fuzz/der-tree.ts'
import { type Change, changed, changes, each, fuzz, outcome, timeout } from '#tests/fuzz/fuzz.ts'
import { domain, type Holder, type KeyInHand, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { type AnyName, type Crooked, crooked } from '#tests/support/crooked.ts'
import { goForTests, goSays, hasOpenssl, opensslSays, type Question } from '#tests/support/second-opinion.ts'

/** All is made for this moment and judged at it, so that what is kept stays what it was. */
const now = new Date('2026-06-01T00:00:00Z')
const at = now.getTime() / 1000
const names = identityNames(spiffeId(domain('cluster-a'), 'shop', 'reviews'))
let root: Holder
let issuing: Holder
let leaf: Holder
beforeAll(async () => {
  root = await makeRoot({ now })
  issuing = await makeIssuing(root, 'cluster-a', { now })
  leaf = await make({ profile: 'workload', names, by: issuing, now })
})

const aName: fc.Arbitrary<AnyName> = fc.oneof(
  fc
    .tuple(
      fc.constantFrom('spiffe', 'SPIFFE', 'https', 'urn'),
      fc.constantFrom(
        'cluster-a.mesh1',
        'cluster-b.mesh1',
        'x.cluster-a.mesh1',
        'CLUSTER-A.mesh1',
        'cluster-a.mesh1.',
        '',
      ),
      fc.constantFrom('', ':1', ':x@cluster-b.mesh1', '@cluster-a.mesh1', '%2ecluster-b', '\\@x', '[::1]'),
      fc.constantFrom('/ns/shop/sa/reviews', '', '/', '?x', '#y', '/ns/a b/sa/%zz', '//cluster-b.mesh1/ns/a/sa/b'),
    )
    .map(([scheme, host, odd, path]) => ({ uri: `${scheme}://${host}${odd}${path}` })),
  fc.constantFrom<AnyName>(
    ...[{ uri: 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' }, { uri: 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' }],
    ...[{ dns: 'istiod.istio-system.svc' }, { dns: '' }, { dns: 'spiffe://cluster-b.mesh1/ns/a/sa/b' }],
    ...[{ email: 'a@b.test' }, { email: 'a@none.invalid' }, { ip: '10.0.0.1' }, { ip: '::1' }],
    ...[{ other: 'x' }, { directory: 'x' }],
  ),
)

const day = 86_400_000
const aDate = (base: number): fc.Arbitrary<Date> =>
  fc.oneof(
    fc.constant(new Date(now.getTime() + base)),
    fc.integer({ min: -40 * day, max: 40 * day }).map((ms) => new Date(now.getTime() + ms)),
  )

const aLeaf: fc.Arbitrary<Crooked> = fc.record(
  {
    names: fc.array(aName, { maxLength: 3 }),
    namesCritical: fc.boolean(),
    subject: fc.constantFrom('x', 'cluster-b.mesh1', 'spiffe://cluster-b.mesh1/ns/a/sa/b', ''),
    ca: fc.record({ pathLen: fc.nat({ max: 2 }) }, { requiredKeys: [] }),
    usage: fc.constantFrom(0x80, 0x80, 0x84, 0x04, 0x06, 0xfe),
    extendedUsage: fc.subarray<keyof typeof extendedUsages>(['serverAuth', 'clientAuth']),
    notBefore: aDate(-300_000),
    notAfter: aDate(3_600_000),
    serial: fc.uint8Array({ minLength: 1, maxLength: 24 }),
    more: fc.array(fc.record({ id: fc.constantFrom('1.2.3.4', '2.5.29.32', '2.5.29.54'), critical: fc.boolean() }), {
      maxLength: 1,
    }),
  },
  { requiredKeys: ['names', 'notBefore', 'notAfter'] },
)

/** What is signed, changed as a forger may who has the key, and signed again. */
async function signedAnew(der: Uint8Array, by: KeyInHand, list: readonly TreeChange[]): Promise<Uint8Array> {
  const { tbs } = parseCertificate(der)
  const next = changedTree(tbs, list)
  const algorithm = sequence(decode(Buffer.from('06082a8648ce3d040302', 'hex'), 'algorithm'))
  const parts = [next, encode(algorithm), encode(bitString(await by.sign(next)))]
  const body = Buffer.concat(parts)
  return Buffer.concat([Uint8Array.of(0x30, 0x82, body.length >> 8, body.length & 0xff), body])
}

const go = goForTests()

/** Chains that we take must be taken by OpenSSL and Go as well. */
async function judgeChains(inputs: readonly string[]): Promise<readonly (string | undefined)[]> {
  const read = inputs.map((pem) =>
    outcome(() => {
      const [first, ...rest] = parseCertificates(pem)
      const anchor = rest.at(-1)
      if (!first || !anchor) return undefined
      const chain = [first, ...rest.slice(0, -1)]
      const violations = checkChain(chain, { roots: [anchor], now, usage: 'clientAuth' })
      return violations.length === 0 ? { chain, anchor } : undefined
    }),
  )
  const taken = read.flatMap((one, i) =>
    typeof one === 'object' && 'value' in one && one.value ? [{ i, ...one.value }] : [],
  )
  const asked = taken.map(
    ({ chain: [first, ...between], anchor }): Question => ({
      leaf: toPem(first?.der ?? new Uint8Array()),
      between: between.map(({ der }) => toPem(der)).join(''),
      root: toPem(anchor.der),
      purpose: 'sslclient',
      at,
    }),
  )
  const openssl = hasOpenssl() ? await opensslSays(asked, { strict: false }) : []
  const theirs = go
    ? await goSays(
        go,
        asked.map((one) => ({ kind: 'chain', ...one })),
      )
    : []
  const faults = read.map((one) => (typeof one === 'object' && 'crash' in one ? one.crash : undefined))
  for (const [k, { i }] of taken.entries()) {
    if (openssl[k] !== undefined && openssl[k] !== 'OK') faults[i] = `taken, and OpenSSL refuses it: ${openssl[k]}`
    else if (theirs[k] !== undefined && theirs[k] !== 'OK') faults[i] = `taken, and Go refuses it: ${theirs[k]}`
  }
  taken_ += taken.length
  return faults
}
let taken_ = 0

describe('certificates', { timeout }, () => {
  test('any bytes: refused, or OpenSSL reads the same in them', async () => {
    await fuzz<readonly Change[]>({
      kind: 'certificate',
      specs: changes(),
      build: (list) => Buffer.from(changed(leaf.certificate.der, list)).toString('base64'),
      judge: each((input) => {
        const der = new Uint8Array(Buffer.from(input, 'base64'))
        const ours = outcome(() => parseCertificate(der))
        if (ours === 'refused') return undefined
        if ('crash' in ours) return ours.crash
        const theirs = readByOpenssl(der)
        if (typeof theirs === 'string') return `read, and OpenSSL does not: ${theirs}`
        const [serial, from, to] = [theirs.serialNumber, theirs.validFromDate, theirs.validToDate]
        const same =
          BigInt(`0x${serial}`) === BigInt(`0x${Buffer.from(ours.value.serial).toString('hex')}`) &&
          from.getTime() === ours.value.notBefore.getTime() &&
          to.getTime() === ours.value.notAfter.getTime() &&
          theirs.ca === ours.value.ca
        return same ? undefined : 'OpenSSL reads something else in it'
      }),
    })
  })

  test('a tree changed and signed anew: a chain that is taken, OpenSSL and Go take', async () => {
    await fuzz<readonly TreeChange[]>({
      kind: 'chain',
      specs: treeChanges(),
      build: async (list) => toPem(await signedAnew(leaf.certificate.der, issuing.key, list)) + issuing.pem + root.pem,
      judge: judgeChains,
    })
    expect(taken_).toBeGreaterThan(0)
  })

  test('what the holder of an issuing CA may sign: a chain that is taken, OpenSSL and Go take', async () => {
    await fuzz<readonly [Crooked, readonly TreeChange[]]>({
      kind: 'chain',
      specs: fc.tuple(aLeaf, fc.oneof(fc.constant([]), treeChanges())),
      build: async ([spec, list]) => {
        const { der } = await crooked(spec, issuing)
        const made = list.length === 0 ? der : await signedAnew(der, issuing.key, list).catch(() => der)
        return toPem(made) + issuing.pem + root.pem
      },
      judge: judgeChains,
      size: 100,
    })
  })

  test('an issuing CA that is not as it should be: a chain that is taken, OpenSSL and Go take', async () => {
    await fuzz<readonly TreeChange[]>({
      kind: 'chain',
      specs: treeChanges(),
      build: async (list) => {
        const der = await signedAnew(issuing.certificate.der, root.key, list)
        return leaf.pem + toPem(der) + root.pem
      },
      judge: judgeChains,
      size: 60,
    })
  })
})

function readByOpenssl(der: Uint8Array): X509Certificate | string {
  try {
    return new X509Certificate(der)
  } catch (fault) {
    return String(fault)
  }
}
