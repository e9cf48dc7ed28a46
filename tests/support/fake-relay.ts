import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { type Listener, ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '#gen/envoy/service/discovery/v3/discovery_pb.js'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '#gen/istio/ca_pb.js'
import { parseCsr } from '#mesh/trust/csr.ts'
import { identityNames, relayServingNames } from '#mesh/trust/names.ts'
import { parseSpiffeId } from '#mesh/trust/spiffe-id.ts'
import {
  domain,
  type Holder,
  type KeyInHand,
  make,
  makeControlPlaneCa,
  makeIssuing,
  makeRoot,
} from '#tests/support/authorities.ts'

/** The authorities of one cluster: made once, so that a relay can go away and come back as the same. */
export type FakeCluster = {
  readonly root: Holder
  readonly issuing: Holder
  readonly controlPlane: Holder
  readonly serving: Holder
}

export async function makeFakeCluster(cluster: string): Promise<FakeCluster> {
  const root = await makeRoot()
  const controlPlane = await makeControlPlaneCa()
  const names = relayServingNames(domain(cluster), { asIstiod: false, ips: ['127.0.0.1'] })
  return {
    root,
    issuing: await makeIssuing(root, cluster),
    controlPlane,
    serving: await make({ profile: 'relay-serving', names, by: controlPlane }),
  }
}

export type FakeRelay = {
  readonly port: number
  /** Tokens that were shown, in order. */
  readonly tokens: readonly string[]
  /** What Envoy asked for, in order, and the URI of the certificate it showed. */
  readonly asked: readonly { readonly request: DeltaDiscoveryRequest; readonly uri: string }[]
  readonly stop: () => Promise<void>
}

export type FakeRelayOptions = {
  readonly cluster: FakeCluster
  /** The identity that a token stands for; undefined: refused. */
  readonly identityFor: (token: string) => string | undefined
  readonly port?: number
  readonly lifeSeconds?: number
  readonly listeners?: readonly Listener[]
}

/** A relay that answers CreateCertificate and serves no clusters and the given listeners, on TLS 1.3. */
export async function startFakeRelay(options: FakeRelayOptions): Promise<FakeRelay> {
  const { cluster } = options
  const tokens: string[] = []
  const asked: { request: DeltaDiscoveryRequest; uri: string }[] = []
  const server = createSecureServer({
    key: cluster.serving.key.keyPem,
    cert: cluster.serving.pem,
    ca: [cluster.root.pem],
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  })
  const sockets = new Set<TLSSocket>()
  server.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
  })
  server.on('sessionError', () => undefined)
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    if (headers[':path']?.endsWith('/CreateCertificate')) {
      const token = String(headers['authorization'] ?? '').replace('Bearer ', '')
      tokens.push(token)
      onMessage(stream, (bytes) => void certify(stream, bytes, options, token))
    } else if (!headers[':path']?.endsWith('/DeltaAggregatedResources')) {
      // As every relay and istiod does that knows no such call.
      const status = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '12' }
      stream.respond(status, { endStream: true })
    } else {
      const socket = stream.session?.socket as TLSSocket | undefined
      const uri = socket?.authorized ? (socket.getPeerCertificate().subjectaltname ?? '') : ''
      serveDelta(stream, options.listeners ?? [], (request) => asked.push({ request, uri }))
    }
  })
  await listen(server, options.port ?? 0)
  return {
    port: (server.address() as AddressInfo).port,
    tokens,
    asked,
    stop: () =>
      new Promise((done) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => done())
      }),
  }
}

const listen = (server: Http2SecureServer, port: number): Promise<void> =>
  new Promise((done, fail) => {
    server.once('error', fail)
    server.listen(port, '127.0.0.1', done)
  })

async function certify(stream: ServerHttp2Stream, bytes: Uint8Array, options: FakeRelayOptions, token: string) {
  const uri = options.identityFor(token)
  if (!uri) {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16', 'grpc-message': 'no' },
      { endStream: true },
    )
    return
  }
  const key = parseCsr(fromBinary(IstioCertificateRequestSchema, bytes).csr)
  const { lifeSeconds, cluster } = options
  const leaf = await make({
    profile: 'workload',
    names: identityNames(parseSpiffeId(uri)),
    by: cluster.issuing,
    key: { spki: key.spki } as KeyInHand,
    ...(lifeSeconds === undefined ? {} : { lifeSeconds }),
  })
  const certChain = [leaf.pem, cluster.issuing.pem, cluster.root.pem]
  respond(stream)
  stream.write(frame(toBinary(IstioCertificateResponseSchema, create(IstioCertificateResponseSchema, { certChain }))))
  stream.end()
}

function serveDelta(
  stream: ServerHttp2Stream,
  listeners: readonly Listener[],
  seen: (request: DeltaDiscoveryRequest) => void,
) {
  respond(stream)
  onMessage(stream, (bytes) => {
    const request = fromBinary(DeltaDiscoveryRequestSchema, bytes)
    seen(request)
    if (request.responseNonce !== '') return
    const resources = request.typeUrl.endsWith('.Listener')
      ? listeners.map((one) => ({ name: one.name, version: '1', resource: anyPack(ListenerSchema, one) }))
      : []
    const answer = create(DeltaDiscoveryResponseSchema, { typeUrl: request.typeUrl, nonce: 'n1', resources })
    stream.write(frame(toBinary(DeltaDiscoveryResponseSchema, answer)))
  })
}

function respond(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
}

/** gRPC's frame: one byte "not compressed", four of length. */
function frame(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

function onMessage(stream: ServerHttp2Stream, take: (bytes: Uint8Array) => void): void {
  let pending = Buffer.alloc(0)
  stream.on('data', (part: Buffer) => {
    pending = Buffer.concat([pending, part])
    while (pending.length >= 5 && pending.length >= 5 + pending.readUInt32BE(1)) {
      const end = 5 + pending.readUInt32BE(1)
      const message = pending.subarray(5, end)
      pending = pending.subarray(end)
      take(message)
    }
  })
}
