import '#functions/api/openapi-first.ts'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import type { FirstSettings } from '#control/first-settings.ts'
import { parseKeyWish } from '#control/keys/open-signer.ts'
import { parsePassphraseSource } from '#control/keys/passphrase.ts'
import { type ServedCentre, type ServeSettings, serveCentre } from '#functions/serve-centre.ts'
import { logRedaction } from '#mesh/model/log-redaction.ts'
import { Problem } from '#mesh/model/problem.ts'
import { version } from '#mesh/model/version.ts'

// `isthmus serve`: all doors of the centre in one process. Reads the environment and the command line here and nowhere else.

const usage = `usage: isthmus serve [options]

  --listen <host:port>   where to listen (default 127.0.0.1:7400)
  --url <https://…>      what relays dial (default: the address listened on)
  --data <directory>     keys, and the embedded database (default ~/.local/state/isthmus/centre)
  --mesh <name>          made at the first start (default mesh1)
  --tls-cert, --tls-key  PEM files of your own certificate (default: one of the control-plane CA)
  --key-file <file>      where the first administrator's key is written, once (default <data>/admin.key)
  --admin-key-hash <hex> SHA-256 of a first administrator's key that you made; no file is written then
  --passphrase <source>  of the sealed keys: file:<path>, fd:<n> or env:<name> (default: a file made beside them)
  --root-key <place>     where the first root's key lies: file or kms:<key ARN> (default file: made and sealed in <data>)
  --root-curve <curve>   of the first root's key: P-256 or P-384 (default P-256; every handshake pays for P-384)
  --root-ca <directory>  a CA of yours as the root: ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem, as of Istio's
                         Secret cacerts; or root-cert.pem and ca-key.pem alone. The key is sealed in <data>, once
  --shared-trust-domain <domain>  one trust domain for all clusters, as a mesh of before has it: nothing confines a cluster
                         then (default: each has its own, <cluster>.<mesh>)
  --rotate-root-after <days>  how old the root may be before the next is made (default: until it nears its end)
  --log-level <level>    trace, debug, info, warn or error (default info)

  --root-key, --root-curve and --shared-trust-domain say what a mesh begins with, at its first start.

  DATABASE_URL=postgres://… keeps the state in a PostgreSQL server instead of the directory.
`

const levels: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error']

main().catch((error: unknown) => {
  const { code = '', syscall, message, stack } = error as NodeJS.ErrnoException
  const isUsage = code.startsWith('ERR_PARSE_ARGS')
  const usageText = `${message.split('. ')[0]}; see: isthmus serve --help`
  const fileText = `${message}: give a directory that can be written with --data`
  const isPlain = error instanceof Problem
  process.stderr.write(`isthmus serve: ${isUsage ? usageText : isPlain ? message : syscall ? fileText : stack}\n`)
  process.exit(isUsage ? 2 : 1)
})

async function main(): Promise<void> {
  const settings = parseSettings()
  if (!settings) return
  const started = performance.now()
  process.stderr.write(`isthmus centre is starting: ${startingWith(settings)} …\n`)
  const served = await serveCentre(settings)
  const { url, keyFile, caFile } = served
  const tookMs = Math.round(performance.now() - started)
  settings.log.info({ url, mesh: served.centre.mesh, keyFile, caFile, store: served.centre.db.kind, tookMs }, 'ready')
  process.stderr.write(`isthmus centre is ready at ${url} (API: ${url}/docs, admin key: ${keyFile}, CA: ${caFile})\n`)
  endOnSignal(served, settings)
}

/** What a start is about to wait for. PGlite's first start is initdb in WebAssembly: 5.6 s of CPU, a later one 0.8 (2026-11). */
function startingWith({ databaseUrl, data }: ServeSettings): string {
  if (databaseUrl !== undefined) return `keys in ${data}, state in the PostgreSQL of DATABASE_URL`
  if (existsSync(join(data, 'database'))) return `keys and database in ${data}`
  return `making keys and a database in ${data}, once, which takes some seconds`
}

