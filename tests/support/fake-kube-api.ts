import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { ecPair, selfSigned } from '#tests/support/self-signed.ts'

export type FakeObject = {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [more: string]: unknown }
  readonly [more: string]: unknown
}

/** What was asked: `resource` is the last part of the path, `services`. */
export type FakeAsked = {
  readonly method: string
  readonly path: string
  readonly resource: string
  readonly query: URLSearchParams
  readonly isWatch: boolean
  readonly token: string | undefined
}

/** An answer in place of the right one; `hang`: none ever comes. */
export type FakeAnswer =
  | { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }
  | 'hang'
  | undefined

type Watcher = { readonly resource: string; readonly response: ServerResponse; silent: boolean }
type Past = { readonly version: number; readonly line: string; readonly resource: string }

/**
 * Lists and watches as a Kubernetes API server, over TLS on a port of its own, with whatever faults a test asks for:
 * pages of one moment, bookmarks, versions that are gone.
 */
export class FakeKubeApi {
  readonly asked: FakeAsked[] = []
  /** Says what is answered in place of the right answer. */
  fault: (asked: FakeAsked) => FakeAnswer = () => undefined
  /** The first page of each list is empty, and others follow. */
  isEmptyFirst = false
  /** How many lists were answered at one time, at most. */
  listsAtOnce = 0
  readonly kubeconfig: string
  private readonly dir = mkdtempSync(join(tmpdir(), 'isthmus-kube-'))
  private readonly objects = new Map<string, Map<string, FakeObject>>()
  private readonly snapshots = new Map<string, readonly FakeObject[]>()
  private readonly watchers = new Set<Watcher>()
  private readonly sockets = new Set<Duplex>()
  private past: Past[] = []
  private version = 100
  private listing = 0
  /** Connections are cut at once. */
  private isAway = false
  /** Watches from before it are told 410. */
  private oldest = 0
  private readonly server: Server

