import { randomBytes } from 'node:crypto'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { Client, credentials } from '@grpc/grpc-js'
import { authenticator } from '#gateway/authenticate.ts'
import type { CertifiedKey } from '#gateway/identity/certified-key.ts'
import { certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import { serveAds } from '#gateway/relay/server.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '#gen/istio/ca_pb.js'
import { Problem } from '#mesh/model/problem.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { relayServingNames } from '#mesh/trust/names.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { openRaw } from '#tests/support/ads-client.ts'
import { csrOf, domain, type Holder, keyInHand, make } from '#tests/support/authorities.ts'
import type { Pair } from '#tests/support/impostors.ts'

/** What somebody is taken for: the URI, or `refused`. */
export type Verdict = string

/** The relay's port for proxies, as a relay of `cluster` opens it, and two calls on it with nothing but a certificate. */
export type RelayDoor = {
  readonly look: (pair: Pair | undefined) => Promise<Verdict>
  readonly renew: (pair: Pair | undefined) => Promise<Verdict>
  readonly close: () => Promise<void>
}

export async function openRelayDoor(
  cluster: string,
  { root, issuing, controlPlane }: { readonly root: Holder; readonly issuing: Holder; readonly controlPlane: Holder },
): Promise<RelayDoor> {
  const trustDomain = parseTrustDomain(domain(cluster))
  const serving = await make({
    profile: 'relay-serving',
    names: relayServingNames(trustDomain, { asIstiod: false, ips: ['127.0.0.1'] }),
    by: controlPlane,
  })
  const noTokens = async (): Promise<never> => {
    throw new Problem('unauthenticated', 'authentication failure')
  }
  const log = { info: () => undefined, warn: () => undefined }
  const clock = () => new Date()
  const held = { chain: [issuing.certificate], roots: [root.certificate], signer: issuing.key, keyPem: '' }
  const key = { current: () => held, earlier: () => [] } as never as CertifiedKey
  const certificates = certificateService({
    issuer: createIssuer({ key, trustDomain, clock, random: (n) => new Uint8Array(randomBytes(n)) }),
    verifyToken: noTokens,
    cluster,
    clock,
    log,
    limits: { burst: 1000, perSecond: 1000 },
  })
  const seen: string[] = []
  const server = await serveAds({
    listen: [{ host: '127.0.0.1', port: 0 }],
    serving: { cert: serving.pem, key: serving.key.keyPem, clientCas: root.pem },
    methods: certificates.methods,
    authenticate: async (peer) => {
      const id = await authenticator(trustDomain, noTokens)(peer)
      seen.push(`spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`)
      return id
    },
    resourcesFor: () => () =>
      ({
        ...{ [typeUrls.cluster]: new Map(), [typeUrls.endpoint]: new Map(), [typeUrls.listener]: new Map() },
        ...{ [typeUrls.route]: new Map(), [typeUrls.secret]: new Map() },
      }) as never,
    log,
  })
  return {
    look: (pair) => lookAt(server.port, controlPlane.pem, pair, seen),
    renew: (pair) => renewAt(server.port, controlPlane.pem, pair),
    close: () => server.close(),
  }
}

async function lookAt(port: number, relayRoots: string, pair: Pair | undefined, seen: string[]): Promise<Verdict> {
  const stream = openRaw({
    ...{ port, relayRoots, mode: 'delta' },
    ...(pair ? { certificate: { chainPem: pair.cert, keyPem: pair.key } } : {}),
  })
  seen.length = 0
  const answered = new Promise<Verdict>((done) => stream.call.on('data', () => done(seen.at(-1) ?? 'nobody')))
  stream.ask({
    node: {
      id: 'sidecar~127.0.0.1~productpage-1.bookinfo~bookinfo.svc.cluster.local',
      cluster: 'productpage.bookinfo',
      metadata: { NAMESPACE: 'bookinfo', SERVICE_ACCOUNT: 'productpage' },
    },
    typeUrl: typeUrls.cluster,
  })
  const verdict = await Promise.race([
    answered,
    stream.ended.then(({ code }) => (code === 16 ? 'refused' : `code ${code}`)),
  ])
  stream.close()
  return verdict
}

async function renewAt(port: number, relayRoots: string, pair: Pair | undefined): Promise<Verdict> {
  const own = pair ? [Buffer.from(pair.key), Buffer.from(pair.cert)] : []
  const secure = credentials.createSsl(Buffer.from(relayRoots), own[0] ?? null, own[1] ?? null)
  const client = new Client(`127.0.0.1:${port}`, secure, { 'grpc.use_local_subchannel_pool': 1 })
  const csr = await csrOf(keyInHand())
  const chain = await new Promise<readonly string[] | number>((done) =>
    client.makeUnaryRequest(
      '/istio.v1.auth.IstioCertificateService/CreateCertificate',
      (value: string) =>
        Buffer.from(toBinary(IstioCertificateRequestSchema, create(IstioCertificateRequestSchema, { csr: value }))),
      (bytes) => fromBinary(IstioCertificateResponseSchema, bytes).certChain,
      csr,
      { deadline: Date.now() + 5000 },
      (error, answer) => done(error ? error.code : (answer ?? [])),
    ),
  )
  client.close()
  if (typeof chain === 'number') return chain === 16 ? 'refused' : `code ${chain}`
  const [name] = parseCertificate(chain[0] ?? '').names
  return name?.kind === 'uri' ? name.text : 'somebody without a URI'
}
