import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { createServer, request as httpsRequest, type Server } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, type Holder, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { type AnyName, type Crooked, crooked } from '#tests/support/crooked.ts'
import { envoyPath } from '#tests/support/parts.ts'

/** A certificate with its key, as a TLS library wants it. */
type Pair = { readonly key: string; readonly cert: string }

const idA = 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews'
const idB = 'spiffe://cluster-b.mesh1/ns/shop/sa/reviews'
const own: AnyName = { uri: idA }

let root: Holder
let issuingA: Holder
let issuingB: Holder
let work: string
let envoy: ChildProcess
let ports: { listener: number; egress: number; admin: number; upstream: number }
let shown: Pair
let upstream: Server

beforeAll(async () => {
  root = await makeRoot()
  issuingA = await makeIssuing(root, 'cluster-a')
  issuingB = await makeIssuing(root, 'cluster-b')
  work = mkdtempSync(join(tmpdir(), 'trust-envoy-'))
  const [listener, egress, admin, upstreamPort] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  ports = { listener, egress, admin, upstream: upstreamPort }
  shown = await honest(issuingB, 'cluster-b')
  upstream = await serveUpstream()
  const config = join(work, 'envoy.json')
  writeFileSync(
    config,
    JSON.stringify(bootstrap(await honest(issuingB, 'cluster-b'), await honest(issuingA, 'cluster-a'))),
  )
  const args = [
    '-c',
    config,
    '--concurrency',
    '1',
    '--disable-hot-restart',
    '--base-id-path',
    join(work, 'id'),
    '-l',
    'warning',
  ]
  envoy = spawn(await envoyPath(), [...args, '--file-flush-interval-msec', '10'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  envoy.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-8192)
  })
  await until(async () => {
    if (envoy.exitCode !== null) throw new Error(`Envoy ended: ${said}`)
    return (await plainGet(ports.admin, '/ready')) === 200
  })
})

afterAll(async () => {
  if (envoy?.exitCode === null) {
    const gone = once(envoy, 'exit')
    envoy.kill('SIGKILL')
    await gone
  }
  upstream?.close()
  rmSync(work, { recursive: true, force: true })
})

describe('a listener of cluster B, asked by a certificate of cluster A', () => {
  const refused: readonly [string, Crooked][] = [
    ['the id of B', { names: [{ uri: idB }] }],
    ['its own id, then the id of B', { names: [own, { uri: idB }] }],
    ['the id of B, then its own', { names: [{ uri: idB }, own] }],
    ['a DNS name that spells the id of B', { names: [{ dns: idB }] }],
    ['its own id and a DNS name', { names: [own, { dns: 'istiod.istio-system.svc' }] }],
    ['its own id and an address', { names: [own, { ip: '127.0.0.1' }] }],
    ['its own id and an e-mail', { names: [own, { email: 'a@cluster-b.mesh1' }] }],
    ['only a subject that spells the id of B', { subject: idB }],
    ['a name of another kind alone', { names: [{ other: idB }] }],
    ['a domain below its own', { names: [{ uri: 'spiffe://x.cluster-a.mesh1/ns/shop/sa/reviews' }] }],
    ['a user part', { names: [{ uri: 'spiffe://cluster-a.mesh1:x@cluster-b.mesh1/ns/shop/sa/reviews' }] }],
    ['capitals', { names: [{ uri: 'spiffe://CLUSTER-A.mesh1/ns/shop/sa/reviews' }] }],
    ['for servers only', { names: [own], extendedUsage: ['serverAuth'] }],
    ['ended', { names: [own], notAfter: new Date(Date.now() - 1_000) }],
    ['not begun', { names: [own], notBefore: new Date(Date.now() + 60_000) }],
  ]
  test.each(refused)('%s: refused', async (_, spec) => {
    await expect(call(await crookedPair(spec, issuingA))).rejects.toThrow()
  })

  test('by an authority below its own CA: refused', async () => {
    const below = await crooked({ ca: { pathLen: 0 }, subject: 'below', names: [own] }, issuingA)
    const leaf = await crooked({ names: [{ uri: idB }] }, { key: below.key, certificate: parseCertificate(below.der) })
    const pair = { key: leaf.key.keyPem, cert: toPem(leaf.der) + toPem(below.der) + issuingA.pem }
    await expect(call(pair)).rejects.toThrow()
  })

  test('a domain under the same root that is not admitted: refused by the prefix', async () => {
    const issuingC = await makeIssuing(root, 'cluster-c')
    await expect(call(await honest(issuingC, 'cluster-c'))).rejects.toThrow()
    await until(async () => readFileSync(join(work, 'access.log'), 'utf8').includes('cluster-c.mesh1'))
    expect(readFileSync(join(work, 'access.log'), 'utf8')).toMatch(
      /cluster-c\.mesh1.*SAN_matcher|cluster-c\.mesh1.*SAN matcher/i,
    )
  })

  test('none at all, and that of a stranger’s root: refused', async () => {
    await expect(call(undefined)).rejects.toThrow()
    const theirs = await makeIssuing(await makeRoot(), 'cluster-a')
    await expect(call(await honest(theirs, 'cluster-a'))).rejects.toThrow()
  })

  test('the honest one: let in, as itself', async () => {
    expect(await call(await honest(issuingA, 'cluster-a'))).toEqual({ status: 200, peer: idA })
    expect(await call(await honest(issuingB, 'cluster-b'))).toEqual({ status: 200, peer: idB })
  })

  test('its own id and a subject that spells the id of B: let in, as itself', async () => {
    const pair = await crookedPair({ names: [own], subject: idB, namesCritical: true }, issuingA)
    expect(await call(pair)).toEqual({ status: 200, peer: idA })
  })
})