/** The first signal ends gracefully; a second one, or ten seconds, at once. */
function endOnSignal(served: ServedCentre, { log }: ServeSettings): void {
  let ending = false
  const end = (signal: string) => {
    if (ending) process.exit(1)
    ending = true
    log.info({ signal }, 'ending')
    setTimeout(() => process.exit(1), 10_000).unref()
    served.stop().then(
      () => process.exit(0),
      (err: unknown) => {
        log.error({ err }, 'the end was not clean')
        process.exit(1)
      },
    )
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, end)
}

function parseSettings(): (ServeSettings & { readonly log: pino.Logger }) | undefined {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string', default: '127.0.0.1:7400' },
      url: { type: 'string' },
      data: { type: 'string' },
      mesh: { type: 'string', default: 'mesh1' },
      'tls-cert': { type: 'string' },
      'tls-key': { type: 'string' },
      'key-file': { type: 'string' },
      'admin-key-hash': { type: 'string' },
      passphrase: { type: 'string' },
      'root-key': { type: 'string' },
      'root-curve': { type: 'string' },
      'root-ca': { type: 'string' },
      'shared-trust-domain': { type: 'string' },
      'rotate-root-after': { type: 'string' },
      'log-level': { type: 'string', default: 'info' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return undefined
  }
  const { env } = process
  const level = values['log-level']
  if (!levels.includes(level))
    throw new Problem('invalid', `--log-level "${level}" is none: give one of ${levels.join(', ')}`)
  const state = env['XDG_STATE_HOME'] || join(homedir(), '.local/state')
  const hash = values['admin-key-hash']
  if (hash !== undefined && !/^[0-9a-f]{64}$/.test(hash))
    throw new Problem('invalid', '--admin-key-hash must be 64 hex digits: printf %s "$KEY" | sha256sum')
  return {
    listen: parseListen(values.listen),
    url: values.url,
    data: resolve(values.data ?? join(state, 'isthmus/centre')),
    databaseUrl: env['DATABASE_URL'] || undefined,
    mesh: values.mesh,
    tls: tlsFiles(values['tls-cert'], values['tls-key'], values.url),
    keyFile: values['key-file'] === undefined ? undefined : resolve(values['key-file']),
    adminKeyHash: hash,
    passphrase: values.passphrase === undefined ? undefined : parsePassphraseSource(values.passphrase),
    first: firstOf(values),
    rootCa: values['root-ca'] === undefined ? undefined : resolve(values['root-ca']),
    rotateRootAfterMs: daysOf(values['rotate-root-after']),
    version,
    env,
    log: pino({
      level,
      base: { part: 'centre' },
      redact: logRedaction,
    }),
  }
}

type FirstOptions = {
  readonly [name in 'root-key' | 'root-curve' | 'root-ca' | 'shared-trust-domain']?: string | undefined
}

function firstOf(values: FirstOptions): FirstSettings {
  const { 'root-key': place, 'root-curve': curve, 'root-ca': dir, 'shared-trust-domain': sharedDomain } = values
  if (dir !== undefined && (place !== undefined || curve !== undefined))
    throw new Problem('invalid', '--root-ca brings its own key: it goes with neither --root-key nor --root-curve')
  const root = place === undefined && curve === undefined ? undefined : parseKeyWish({ where: place, curve })
  return { root, sharedDomain }
}

const dayMs = 24 * 60 * 60_000

function daysOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (days < 1) throw new Problem('invalid', `--rotate-root-after "${text}" is no number of days: give 1 to 9999`)
  return days * dayMs
}

function parseListen(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const [host, port] = [match?.[1] ?? match?.[2], Number(match?.[3])]
  if (host === undefined || !(port >= 0 && port <= 65_535))
    throw new Problem('invalid', `--listen "${text}" must be <host>:<port>, such as 127.0.0.1:7400 or [::1]:7400`)
  return { host, port }
}

function tlsFiles(cert: string | undefined, key: string | undefined, url: string | undefined): ServeSettings['tls'] {
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) throw new Problem('invalid', '--tls-cert and --tls-key go together')
  if (url === undefined)
    throw new Problem('invalid', '--tls-cert needs --url https://<host>:<port> with a host that the certificate names')
  return { cert: resolve(cert), key: resolve(key) }
}
