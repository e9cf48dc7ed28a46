import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create } from '@bufbuild/protobuf'
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CertifiedKey } from '#gateway/identity/certified-key.ts'
import { type CertificateService, certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import { openIssuingKey, renew } from '#gateway/identity/issuing-key.ts'
import { tokenVerifier } from '#gateway/identity/token.ts'
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
} from '#gen/istio/ca_pb.js'
import { parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { issuingCaNames, relayServingNames } from '#mesh/trust/names.ts'
import { planIssuingCa } from '#mesh/trust/plan-issuing-ca.ts'
import {
  csrOf,
  domain,
  type Holder,
  type KeyInHand,
  keyInHand,
  make,
  makeControlPlaneCa,
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
let server: grpc.Server
let client: grpc.Client
let port: number
let logged: string[]

/** What the centre does with a request, in its plainest form. */
const certify = async (csr: string) => {
  const plan = planIssuingCa({ csr, trustDomain: td, mesh, issuer: root.certificate, now, serial: random(16) })
  const certificate = await issueCertificate(plan, root.key)
  return { chain: Buffer.from(certificate.der).toString('base64'), certificate }
}

async function certifyNow(): Promise<void> {
  await renew({
    key,
    names: issuingCaNames(mesh, td),
    clock,
    certify: async (csr) => {
      const { certificate } = await certify(csr)
      const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(certificate.der).toString('base64')}\n-----END CERTIFICATE-----\n`
      return { chain: pem, roots: [root.pem] }
    },
  })
}

/** One call over real TLS; gives back the elements, or throws grpc's error. */
function ask(
  request: Partial<Pick<IstioCertificateRequest, 'csr' | 'validityDuration' | 'metadata'>>,
  headers: Readonly<Record<string, string | string[]>> = {},
  using = client,
): Promise<readonly string[]> {
  const metadata = new grpc.Metadata()
  for (const [name, values] of Object.entries(headers)) for (const value of [values].flat()) metadata.add(name, value)
  const method = service.definition['createCertificate']
  if (!method) throw new Error('no such method')
  return new Promise((done, fail) => {
    using.makeUnaryRequest<IstioCertificateRequest, IstioCertificateResponse>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      create(IstioCertificateRequestSchema, request),
      metadata,
      { deadline: Date.now() + 5_000 },
      (error, answer) => (error ? fail(error) : done(answer?.certChain ?? [])),
    )
  })
}

const bearer = (token = tokens.token()): Record<string, string> => ({ Authorization: `Bearer ${token}` })

function dial(identity?: { holder: Holder; key: KeyInHand; chain: string }): grpc.Client {
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
  service = certificateService({
    issuer: createIssuer({ key, trustDomain: td, clock, random }),
    verifyToken: tokenVerifier({ issuer: tokenIssuer, jwks, clock }),
    clock,
    cluster: 'cluster-a',
    log: { info: write, warn: write },
  })
  server = new grpc.Server()
  server.addService(service.definition, service.implementation)
  const pair = { private_key: Buffer.from(relay.key.keyPem), cert_chain: Buffer.from(relay.pem) }
  port = await new Promise<number>((done, fail) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createSsl(null, [pair]), (error, bound) =>
      error ? fail(error) : done(bound),
    )
  })
  client = dial()
})

afterEach(() => {
  client.close()
  server.forceShutdown()
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