  private constructor(server: Server, cert: string) {
    this.server = server
    this.kubeconfig = join(this.dir, 'kubeconfig')
    server.on('connection', (socket) => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
      if (this.isAway) socket.destroy()
    })
    server.on('request', (request, response) => this.answer(request, response))
    this.writeKubeconfig(cert, 'first')
  }

  static async start(resources: readonly string[]): Promise<FakeKubeApi> {
    const key = ecPair()
    const der = selfSigned({ key, usage: 0, address: '127.0.0.1' })
    const cert = `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`
    const keyPem = key.privateKey.export({ type: 'pkcs8', format: 'pem' })
    const server = createServer({ key: keyPem, cert })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const fake = new FakeKubeApi(server, cert)
    for (const resource of resources) fake.objects.set(resource, new Map())
    return fake
  }

  private writeKubeconfig(cert: string, token: string): void {
    const { port } = this.server.address() as AddressInfo
    const [clusters, users] = [
      [
        {
          name: 'c',
          cluster: {
            server: `https://127.0.0.1:${port}`,
            'certificate-authority-data': Buffer.from(cert).toString('base64'),
          },
        },
      ],
      [{ name: 'u', user: { token } }],
    ]
    const contexts = [{ name: 'x', context: { cluster: 'c', user: 'u' } }]
    const config = { apiVersion: 'v1', kind: 'Config', clusters, users, contexts, 'current-context': 'x' }
    writeFileSync(this.kubeconfig, JSON.stringify(config))
  }

  /** A kind that the server has from now on, or no longer. */
  serve(resource: string, isServed: boolean): void {
    if (!isServed) this.objects.delete(resource)
    else if (!this.objects.has(resource)) this.objects.set(resource, new Map())
  }

  put(resource: string, object: FakeObject, tell = true): FakeObject {
    const all = this.objects.get(resource) ?? new Map<string, FakeObject>()
    this.objects.set(resource, all)
    const key = keyOf(object)
    const type = all.has(key) ? 'MODIFIED' : 'ADDED'
    const stamped = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.version) } }
    all.set(key, stamped)
    this.happened(resource, type, stamped, tell)
    return stamped
  }

  remove(resource: string, key: string, tell = true): void {
    const all = this.objects.get(resource)
    const object = all?.get(key)
    if (!all || !object) throw new Error(`there is no ${resource} ${key}`)
    all.delete(key)
    this.happened(
      resource,
      'DELETED',
      { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.version) } },
      tell,
    )
  }

  private happened(resource: string, type: string, object: FakeObject, tell: boolean): void {
    const line = JSON.stringify({ type, object })
    this.past.push({ version: this.version, line, resource })
    if (tell) this.send(resource, line)
  }

  /** A line to all who watch, whatever it says. */
  send(resource: string, line: string): void {
    for (const one of this.watchers)
      if (one.resource === resource && !one.silent && !one.response.writableEnded) one.response.write(`${line}\n`)
  }

  bookmark(resource: string): void {
    const metadata = { resourceVersion: String(this.version), creationTimestamp: null }
    this.send(resource, JSON.stringify({ type: 'BOOKMARK', object: { metadata } }))
  }

  /** What happened until now is forgotten: whoever has not seen it is told 410. */
  compact(): void {
    this.oldest = this.version
    this.past = []
    this.snapshots.clear()
  }

  /** The store is brought back from an older one. */
  rewind(version: number): void {
    this.version = version
    this.compact()
    this.oldest = 0
  }

  /** All who watch are told that their version is gone. */
  expire(resource?: string): void {
    const line = JSON.stringify({ type: 'ERROR', object: status(410, 'too old resource version') })
    for (const one of this.watchers)
      if ((resource === undefined || one.resource === resource) && !one.response.writableEnded)
        one.response.end(`${line}\n`)
  }

  endWatches(how: 'end' | 'destroy' | 'silence', resource?: string): void {
    for (const one of this.watchers) {
      if (resource !== undefined && one.resource !== resource) continue
      if (how === 'end') one.response.end()
      else if (how === 'destroy') one.response.destroy()
      else one.silent = true
    }
  }

  away(isAway: boolean): void {
    this.isAway = isAway
    if (isAway) for (const socket of this.sockets) socket.destroy()
  }

  watching(resource: string): number {
    return [...this.watchers].filter((one) => one.resource === resource && !one.silent).length
  }

  async stop(): Promise<void> {
    this.away(true)
    await new Promise((resolve) => this.server.close(resolve))
    rmSync(this.dir, { recursive: true, force: true })
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'https://api')
    const query = url.searchParams
    const resource = url.pathname.split('/').at(-1) ?? ''
    const token = request.headers.authorization
    const asked = {
      method: request.method ?? '',
      path: url.pathname,
      resource,
      query,
      isWatch: query.has('watch'),
      token,
    }
    this.asked.push(asked)
    const wrong = this.fault(asked)
    if (wrong === 'hang') return
    const all = this.objects.get(resource)
    if (wrong) reply(response, wrong.status, wrong.body ?? status(wrong.status, 'as the test says'), wrong.headers)
    else if (!all) reply(response, 404, status(404, 'the server could not find the requested resource'))
    else if (asked.isWatch) this.watch(asked, response)
    else this.list(asked, all, response)
  }

  private list({ query, resource }: FakeAsked, all: Map<string, FakeObject>, response: ServerResponse): void {
    const limit = Number(query.get('limit') ?? Number.POSITIVE_INFINITY)
    const [version = String(this.version), from = '0'] = query.get('continue')?.split(':') ?? []
    const name = `${resource}:${version}`
    const inOrder = () => [...all].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object)
    const items = query.has('continue') ? this.snapshots.get(name) : inOrder()
    if (!items) {
      reply(response, 410, status(410, 'The provided continue parameter is too old'))
      return
    }
    this.snapshots.set(name, items)
    const end = this.isEmptyFirst && !query.has('continue') ? 0 : Number(from) + limit
    const next = end < items.length ? `${version}:${end}` : ''
    const metadata = { resourceVersion: version, ...(next === '' ? {} : { continue: next }) }
    this.listsAtOnce = Math.max(this.listsAtOnce, ++this.listing)
    setImmediate(() => {
      this.listing--
      reply(response, 200, { kind: 'List', apiVersion: 'v1', metadata, items: items.slice(Number(from), end) })
    })
  }

  private watch({ query, resource }: FakeAsked, response: ServerResponse): void {
    const from = Number(query.get('resourceVersion'))
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    if (from < this.oldest) {
      const object = status(410, `too old resource version: ${from} (${this.oldest})`)
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`)
      return
    }
    for (const one of this.past) if (one.resource === resource && one.version > from) response.write(`${one.line}\n`)
    const watcher: Watcher = { resource, response, silent: false }
    this.watchers.add(watcher)
    response.on('close', () => this.watchers.delete(watcher))
  }
}

const keyOf = ({ metadata: { name, namespace } }: FakeObject): string =>
  namespace === undefined ? name : `${namespace}/${name}`

export const status = (code: number, message: string): object => ({
  ...{ kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code },
  reason: { 403: 'Forbidden', 404: 'NotFound', 410: 'Expired', 429: 'TooManyRequests' }[code] ?? 'InternalError',
})

function reply(
  response: ServerResponse,
  code: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(code, { 'content-type': 'application/json', ...headers })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}
