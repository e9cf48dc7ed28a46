import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { Problem } from '#mesh/model/problem.ts'
import { parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { assembleCsr, buildCsrTbs, parseCsr } from '#mesh/trust/csr.ts'
import { bitString, decode, encode, oid, sequence, setOf, tagged, unsigned, utf8 } from '#mesh/trust/der.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { parsePem, toPem } from '#mesh/trust/pem.ts'
import { formatSpiffeId, parseSpiffeId, parseTrustDomain, spiffeId } from '#mesh/trust/spiffe-id.ts'
import { csrOf, domain, keyInHand, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'

const names = identityNames(spiffeId(domain('cluster-a'), 'shop', 'reviews'))
const key = keyInHand()
let csr: Uint8Array
let leaf: Uint8Array
beforeAll(async () => {
  csr = parsePem(await csrOf(key), ['CERTIFICATE REQUEST'], 'csr')[0] ?? new Uint8Array()
  leaf = (await make({ profile: 'workload', names, by: await makeIssuing(await makeRoot(), 'cluster-a') })).certificate
    .der
})

/** What `read` gives, or the Problem it throws; anything else it throws is a crash. */
function outcome<T>(read: () => T): T | Problem {
  try {
    return read()
  } catch (fault) {
    if (fault instanceof Problem && fault.kind === 'invalid') return fault
    throw fault
  }
}

/** Bytes with some of them changed, cut out or put in. */
const mutated = (bytes: Uint8Array) =>
  fc
    .array(fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), fc.constantFrom('set', 'cut', 'put')), {
      minLength: 1,
      maxLength: 4,
    })
    .map((changes) => {
      const out = [...bytes]
      for (const [at, byte, how] of changes) out.splice(at, how === 'put' ? 0 : 1, ...(how === 'cut' ? [] : [byte]))
      return Uint8Array.from(out)
    })

