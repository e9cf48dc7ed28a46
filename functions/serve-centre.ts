import { randomBytes, randomUUID } from 'node:crypto'
import { renameSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import { type AddressInfo, isIP } from 'node:net'
import { join } from 'node:path'
import { type Bus, inProcessBus } from '#control/bus.ts'
import type { Centre } from '#control/centre.ts'
import type { FirstSettings } from '#control/first-settings.ts'
import type { PassphraseSource } from '#control/keys/passphrase.ts'
import { openCentre, parseCentreUrl } from '#control/open-centre.ts'
import { sharedBus } from '#control/shared-bus.ts'
import { type Database, type Log, openDatabase } from '#control/store/database.ts'
import { makeDirectory } from '#control/store/make-directory.ts'
import { noticeBytesMax, openNoticeLine } from '#control/store/notice-line.ts'
import { controlPlanePems } from '#control/trust/bundle.ts'
import { openApi } from '#functions/api/app.ts'
import type { Door } from '#functions/api/door.ts'
import { listenerOf } from '#functions/api/listener.ts'
import { openMetrics } from '#functions/api/metrics.ts'
import { RateLimit } from '#functions/api/rate-limit.ts'
import { portOwner } from '#functions/port-owner.ts'
import { openPublisher } from '#functions/publish/publisher.ts'
import { openDrainer } from '#functions/rotate/drainer.ts'
import { openRotator } from '#functions/rotate/rotator.ts'
import { openSweeper } from '#functions/sweep/sweeper.ts'
import { readPem, type ServerTls, serveOwnTls, serveUserTls, tlsOptions } from '#functions/tls.ts'
import { openWatch } from '#functions/watch/watch.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

export type ServeSettings = {
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number }
  /** What relays dial; absent = the address listened on. */
  readonly url?: string | undefined
  /** Directory of keys, and of the embedded database where there is no `databaseUrl`. */
  readonly data: string
  readonly databaseUrl?: string | undefined
  readonly mesh: string
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
  readonly keyFile?: string | undefined
  readonly adminKeyHash?: string | undefined
  readonly passphrase?: PassphraseSource | undefined
  /** Of the first start: what the mesh begins with. */
  readonly first?: FirstSettings | undefined
  /** Directory of a CA that is brought along, as root. */
  readonly rootCa?: string | undefined
  /** How old the root may be before the next is made; absent: until it nears its end. */
  readonly rotateRootAfterMs?: number | undefined
  readonly version: string
  readonly log: Log
  readonly env: Readonly<Record<string, string | undefined>>
  /** For tests. */
  readonly now?: () => number
  readonly scryptCost?: number
  readonly rates?: Partial<Door['limits']>
}

export type ServedCentre = {
  readonly url: string
  readonly centre: Centre
  readonly caFile: string
  readonly keyFile: string
  /** Ends gracefully: no new connections, answers under way are finished (5 s at most), the database is closed. */
  stop(): Promise<void>
}

const stopMs = 5000

/**
 * All doors of the centre in one process, and the publisher beside them. Comes back when relays and operators are
 * answered. Throws `unavailable` where the port is taken (by whom, and which setting mends it), and what `openDatabase`
 * and `openCentre` throw; nothing is left open then.
 */
export async function serveCentre(settings: ServeSettings): Promise<ServedCentre> {
  const now = settings.now ?? Date.now
  const { log } = settings
  checkSettings(settings)
  makeDataDirectory(settings.data)
  const server = createServer(tlsOptions)
  // Listens first: a taken port is told before anything is opened, and a port 0 is known. Without a certificate yet, no
  // handshake succeeds until everything is ready.
  const port = await listen(server, settings.listen)
  const undo: (() => Promise<void> | void)[] = [() => closeServer(server)]
  const unwind = async () => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  try {
    const url = settings.url ?? urlOf(settings.listen.host, port)
    const metrics = openMetrics()
    const db: Database = await openDatabase({ ...storeOf(settings), log })
    undo.push(() => db.close())
    const { bus, closeBus } = openBus(settings)
    undo.push(closeBus)
    const hosts = [...new Set([new URL(url).hostname.replace(/^\[|\]$/g, ''), ...dialable(settings.listen.host)])]
    const keyFile = settings.keyFile ?? join(settings.data, 'admin.key')
    const centre = await openCentre({
      ...{ db, now, log, url, keyFile, mesh: settings.mesh, env: settings.env, measures: metrics.measures },
      random: (bytes) => new Uint8Array(randomBytes(bytes)),
      reservedIps: hosts.filter((host) => isIP(host) !== 0),
      bus,
      keysDir: join(settings.data, 'keys'),
      passphrase: settings.passphrase,
      adminKeyFile: keyFile,
      adminKeyHash: settings.adminKeyHash,
      rootCa: settings.rootCa,
      ...settings.first,
      ...(settings.scryptCost === undefined ? {} : { scryptCost: settings.scryptCost }),
    })
    await tellEarlierClock(centre, now())
    const tls: ServerTls = settings.tls
      ? serveUserTls(server, centre, settings.tls)
      : await serveOwnTls(server, centre, hosts)
    undo.push(() => tls.stop())
    const caFile = join(settings.data, 'control-plane-ca.pem')
    const writeCaFile = async () => replaceFile(caFile, (await controlPlanePems(centre)).join('') + (tls.ownCa ?? ''))
    await writeCaFile()
    const rotator = openRotator(centre, {
      here: () => ({ door: tls.authority() }),
      onBundle: writeCaFile,
      rootAfterMs: settings.rotateRootAfterMs,
    })
    undo.push(() => rotator.stop())
    const publisher = openPublisher(centre)
    undo.push(() => publisher.stop())
    const drainer = openDrainer(centre)
    undo.push(() => drainer.stop())
    const sweeper = openSweeper(centre)
    undo.push(() => sweeper.stop())
    const door: Door = {
      ...{ centre, metrics, version: settings.version, caSha256: tls.caSha256, ownCa: tls.ownCa },
      limits: { ...limits(), ...settings.rates },
      servingEnd: tls.notAfter,
      authority: tls.authority,
      ready: publisher.ready,
      attention: () => [...publisher.attention(), ...rotator.attention(), ...drainer.attention()],
    }
    const watch = openWatch(door)
    undo.push(() => watch.close())
    server.on('request', listenerOf(openApi(door)))
    server.on('upgrade', watch.upgrade)
    return { url: centre.url, centre, caFile, keyFile, stop: unwind }
  } catch (error) {
    await unwind()
    throw error
  }
}

