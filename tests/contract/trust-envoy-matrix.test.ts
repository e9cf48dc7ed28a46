import { randomInt } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as plainRequest } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type ServedCentre, serveCentre } from '#functions/serve-centre.ts'
import { callUnary } from '#gateway/proxy/grpc.ts'
import { relayName } from '#gateway/proxy/relay-name.ts'
import { centreClient } from '#gateway/uplink/centre-client.ts'
import {
  authorityOf,
  leafOf,
  meshRoot,
  placesOf,
  startBorder,
  stopBorder,
  trustedRoots,
} from '#mesh/translate/testdata/border.ts'
import { type Running, startEnvoy } from '#mesh/translate/testdata/real-envoy.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { centreServingNames, relayServingNames } from '#mesh/trust/names.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { domain, type Holder, make, makeControlPlaneCa } from '#tests/support/authorities.ts'
import { crooked } from '#tests/support/crooked.ts'
import { giveDatabase } from '#tests/support/database-template.ts'
import { impostors, type Pair, type Part } from '#tests/support/impostors.ts'
import { root as clone, envoyPath } from '#tests/support/parts.ts'
import { openRelayDoor, type RelayDoor } from '#tests/support/relay-doors.ts'
import { relayOf } from '#tests/support/served.ts'
import { silentLog } from '#tests/support/stores.ts'

/**
 * Whoever holds the key of cluster A's authority tries to be somebody in cluster B: every variant of a certificate, at
 * every place where a certificate decides, with the resources and programs that ship. The table is written to docs.
 */
const page = join(clone, 'docs/trust-matrix.md')
const sni = 'outbound_.9080_._.reviews.bookinfo.svc.cluster.local'
const workDir = mkdtempSync(join(tmpdir(), 'isthmus-matrix-'))
const doors: { b?: RelayDoor; c?: RelayDoor } = {}
let controlPlane: Holder
let centre: ServedCentre
let caller: Running
const net = `127.${randomInt(64, 250)}.${randomInt(100, 200)}`
const falseGateway = `${net}.1`
const callerOut = `${net}.3`
const servers: Server[] = []
const open = new Set<TLSSocket>()
let asked = 0
let falsePort = 0

const part = (account: string, victim: Partial<Part['victim']> = {}): Part => ({
  own: `spiffe://a.mesh1/ns/bookinfo/sa/${account}`,
  victim: {
    uri: `spiffe://b.mesh1/ns/bookinfo/sa/${account}`,
    dns: 'reviews.bookinfo.svc.cluster.local',
    ip: placesOf('b').server,
    email: `${account}@b.mesh1`,
    ...victim,
  },
})

/** Places where a certificate decides. `taken`: what is said where the honest one of that place is shown. */
type Place = {
  readonly what: string
  readonly part: Part
  readonly honest: () => Promise<Pair>
  readonly try: (pair: Pair) => Promise<string>
  /** What a certificate that A may honestly have is taken for here. */
  readonly own: string
  readonly taken: string
}

const clientPart = part('productpage')
const asB = clientPart.victim.uri
const asA = clientPart.own
const honestB = async (account = 'productpage'): Promise<Pair> => pairOf(await leafOf('b', 'bookinfo', account))
const pairOf = ({ chain, key }: { chain: string; key: string }): Pair => ({ cert: chain, key })