describe('a cluster of A’s Envoy that expects B’s reviews', () => {
  test('takes the honest server, and no other', async () => {
    shown = await honest(issuingB, 'cluster-b')
    expect(await plainGet(ports.egress, '/')).toBe(200)
    shown = await crookedPair({ names: [{ uri: idB }] }, issuingA)
    expect(await plainGet(ports.egress, '/')).toBe(503)
    shown = await honest(issuingA, 'cluster-a')
    expect(await plainGet(ports.egress, '/')).toBe(503)
    shown = await honest(issuingB, 'cluster-b')
    expect(await plainGet(ports.egress, '/')).toBe(200)
  })
})

async function honest(issuing: Holder, cluster: string): Promise<Pair> {
  const names = identityNames(spiffeId(domain(cluster), 'shop', 'reviews'))
  const { key, pem } = await make({ profile: 'workload', names, by: issuing })
  return { key: key.keyPem, cert: pem + issuing.pem }
}

async function crookedPair(spec: Crooked, issuing: Holder): Promise<Pair> {
  const { der, key } = await crooked(spec, issuing)
  return { key: key.keyPem, cert: toPem(der) + issuing.pem }
}

/** One request on a connection of its own, and whom the listener saw. Throws when the handshake is refused. */
function call(pair: Pair | undefined): Promise<{ status: number | undefined; peer: string | undefined }> {
  return new Promise((done, fail) => {
    const request = httpsRequest(
      {
        host: '127.0.0.1',
        port: ports.listener,
        ca: root.pem,
        agent: false,
        timeout: 5_000,
        ...pair,
        checkServerIdentity: () => undefined,
      },
      (answer) => {
        answer.resume()
        done({ status: answer.statusCode, peer: answer.headers['x-peer']?.toString() })
      },
    )
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', fail)
    request.end()
  })
}

