import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { grpcServer } from '#gateway/grpc/server.ts'
import type { CertifiedKey } from '#gateway/identity/certified-key.ts'
import { type CertificateService, certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import { openIssuingKey, renew } from '#gateway/identity/issuing-key.ts'
import { tokenVerifier } from '#gateway/identity/token.ts'
import { usedKeys } from '#gateway/identity/used-keys.ts'
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
  IstioCertificateResponseSchema,
} from '#gen/istio/ca_pb.js'
import { certificatePem, parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { parseCsr } from '#mesh/trust/csr.ts'
import {
  bitString,
  decode,
  encode,
  octets,
  oid,
  sequence,
  setOf,
  tagged,
  unsigned,
  utf8,
  yes,
} from '#mesh/trust/der.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { issuingCaNames, relayServingNames } from '#mesh/trust/names.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { planIssuingCa } from '#mesh/trust/plan-issuing-ca.ts'
import {
  csrOf,
  domain,
  type Holder,
  type KeyInHand,
  keyInHand,
  make,
  makeControlPlaneCa,
  makeIssuing,
  makeRoot,
  mesh,
} from '#tests/support/authorities.ts'
import {
  type JwksInHand,
  jwksInHand,
  makeTokenIssuer,
  type TokenIssuer,
  tokenIssuer,
} from '#tests/support/workload-tokens.ts'

const td = domain('cluster-a')
const random = (n: number): Uint8Array => new Uint8Array(randomBytes(n))
let now: Date
const clock = (): Date => now
let directory: string
let root: Holder
let controlPlane: Holder
let relay: Holder
let key: CertifiedKey
let tokens: TokenIssuer
let jwks: JwksInHand
let service: CertificateService
let listener: Server
let close: () => void
let client: grpc.Client
let port: number
let logged: string[]

/** What the centre does with a request, in its plainest form. */
const certify = async (csr: string) => {
  const plan = planIssuingCa({ csr, trustDomain: td, mesh, issuer: root.certificate, now, serial: random(16) })
  const certificate = await issueCertificate(plan, root.key)
  return { chain: certificatePem(certificate), roots: [root.pem] }
}

const certifyNow = () => renew({ key, names: issuingCaNames(mesh, td), clock, certify })

/** One call over real TLS; gives back the elements, or throws grpc's error. */
function ask(
  request: Partial<Pick<IstioCertificateRequest, 'csr' | 'validityDuration' | 'metadata'>>,
  headers: Readonly<Record<string, string | string[]>> = {},
  using = client,
): Promise<readonly string[]> {
  const metadata = new grpc.Metadata()
  for (const [name, values] of Object.entries(headers)) for (const value of [values].flat()) metadata.add(name, value)
  return new Promise((done, fail) => {
    using.makeUnaryRequest<IstioCertificateRequest, IstioCertificateResponse>(
      '/istio.v1.auth.IstioCertificateService/CreateCertificate',
      (value) => Buffer.from(toBinary(IstioCertificateRequestSchema, value)),
      (bytes) => fromBinary(IstioCertificateResponseSchema, bytes),
      create(IstioCertificateRequestSchema, request),
      metadata,
      { deadline: Date.now() + 5_000 },
      (error, answer) => (error ? fail(error) : done(answer?.certChain ?? [])),
    )
  })
}

const bearer = (token = tokens.token()): Record<string, string> => ({ Authorization: `Bearer ${token}` })

function dial(identity?: { key: KeyInHand; chain: string }): grpc.Client {
  const own = identity ? [Buffer.from(identity.key.keyPem), Buffer.from(identity.chain)] : []
  const trust = grpc.credentials.createSsl(Buffer.from(controlPlane.pem), own[0] ?? null, own[1] ?? null)
  return new grpc.Client(`127.0.0.1:${port}`, trust, { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' })
}

beforeEach(async () => {
  now = new Date()
  logged = []
  directory = mkdtempSync(join(tmpdir(), 'identity-'))
  root = await makeRoot()
  controlPlane = await makeControlPlaneCa()
  const names = relayServingNames(td, { asIstiod: true, ips: ['127.0.0.1'] })
  relay = await make({ profile: 'relay-serving', names, by: controlPlane })
  key = await openIssuingKey(directory)
  await certifyNow()
  tokens = makeTokenIssuer('k1', { now: clock })
  jwks = jwksInHand(tokens)
  const write = (facts: object, message: string): void => void logged.push(JSON.stringify({ ...facts, message }))
  const keys = usedKeys(clock)
  service = certificateService({
    issuer: createIssuer({ key, trustDomain: td, clock, random }),
    verifyToken: tokenVerifier({ issuer: tokenIssuer, jwks, clock }),
    clock,
    cluster: 'cluster-a',
    log: { info: write, warn: write },
    checkKey: keys.check,
    onIssued: ({ keySha256, asker }) => keys.add(keySha256, asker, now.getTime()),
  })
  const server = grpcServer({
    serving: { cert: relay.pem, key: relay.key.keyPem, clientCas: root.pem },
    methods: service.methods,
    messageBytes: 1 << 20,
    onCall: () => undefined,
  })
  listener = createServer(server.accept)
  close = server.close
  port = await new Promise<number>((done) => {
    listener.listen(0, '127.0.0.1', () => done((listener.address() as AddressInfo).port))
  })
  client = dial()
})

afterEach(() => {
  client.close()
  close()
  listener.close()
  rmSync(directory, { recursive: true, force: true })
})

describe('an honest request', () => {
  test('answers leaf, issuing CA and roots, and the leaf is the token’s', async () => {
    const asker = keyInHand()
    const chain = await ask(
      { csr: await csrOf(asker), validityDuration: 86_400n },
      { ...bearer(), clusterid: 'cluster-a' },
    )
    expect(chain).toHaveLength(3)
    expect(chain.every((pem) => pem.endsWith('\n'))).toBe(true)
    const [leaf, issuing] = [parseCertificate(chain[0] ?? ''), parseCertificate(chain[1] ?? '')]
    expect(leaf.names).toEqual([{ kind: 'uri', text: 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' }])
    expect(Buffer.from(leaf.publicKey.spki).equals(asker.spki)).toBe(true)
    expect(chain[2]).toBe(root.pem)
    const roots = parseCertificates(chain[2] ?? '')
    expect(checkChain([leaf, issuing], { roots, now, usage: 'clientAuth' })).toEqual([])
    expect(service.counters()).toMatchObject({ issued: 1, lastNotAfter: leaf.notAfter })
  })
})

describe('what the request may decide', () => {
  test.each([
    ['nothing asked', 0n, 86_400],
    ['an hour', 3_600n, 3_600],
    ['a second', 1n, 1],
    ['ten years', 315_360_000n, 86_400],
    ['the largest number', 2n ** 63n - 1n, 86_400],
  ])('life: %s', async (_, validityDuration, seconds) => {
    const [pem = ''] = await ask({ csr: await csrOf(keyInHand()), validityDuration }, bearer())
    const { notAfter } = parseCertificate(pem)
    expect(notAfter.getTime()).toBe((Math.floor(now.getTime() / 1000) + seconds) * 1000)
  })

  test('near the issuing CA’s end, leaves end with it; after it, code 13 until it is renewed', async () => {
    const end = key.current()?.chain[0].notAfter ?? now
    now = new Date(end.getTime() - 3_600_000)
    const [pem = ''] = await ask({ csr: await csrOf(keyInHand()) }, bearer())
    expect(parseCertificate(pem).notAfter).toEqual(end)
    now = end
    await expect(ask({ csr: await csrOf(keyInHand()) }, bearer())).rejects.toMatchObject({
      code: grpc.status.INTERNAL,
      details: expect.stringContaining('ended at'),
    })
    await certifyNow()
    expect(await ask({ csr: await csrOf(keyInHand()) }, bearer())).toHaveLength(3)
  })

  test('names in the request change nothing: RSA 2048 with a foreign id, as Istio’s agents send', async () => {
    const csr = istioCsr('spiffe://cluster-b.mesh1/ns/kube-system/sa/admin')
    const [pem = ''] = await ask({ csr, validityDuration: 86_400n, metadata: { CertSigner: '' } }, bearer())
    const leaf = parseCertificate(pem)
    expect(leaf.publicKey.kind).toBe('RSA')
    expect(leaf.names).toEqual([{ kind: 'uri', text: 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' }])
  })

  test('two roots in the bundle are one last element, the same bytes for everybody', async () => {
    const second = await makeRoot()
    const roots = (): string[] => [root.pem, second.pem]
    const issuer = createIssuer({ key, trustDomain: td, clock, random, roots })
    const holder = { namespace: 'shop', serviceAccount: 'reviews' }
    const issued = await Promise.all(
      [1, 2].map(async () => issuer.issue(parseCsr(await csrOf(keyInHand())), holder, 60)),
    )
    expect(issued.map(({ chain }) => chain.at(-1))).toEqual([root.pem + second.pem, root.pem + second.pem])
  })
})

describe('what is refused, by code', () => {
  const refusal = (code: grpc.status, details: string | RegExp) => ({
    code,
    details: typeof details === 'string' ? details : expect.stringMatching(details),
  })
  const unauthenticated = refusal(grpc.status.UNAUTHENTICATED, 'request authenticate failure')

  test.each([
    ['no token', () => ({})],
    ['an empty one', () => ({ authorization: 'Bearer ' })],
    ['another scheme', () => ({ authorization: `Basic ${tokens.token()}` })],
    ['two cluster ids', () => ({ ...bearer(), clusterid: ['cluster-a', 'cluster-b'] })],
    ['another audience', () => bearer(tokens.token({ aud: ['other'] }))],
    ['another cluster', () => ({ ...bearer(), clusterid: 'cluster-b' })],
  ])('%s: 16, in one bland sentence', async (_, headers) => {
    await expect(ask({ csr: await csrOf(keyInHand()) }, headers())).rejects.toMatchObject(unauthenticated)
    expect(service.counters().refused).toEqual({ unauthenticated: 1 })
  })

  test('in the name of somebody else: 16', async () => {
    const csr = await csrOf(keyInHand())
    const metadata = { ImpersonatedIdentity: 'spiffe://cluster-a.mesh1/ns/a/sa/b' }
    await expect(ask({ csr, metadata }, bearer())).rejects.toMatchObject(unauthenticated)
  })

  test.each([
    ['no CSR', () => ''],
    ['no PEM', () => 'hello'],
    ['a certificate', () => root.pem],
    ['1 MB', () => 'A'.repeat(1_000_000)],
    ['a changed one', () => istioCsr('x').replace(/[A-Za-z](?=[A-Za-z0-9+/]{20}\n)/, (c) => (c === 'A' ? 'B' : 'A'))],
  ])('%s: 3, with the reason', async (_, csr) => {
    await expect(ask({ csr: csr() }, bearer())).rejects.toMatchObject(
      refusal(grpc.status.INVALID_ARGUMENT, /certificate request|public key|bytes: compressed, or of more than/),
    )
  })

  test('a negative life: 3', async () => {
    const request = { csr: await csrOf(keyInHand()), validityDuration: -1n }
    await expect(ask(request, bearer())).rejects.toMatchObject(refusal(grpc.status.INVALID_ARGUMENT, /negative/))
  })

  test('a pod that asks without end: 8 after ten, while another pod is served; and again after a rest', async () => {
    const csr = await csrOf(keyInHand())
    for (let i = 0; i < 10; i += 1) await ask({ csr }, bearer())
    await expect(ask({ csr }, bearer())).rejects.toMatchObject(refusal(grpc.status.RESOURCE_EXHAUSTED, /in 5 s/))
    const other = { namespace: 'shop', serviceaccount: { name: 'reviews' }, pod: { name: 'reviews-2', uid: 'pod-2' } }
    const otherCsr = await csrOf(keyInHand())
    expect(await ask({ csr: otherCsr }, bearer(tokens.token({ 'kubernetes.io': other })))).toHaveLength(3)
    now = new Date(now.getTime() + 5_000)
    expect(await ask({ csr }, bearer())).toHaveLength(3)
  })

  test('a request that is replayed: 3 for another pod at once, for its own after five minutes', async () => {
    const csr = await csrOf(keyInHand())
    const again = refusal(grpc.status.INVALID_ARGUMENT, /certified before: make a new one/)
    const other = { namespace: 'shop', serviceaccount: { name: 'reviews' }, pod: { name: 'reviews-2', uid: 'pod-2' } }
    await ask({ csr }, bearer())
    await expect(ask({ csr }, bearer(tokens.token({ 'kubernetes.io': other })))).rejects.toMatchObject(again)
    expect(await ask({ csr }, bearer())).toHaveLength(3)
    now = new Date(now.getTime() + 5 * 60_000 + 1)
    await expect(ask({ csr }, bearer())).rejects.toMatchObject(again)
  })

  test('the key set gone before it was ever read: 13, so that agents try again', async () => {
    jwks.answer = new Error('ENOENT')
    await expect(ask({ csr: await csrOf(keyInHand()) }, bearer())).rejects.toMatchObject(
      refusal(grpc.status.INTERNAL, /not known/),
    )
  })

  test('neither token nor request is ever logged', async () => {
    const token = tokens.token({ aud: ['other'] })
    const csr = await csrOf(keyInHand())
    await ask({ csr }, bearer()).catch(() => undefined)
    await ask({ csr }, bearer(token)).catch(() => undefined)
    await ask({ csr: `${csr}x` }, { authorization: `Basic ${token}` }).catch(() => undefined)
    const text = logged.join('\n')
    expect(logged).toHaveLength(3)
    for (const secret of [...token.split('.'), csr.slice(60, 90), 'PRIVATE']) expect(text).not.toContain(secret)
  })
})

describe('renewal by the certificate in hand', () => {
  const leafOf = async (csrKey: KeyInHand) => {
    const [leaf = '', issuing = ''] = await ask({ csr: await csrOf(csrKey) }, bearer())
    return { leaf, chain: leaf + issuing, der: parseCertificate(leaf).der }
  }

  test('over mutual TLS, without a token, for the certificate’s own identity', async () => {
    const own = keyInHand()
    const { chain } = await leafOf(own)
    const secure = dial({ key: own, chain })
    try {
      const [renewed = ''] = await ask({ csr: await csrOf(keyInHand()) }, {}, secure)
      expect(parseCertificate(renewed).names).toEqual([
        { kind: 'uri', text: 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' },
      ])
      const bad = ask({ csr: await csrOf(keyInHand()) }, bearer(tokens.token({ exp: 1 })), secure)
      await expect(bad).rejects.toMatchObject({ code: grpc.status.UNAUTHENTICATED })
    } finally {
      secure.close()
    }
  })

  test('the certificate of a revoked workload does not renew itself for ever', async () => {
    const { der } = await leafOf(keyInHand())
    const denied = (id: string) => createIssuer({ key, trustDomain: td, clock, random, denied: () => [id] })
    expect(denied('spiffe://cluster-a.mesh1/ns/shop/sa/other').peerOf(der)).toMatchObject({ serviceAccount: 'reviews' })
    expect(() => denied('spiffe://cluster-a.mesh1/ns/shop/sa/reviews').peerOf(der)).toThrow('authenticate failure')
  })

  test('a leaf of the CA before this one still renews; one that ended, or of another cluster, does not', async () => {
    const { der } = await leafOf(keyInHand())
    const issuer = createIssuer({ key, trustDomain: td, clock, random })
    await certifyNow()
    expect(key.earlier()).toHaveLength(1)
    expect(issuer.peerOf(der)).toEqual({ trustDomain: td, namespace: 'shop', serviceAccount: 'reviews' })

    const foreign = await make({
      profile: 'workload',
      names: { uri: 'spiffe://cluster-b.mesh1/ns/shop/sa/reviews' },
      by: await makeIssuing(root, 'cluster-b'),
    })
    expect(() => issuer.peerOf(foreign.certificate.der)).toThrow('request authenticate failure')
    expect(() => issuer.peerOf(relay.certificate.der)).toThrow('request authenticate failure')
    expect(() => issuer.peerOf(key.current()?.chain[0].der ?? der)).toThrow('request authenticate failure')
    expect(() => issuer.peerOf(der.subarray(1))).toThrow('request authenticate failure')
    now = new Date(now.getTime() + 86_400_000)
    expect(() => issuer.peerOf(der)).toThrow('request authenticate failure')
  })
})

/** A request as pilot-agent makes it: RSA 2048, one critical URI, an organization. */
function istioCsr(uri: string): string {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const names = encode(sequence(tagged(6, Buffer.from(uri))))
  const wanted = sequence(sequence(oid('2.5.29.17'), yes(), octets(names)))
  const attribute = sequence(oid('1.2.840.113549.1.9.14'), setOf(wanted))
  const spki = decode(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })), 'key')
  const subject = sequence(setOf(sequence(oid('2.5.4.10'), utf8(''))))
  const tbs = encode(sequence(unsigned(Uint8Array.of(0)), subject, spki, tagged(0, [attribute])))
  const algorithm = sequence(oid('1.2.840.113549.1.1.11'), decode(Uint8Array.of(5, 0), 'null'))
  return toPem(
    encode(sequence(decode(tbs, 'x'), algorithm, bitString(sign('sha256', tbs, privateKey)))),
    'CERTIFICATE REQUEST',
  )
}