const at = (what: string, host: () => string, port: number): Place => ({
  ...{ what, part: clientPart, honest: honestB, own: asA, taken: asB },
  try: (pair) => call(host(), port, pair),
})
const relay = (what: string, ask: (pair: Pair) => Promise<string> | undefined, taken: string): Place => ({
  ...{ what, part: clientPart, honest: honestB, own: 'refused', taken },
  try: async (pair) => (await ask(pair)) ?? 'no door',
})
const places: readonly Place[] = [
  at('pod of B', () => placesOf('b').server, 9080),
  at('B through its gateway', () => placesOf('b').gateway, 15443),
  at('pod of C', () => placesOf('c').server, 9080),
  at('C through its gateway', () => placesOf('c').gateway, 15443),
  relay('relay of B: config', (pair) => doors.b?.look(pair), asB),
  relay('relay of B: certificate', (pair) => doors.b?.renew(pair), asB),
  relay('relay of C: config', (pair) => doors.c?.look(pair), 'refused'),
  relay('relay of C: certificate', (pair) => doors.c?.renew(pair), 'refused'),
  {
    ...{ what: 'the centre', part: clientPart, own: 'refused', taken: 'refused', honest: honestB },
    try: (pair) => callCentre(pair),
  },
  {
    ...{ what: 'as a server of B, called by C', part: part('reviews'), own: 'refused', taken: 'taken' },
    honest: () => honestB('reviews'),
    try: (pair) => trick(pair, callFromC),
  },
  {
    ...{ what: 'as the relay of B, called by its proxy', own: 'refused', taken: 'taken' },
    part: part('relay', {
      ...{ uri: 'spiffe://b.mesh1/ns/isthmus-system/sa/relay', dns: 'relay.isthmus-system.svc', ip: '127.0.0.1' },
    }),
    honest: async () =>
      served(
        await make({
          profile: 'relay-serving',
          names: relayServingNames(domain('b'), { asIstiod: false, ips: ['127.0.0.1'] }),
          by: controlPlane,
        }),
      ),
    try: (pair) => trick(pair, callRelay),
  },
  {
    ...{ what: 'as the centre, called by a relay', own: 'refused', taken: 'taken' },
    part: part('centre', { dns: 'localhost', ip: '127.0.0.1' }),
    honest: async () =>
      served(
        await make({
          profile: 'centre-serving',
          names: centreServingNames(['localhost'], ['127.0.0.1']),
          by: controlPlane,
        }),
      ),
    try: (pair) => trick(pair, callAsRelay),
  },
]
const served = ({ pem, key }: Holder): Pair => ({ cert: pem, key: key.keyPem })

beforeAll(async () => {
  const envoy = await envoyPath()
  controlPlane = await makeControlPlaneCa()
  await giveDatabase(join(workDir, 'centre'))
  const settings = { listen: { host: '127.0.0.1', port: 0 }, data: join(workDir, 'centre'), mesh: 'mesh1' }
  const starting = serveCentre({ ...settings, version: '0.1.0', log: silentLog, env: {}, scryptCost: 2 ** 14 })
  await startBorder(envoy, { consumers: ['a', 'b', 'c'] })
  const root = meshRoot()
  doors.b = await openRelayDoor('b', { root, issuing: authorityOf('b'), controlPlane })
  doors.c = await openRelayDoor('c', { root, issuing: authorityOf('c'), controlPlane })
  const first = await honestB('reviews')
  falsePort = await serveFalse('127.0.0.1', 0, first)
  await serveFalse(falseGateway, 15443, first)
  caller = await startEnvoy(callerInC(), {
    ...{ envoy, dir: workDir, name: 'caller-c', ready: `${callerOut}:9080` },
    leaf: await leafOf('c', 'bookinfo', 'productpage'),
  })
  centre = await starting
})

afterAll(async () => {
  await Promise.all([stopBorder(), caller?.stop(), doors.b?.close(), doors.c?.close(), centre?.stop()])
  for (const server of servers) server.close()
  rmSync(workDir, { recursive: true, force: true })
})

test('a certificate of A’s authority is never taken for B, nowhere; what A may honestly say is served as A', async () => {
  const by = authorityOf('a')
  const rows = new Map<string, readonly string[]>()
  const expected = new Map<string, readonly string[]>()
  const honest = 'of B’s own authority, honest'
  const tryHonest = async () => {
    const cells: string[] = []
    for (const place of places) cells.push(await place.try(await place.honest()))
    return cells
  }
  rows.set(honest, await tryHonest())
  expected.set(
    honest,
    places.map((place) => place.taken),
  )
  for (const { what, isOwn, make: forge } of impostors) {
    const cells: string[] = []
    for (const place of places) cells.push(await place.try(await forge(place.part, by)))
    rows.set(what, cells)
    expected.set(
      what,
      places.map((place) => (isOwn ? place.own : 'refused')),
    )
  }
  // Whatever was shown before, the honest one is still taken.
  expect(await tryHonest()).toEqual(expected.get(honest))
  expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(expected))

  const text = pageOf(rows)
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(page, text)
  expect(existsSync(page) ? readFileSync(page, 'utf8') : '').toBe(text)
})