/** On a server there may be other processes of this centre: they hear of changes by it. */
function openBus({ databaseUrl, mesh, log }: ServeSettings): { bus: Bus; closeBus: () => Promise<void> } {
  const local = inProcessBus((err) => log.error({ err }, 'a listener of the hint bus failed'))
  if (databaseUrl === undefined) return { bus: local, closeBus: async () => undefined }
  const line = openNoticeLine({ url: databaseUrl, log, onText: (text) => bus.heard(text) })
  const self = { mesh, process: randomUUID() }
  const bus = sharedBus(local, self, { textBytesMax: noticeBytesMax, send: line.send })
  return { bus, closeBus: line.close }
}

/** What can be said before anything is opened. */
function checkSettings({ listen, url, mesh, tls }: ServeSettings): void {
  parseMeshName(mesh)
  parseCentreUrl(url ?? urlOf(listen.host, listen.port))
  if (tls) for (const path of [tls.cert, tls.key]) readPem(path)
}

/** A clock that was set back since the first start: relays and operators refuse such a centre, each in its own words. */
async function tellEarlierClock({ log, keys }: Centre, now: number): Promise<void> {
  const { notBefore } = (await keys.active('control-plane')).certificate
  if (notBefore.getTime() > now)
    log.error(
      { notBefore, now: new Date(now) },
      'the control-plane CA begins in the future: set the clock (NTP), or wait',
    )
}

function makeDataDirectory(dir: string): void {
  try {
    makeDirectory(dir)
  } catch (cause) {
    const text = `the directory ${dir} cannot be made: ${fileFault(cause)}; give one that can be written with --data`
    throw new Problem('unavailable', text, { cause })
  }
}

const storeOf = ({ databaseUrl, data }: ServeSettings): { readonly url: string } | { readonly dir: string } =>
  databaseUrl === undefined ? { dir: data } : { url: databaseUrl }

const limits = (): Door['limits'] => ({
  operators: new RateLimit({ perSecond: 50, burst: 200 }),
  clusters: new RateLimit({ perSecond: 20, burst: 100 }),
  strangers: new RateLimit({ perSecond: 5, burst: 50 }),
})

/** An address that stands for all of a machine's names none that can be dialled. */
const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'
const dialable = (host: string): string[] => (isWildcard(host) ? ['127.0.0.1', 'localhost'] : [host])

function urlOf(host: string, port: number): string {
  if (isWildcard(host))
    throw new Problem(
      'invalid',
      `--listen ${host} names no host that relays could dial: give --url https://<host>:<port>`,
    )
  return `https://${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

function listen(server: Server, { host, port }: ServeSettings['listen']): Promise<number> {
  server.requestTimeout = 60_000
  server.headersTimeout = 10_000
  server.keepAliveTimeout = 65_000
  server.maxConnections = 20_000
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(notListening(host, port, cause)))
    server.listen({ host, port }, () => {
      server.removeAllListeners('error')
      resolve((server.address() as AddressInfo).port)
    })
  })
}

function notListening(host: string, port: number, cause: NodeJS.ErrnoException): Problem {
  if (cause.code !== 'EADDRINUSE')
    return new Problem(
      'unavailable',
      `cannot listen on ${host}:${port} (${cause.code}): choose another with --listen`,
      {
        cause,
      },
    )
  const owner = portOwner(port)
  const by = owner === undefined ? 'by another process' : `by ${owner}`
  return new Problem('unavailable', `port ${port} of ${host} is taken ${by}: end it, or choose another with --listen`, {
    cause,
  })
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), stopMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
}

function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o644 })
  renameSync(`${path}.new`, path)
}