describe('parseCsr', () => {
  test('any change of its bytes: refused, or the same key', () => {
    fc.assert(
      fc.property(mutated(csr), (bytes) => {
        const read = outcome(() => parseCsr(bytes))
        return read instanceof Problem || Buffer.from(read.spki).equals(key.spki)
      }),
      { numRuns: 3000 },
    )
  })

  test('any change of its PEM: refused, or the same key', () => {
    fc.assert(
      fc.property(mutated(Buffer.from(toPem(csr, 'CERTIFICATE REQUEST'))), (bytes) => {
        const read = outcome(() => parseCsr(Buffer.from(bytes).toString('latin1')))
        return read instanceof Problem || Buffer.from(read.spki).equals(key.spki)
      }),
      { numRuns: 2000 },
    )
  })

  test('any bytes and any text at all: refused, never a crash', () => {
    const anything = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ maxLength: 300 }))
    fc.assert(fc.property(anything, (input) => outcome(() => parseCsr(input)) instanceof Problem))
  })

  test.each([
    ['P-256', { namedCurve: 'P-256' }, 256],
    ['P-384', { namedCurve: 'P-384' }, 384],
  ] as const)('takes %s', (kind, options, bits) => {
    const made = generateKeyPairSync('ec', options)
    expect(parseCsr(request(made, 'sha256'))).toMatchObject({ kind, bits })
  })

  test('takes RSA 2048 from Istio’s agents, with their subject and names left aside', () => {
    const made = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const subject = sequence(setOf(sequence(oid('2.5.4.3'), utf8('spiffe://cluster-b.mesh1/ns/a/sa/b'))))
    const read = parseCsr(request(made, 'sha256', subject))
    expect(read).toMatchObject({ kind: 'RSA', bits: 2048 })
    expect(Object.keys(read).toSorted()).toEqual(['bits', 'key', 'kind', 'spki'])
  })

  test.each([
    ['RSA 1024', () => generateKeyPairSync('rsa', { modulusLength: 1024 }), /RSA of 1024 bits/],
    ['an RSA exponent of 3', () => generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }), /exponent/],
    ['P-521', () => generateKeyPairSync('ec', { namedCurve: 'P-521' }), /secp521r1/],
    ['secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }), /secp256k1/],
    [
      'explicit parameters',
      () => generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }),
      /refused/,
    ],
  ])('refuses %s', (_, makeKey, reason) => {
    expect(() => parseCsr(request(makeKey(), 'sha256'))).toThrow(reason)
  })

  test('refuses Ed25519, a compressed point, SHA-1, another key’s signature', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))
    const tbs = buildCsrTbs(spki)
    const algorithm = sequence(oid('1.3.101.112'))
    const signed = encode(sequence(decode(tbs, 'x'), algorithm, bitString(sign(null, tbs, privateKey))))
    expect(() => parseCsr(signed)).toThrow(/type ed25519/)

    const point = Buffer.from(key.spki)
    const compressed = Buffer.concat([
      Buffer.from(point.subarray(0, 26)),
      Buffer.from([2 + ((point.at(-1) ?? 0) & 1)]),
      point.subarray(27, 59),
    ])
    compressed[1] = compressed.length - 2
    compressed[24] = 34
    expect(() => parseCsr(wrap(compressed, 'sha256', key.key))).toThrow(/uncompressed/)

    const made = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const sha1 = sequence(oid('1.2.840.10045.4.1'))
    const body = buildCsrTbs(new Uint8Array(made.publicKey.export({ type: 'spki', format: 'der' })))
    expect(() =>
      parseCsr(encode(sequence(decode(body, 'x'), sha1, bitString(sign('sha1', body, made.privateKey))))),
    ).toThrow(/not accepted/)

    expect(() => parseCsr(wrap(key.spki, 'sha256', made.privateKey))).toThrow(/does not prove/)
  })

  test('refuses more than 16 KiB, two requests, another PEM, a cut one, a certificate', () => {
    const pem = toPem(csr, 'CERTIFICATE REQUEST')
    expect(() => parseCsr(`${' '.repeat(16_385)}${pem}`)).toThrow(/at most 16384/)
    expect(() => parseCsr(new Uint8Array(1_000_000))).toThrow(/at most 16384/)
    expect(() => parseCsr(pem + pem)).toThrow(/more than one/)
    expect(() => parseCsr(toPem(csr, 'PUBLIC KEY'))).toThrow(/holds a PUBLIC KEY/)
    expect(() => parseCsr(pem.slice(0, 200))).toThrow(/cut off/)
    expect(() => parseCsr('')).toThrow(/no block/)
    expect(() => parseCsr(leaf)).toThrow(Problem)
  })

  test('deep nesting is refused, not a full stack', () => {
    let bytes = Uint8Array.of(0x30, 0)
    for (let depth = 0; depth < 4000 && bytes.length < 16_000; depth += 1) bytes = encodeAround(bytes)
    expect(() => parseCsr(bytes)).toThrow(/not DER/)
  })
})

describe('parseCertificate', () => {
  test('any change of its bytes: refused, or told by the bytes that are signed', () => {
    const honest = parseCertificate(leaf)
    fc.assert(
      fc.property(mutated(leaf), (bytes) => {
        const read = outcome(() => parseCertificate(bytes))
        if (read instanceof Problem || Buffer.from(bytes).equals(leaf)) return true
        // It read as something: then what differs is in the signed bytes, or is the signature.
        const parts = [read.tbs, read.signature].map((part) => Buffer.from(part).toString('hex'))
        const before = [honest.tbs, honest.signature].map((part) => Buffer.from(part).toString('hex'))
        return parts.join() !== before.join() && Buffer.from(bytes).includes(Buffer.from(read.tbs))
      }),
      { numRuns: 3000 },
    )
  })

  test('any bytes at all: refused, never a crash', () => {
    const anything = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ maxLength: 300 }))
    fc.assert(fc.property(anything, (input) => outcome(() => parseCertificate(input)) instanceof Problem))
  })

  test('a newline lost before a block: refused, rather than that block passed over', () => {
    const pem = toPem(leaf)
    expect(() => parseCertificates(pem.trimEnd() + pem)).toThrow(/edge of a block/)
    expect(() => parseCertificates(`words ${pem}${pem}`)).toThrow(/edge of a block/)
    expect(parseCertificates(`words\n${pem}words\n${pem}`)).toHaveLength(2)
  })

  test('a private key beside it, two of them, nine in a chain: refused', () => {
    const pem = toPem(leaf)
    expect(() => parseCertificate(pem + key.keyPem)).toThrow(/holds a PRIVATE KEY/)
    expect(() => parseCertificate(pem + pem)).toThrow(/more than one/)
    expect(() => parseCertificates(pem.repeat(9))).toThrow(/at most 8/)
    expect(parseCertificates(pem.repeat(2))).toHaveLength(2)
  })
})