test('from an authority that nothing confines the URI of B is taken for B: the table can fail', async () => {
  const { der, key } = await crooked({ ca: { pathLen: 0 }, subject: 'a.mesh1' }, meshRoot())
  const loose = { key, certificate: parseCertificate(der), pem: toPem(der) }
  const forge = impostors.find(({ what }) => what === 'the URI of B')?.make
  const cells: string[] = []
  for (const place of places.slice(0, 6)) cells.push((await forge?.(place.part, loose).then(place.try)) ?? '')
  // The relay's own authority issues, whoever signed what the caller shows.
  expect(cells).toEqual([asB, asB, asB, asB, asB, 'refused'])
})

test('at the centre a token counts, and no certificate beside it', async () => {
  const relay = await relayOf(centre, 'b').join()
  expect(await callCentre(await honestB(), relay.bearer)).toBe('answered 403')
  expect(await callCentre(await honestB(), 'none')).toBe('refused')
})

function pageOf(rows: ReadonlyMap<string, readonly string[]>): string {
  const short = (cell: string): string =>
    cell === asA ? 'as A' : cell === asB ? '**as B**' : cell === 'taken' ? '**as B**' : cell
  const table = [...rows].map(([what, cells]) => `| ${[what, ...cells.map(short)].join(' | ')} |`)
  return `# Who is taken for whom

Whoever holds the key of cluster A's issuing CA can sign whatever they like. This is what it is good for, written by
\`tests/contract/trust-envoy-matrix.test.ts\` as it saw it: every variant of a certificate, at every place where a certificate
decides, against real Envoys with the resources that relays serve, the relay's port, and the centre. *refused*: no
connection, or no answer but a refusal. *as A*: served, and told to the application as the workload of A that it is.

All clusters stand under one root and may call each other; the first row shows that the places do take the right ones.
The relay of C and the centre take nobody by a certificate of B: a relay serves its own cluster, and the centre asks for
a token.

| The certificate names | ${places.map((place) => place.what).join(' | ')} |
|---|${places.map(() => '---').join('|')}|
${table.join('\n')}

To be refused takes several things at once: the name constraints of the issuing CA (URI, DNS, address, e-mail), its path
length, the prefixes that a port admits and the exact identities that a caller expects. A subject is no name to anybody here.
`
}