function plainGet(port: number, path: string): Promise<number> {
  return new Promise((done) => {
    const request = httpRequest({ host: '127.0.0.1', port, path, agent: false, timeout: 5_000 }, (answer) => {
      answer.resume()
      done(answer.statusCode ?? 0)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => done(0))
    request.end()
  })
}

/** A server that shows `shown`, whatever that is at the moment of the handshake. */
async function serveUpstream(): Promise<Server> {
  const context = () => createSecureContext({ ...shown, ca: root.pem, minVersion: 'TLSv1.3' })
  const server = createServer({ ...shown, SNICallback: (_, done) => done(null, context()), minVersion: 'TLSv1.3' })
  server.on('request', (_, answer) => answer.writeHead(200, { connection: 'close' }).end())
  await new Promise<void>((done) => server.listen(ports.upstream, '127.0.0.1', done))
  return server
}

async function freePort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  return typeof address === 'object' && address ? address.port : 0
}

/** Until `ready`, asked every 20 ms, for at most 15 s. */
async function until(ready: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 750; i += 1) {
    if (await ready().catch((fault: Error) => (fault.message.startsWith('Envoy') ? Promise.reject(fault) : false)))
      return
    await new Promise((done) => setTimeout(done, 20))
  }
  throw new Error('Envoy: not ready in 15 s')
}

/** The recommended validators, as small as they go: the root as anchor, prefixes at listeners, exact ids at clusters. */
function bootstrap(server: Pair, client: Pair): object {
  const type = (name: string, value: object = {}): object => ({
    '@type': `type.googleapis.com/envoy.${name}`,
    ...value,
  })
  const tls = 'extensions.transport_sockets.tls.v3'
  const at = (port: number): object => ({ socket_address: { address: '127.0.0.1', port_value: port } })
  const common = ({ key, cert }: Pair, matchers: readonly object[]): object => ({
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [{ certificate_chain: { inline_string: cert }, private_key: { inline_string: key } }],
    validation_context: {
      trusted_ca: { inline_string: root.pem },
      match_typed_subject_alt_names: matchers.map((matcher) => ({ san_type: 'URI', matcher })),
    },
  })
  const http = (route: object): object => ({
    name: 'http',
    typed_config: type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
      stat_prefix: 'http',
      route_config: {
        virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...route }] }],
      },
      http_filters: [{ name: 'router', typed_config: type('extensions.filters.http.router.v3.Router') }],
    }),
  })
  const peer = { key: 'x-peer', value: '%DOWNSTREAM_PEER_URI_SAN%' }
  const log = {
    text_format_source: { inline_string: '%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n' },
  }
  const prefixes = ['cluster-a', 'cluster-b'].map((cluster) => ({ prefix: `spiffe://${domain(cluster)}/` }))
  return {
    admin: { address: at(ports.admin) },
    static_resources: {
      listeners: [
        {
          name: 'mutual',
          address: at(ports.listener),
          access_log: [
            {
              name: 'file',
              typed_config: type('extensions.access_loggers.file.v3.FileAccessLog', {
                path: join(work, 'access.log'),
                log_format: log,
              }),
            },
          ],
          filter_chains: [
            {
              filters: [http({ direct_response: { status: 200 }, response_headers_to_add: [{ header: peer }] })],
              transport_socket: {
                name: 'tls',
                typed_config: type(`${tls}.DownstreamTlsContext`, {
                  common_tls_context: common(server, prefixes),
                  require_client_certificate: true,
                  disable_stateless_session_resumption: true,
                  disable_stateful_session_resumption: true,
                }),
              },
            },
          ],
        },
        {
          name: 'egress',
          address: at(ports.egress),
          filter_chains: [{ filters: [http({ route: { cluster: 'reviews' } })] }],
        },
      ],
      clusters: [
        {
          name: 'reviews',
          type: 'STATIC',
          connect_timeout: '2s',
          load_assignment: {
            cluster_name: 'reviews',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: at(ports.upstream) } }] }],
          },
          transport_socket: {
            name: 'tls',
            typed_config: type(`${tls}.UpstreamTlsContext`, {
              // A resumed session would speak for the certificate before.
              max_session_keys: 0,
              sni: 'reviews',
              common_tls_context: common(client, [{ exact: idB }]),
            }),
          },
        },
      ],
    },
  }
}