describe('SPIFFE ids', () => {
  const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$/)
  test('what is formatted is parsed back', () => {
    fc.assert(
      fc.property(label, label, label, label, (a, b, namespace, account) => {
        const id = spiffeId(`${a}.${b}`, namespace, account)
        expect(parseSpiffeId(formatSpiffeId(id))).toEqual(id)
      }),
    )
  })

  test('what is parsed is formatted back to the same bytes, whatever the text', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^spiffe:\/\/[a-zA-Z0-9._:@%/-]*$/), fc.webUrl())
    fc.assert(
      fc.property(text, (input) => {
        const read = outcome(() => parseSpiffeId(input))
        return read instanceof Problem || formatSpiffeId(read) === input
      }),
      { numRuns: 2000 },
    )
  })

  test.each([
    'spiffe://A.mesh1/ns/x/sa/y',
    'SPIFFE://a.mesh1/ns/x/sa/y',
    'https://a.mesh1/ns/x/sa/y',
    'spiffe://a.mesh1/ns/x/sa/y/',
    'spiffe://a.mesh1//ns/x/sa/y',
    'spiffe://a.mesh1/ns/x/sa/y?z',
    'spiffe://a.mesh1/ns/x/sa/y#z',
    'spiffe://u@a.mesh1/ns/x/sa/y',
    'spiffe://a.mesh1:80/ns/x/sa/y',
    'spiffe://a.mesh1/ns/x/sa/..',
    'spiffe://a.mesh1/ns/x/sa/%79',
    'spiffe://a.mesh1/ns/x/sa/y\n',
    'spiffe://a.mesh1/ns/X/sa/y',
    'spiffe://a.mesh1/sa/y/ns/x',
    'spiffe://a.mesh1',
    '',
  ])('"%s" is refused', (text) => expect(() => parseSpiffeId(text)).toThrow(Problem))

  test.each([
    'a_b.mesh1',
    '-a.mesh1',
    'a-.mesh1',
    'a..mesh1',
    'a.mesh1.',
    'a.123',
    '10.1.2.3',
    `${'a'.repeat(64)}.mesh1`,
    `${'a.'.repeat(128)}b`,
    'ä.mesh1',
    'a.mesh1:1',
    '',
  ])('the trust domain "%s", which Envoy or Go would refuse, is refused', (text) => {
    expect(() => parseTrustDomain(text)).toThrow(Problem)
  })

  test.each([
    'cluster-a.mesh1',
    'a.b',
    'mesh1',
    '1a.mesh1',
    'a--b.mesh1',
    'xn--bcher-kva.mesh1',
    `${'a'.repeat(63)}.mesh1`,
  ])('the trust domain "%s" is taken', (text) => expect(parseTrustDomain(text)).toBe(text))
})

function encodeAround(inner: Uint8Array): Uint8Array<ArrayBuffer> {
  const n = inner.length
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255]
  return Uint8Array.from([0x30, ...length, ...inner])
}

/** A request for `made`, signed by it. */
function request(
  made: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
  digest: string,
  subject = sequence(),
): Uint8Array {
  return wrap(new Uint8Array(made.publicKey.export({ type: 'spki', format: 'der' })), digest, made.privateKey, subject)
}

function wrap(spki: Uint8Array, digest: string, privateKey: KeyObject, subject = sequence()): Uint8Array {
  const tbs = encode(sequence(unsigned(Uint8Array.of(0)), subject, decode(spki, 'key'), tagged(0, [])))
  const signature = new Uint8Array(sign(digest, tbs, privateKey))
  if (privateKey.asymmetricKeyType !== 'rsa')
    return parsePem(assembleCsr(tbs, 'ecdsa-sha256', signature), ['CERTIFICATE REQUEST'], 'x')[0] ?? tbs
  const nothing = decode(Uint8Array.of(5, 0), 'null')
  return encode(sequence(decode(tbs, 'x'), sequence(oid('1.2.840.113549.1.1.11'), nothing), bitString(signature)))
}