/** One request on a connection of its own: the id by which the application was told of the caller. */
function call(host: string, port: number, pair: Pair): Promise<string> {
  return new Promise((done) => {
    const outgoing = request(
      {
        ...{ host, port, ...pair, ca: trustedRoots(), servername: sni, ALPNProtocols: ['istio'] },
        ...{ agent: false, timeout: 5000, headers: { host: 'reviews' }, checkServerIdentity: () => undefined },
      },
      (answer) => {
        let text = ''
        answer.on('data', (data: Buffer) => {
          text += data.toString()
        })
        answer.on('end', () => {
          const { xfcc } = JSON.parse(text === '' ? '{}' : text) as { xfcc?: string }
          const uris = [...(xfcc ?? '').matchAll(/;URI=([^;]*)/g)].map(([, uri]) => uri)
          done(uris.length > 0 ? uris.join(' and ') : `answered ${answer.statusCode}`)
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error('silence')))
    outgoing.on('error', (fault) => done(fault.message === 'silence' ? 'silence' : 'refused'))
    outgoing.end()
  })
}

function callCentre(pair: Pair, bearer?: string): Promise<string> {
  return new Promise((done) => {
    const outgoing = request(
      new URL('/v1/clusters', centre.url),
      {
        ...{ ...pair, agent: false, ca: readFileSync(centre.caFile), timeout: 5000 },
        headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
      },
      (answer) => {
        answer.resume()
        done(answer.statusCode === 401 ? 'refused' : `answered ${answer.statusCode}`)
      },
    )
    outgoing.on('timeout', () => outgoing.destroy())
    outgoing.on('error', () => done('refused'))
    outgoing.end()
  })
}

/** Shows a certificate at the false servers while somebody calls them, and tells whether it was asked anything. */
async function trick(pair: Pair, calling: () => Promise<unknown>): Promise<string> {
  for (const server of servers) server.setSecureContext({ ...pair, minVersion: 'TLSv1.3' })
  asked = 0
  await calling()
  // What was trusted once is not asked again.
  for (const socket of open) socket.destroy()
  return asked > 0 ? 'taken' : 'refused'
}

/** A server that answers any request of HTTP/1 or 2, and counts it. */
async function serveFalse(host: string, port: number, shown: Pair): Promise<number> {
  const http2 = createHttp2Server()
  http2.on('stream', (stream) => {
    asked += 1
    stream.on('error', () => undefined)
    stream.respond({ ':status': 200 })
    stream.end()
  })
  http2.on('sessionError', () => undefined)
  const server = createServer({ ...shown, minVersion: 'TLSv1.3', ALPNCallback: ({ protocols }) => protocols[0] })
  server.on('tlsClientError', () => undefined)
  server.on('secureConnection', (socket: TLSSocket) => {
    open.add(socket)
    socket.on('error', () => undefined).on('close', () => open.delete(socket))
    if (socket.alpnProtocol === 'istio' || socket.alpnProtocol === 'h2') http2.emit('connection', socket)
    else
      socket.on('data', () => {
        asked += 1
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
      })
  })
  servers.push(server)
  await new Promise<void>((done) => server.listen(port, host, done))
  return (server.address() as AddressInfo).port
}

/** C's Envoy calls B's reviews, whose gateway is somebody else. */
const callFromC = (): Promise<unknown> =>
  new Promise<void>((done) => {
    const outgoing = plainRequest(
      { host: callerOut, port: 9080, headers: { host: 'reviews.bookinfo' }, agent: false, timeout: 5000 },
      (answer) => answer.resume().on('end', done),
    )
    outgoing.on('timeout', () => outgoing.destroy())
    outgoing.on('error', () => done())
    outgoing.end()
  })

/** The program beside B's Envoy calls somebody else in its relay's place. */
const callRelay = (): Promise<unknown> =>
  callUnary({
    ...{ host: '127.0.0.1', port: falsePort, path: '/x', headers: {}, body: new Uint8Array(), deadlineMs: 5000 },
    ...{ tls: { ca: controlPlane.pem }, answerBytesMax: 1000 },
    serverFault: relayName('spiffe://b.mesh1/ns/isthmus-system/sa/relay', 'b').fault,
  }).catch(() => undefined)

/** A relay calls somebody else in the centre's place. */
async function callAsRelay(): Promise<void> {
  const client = centreClient({ url: `https://localhost:${falsePort}`, ca: () => controlPlane.pem, version: '0' })
  await client.call({ path: '/v1/token', body: {}, schema: z.object({}) }).catch(() => undefined)
  client.close()
}

const callerInC = (): Parameters<typeof startEnvoy>[0] => ({
  cluster: 'c',
  region: 'r1',
  config: {
    members: ['a', 'b', 'c'],
    roots: [trustedRoots()],
    imports: {
      'bookinfo/reviews': { ports: ['http 9080 http'], sources: ['b net-b r1 reviews'], tiers: [{ b: 1 }] },
    },
  },
  summaries: {
    b: { gateways: [`${falseGateway}:15443`], services: { 'bookinfo/reviews': { counts: ['9080 r1/ 1/1'] } } },
  },
  proxy: {
    id: `sidecar~${net}.2~productpage-1.bookinfo~bookinfo.svc.cluster.local`,
    account: 'productpage',
    metadata: { INTERCEPTION_MODE: 'NONE', ISTHMUS: { application: `${net}.2`, outbound: callerOut } },
  },
})
