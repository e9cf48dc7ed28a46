import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { labelFault } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import type { PlainAddresses } from '#mesh/model/proxy.ts'
import type { AdminAddress } from '#mesh/translate/bootstrap.ts'

/** All that one `isthmus proxy` is told; made once, in main. */
export type ProxySettings = {
  readonly type: 'sidecar' | 'router'
  readonly relay: HostPort
  /** The one URI that the relay's certificate must carry. Its trust domain is this proxy's own. */
  readonly relayUri: string
  readonly trustDomain: string
  readonly caFile: string
  readonly tokenFile: string
  readonly pod: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly workload?: string
  readonly instanceIps: readonly [string, ...string[]]
  readonly cluster: string
  readonly network: string
  readonly mesh: string
  readonly region?: string
  readonly zone?: string
  readonly labels: Readonly<Record<string, string>>
  readonly interception: 'NONE' | 'REDIRECT'
  readonly plain?: PlainAddresses
  readonly envoy: string
  readonly dir: string
  readonly admin: AdminAddress
  readonly status: HostPort
  readonly concurrency: number
  readonly connectionsMax: number
  readonly drainSecondsMin: number
  readonly drainSecondsMax: number
  readonly logLevel: string
  readonly envoyLogLevel: string
}

export type HostPort = { readonly host: string; readonly port: number }

/** Where raw settings come from, strongest first: flags, environment, the file; one text or JSON value per name. */
export type RawSettings = Readonly<Record<string, unknown>>

type Row = { readonly help: string; readonly env?: string; readonly need?: true; readonly standard?: string }

/**
 * Every setting: its flag is the name in kebab-case, its variable ISTHMUS_ and the name in capitals unless `env` names
 * the variable that a pod's downward API usually carries.
 */
export const settingRows: Readonly<Record<string, Row>> = {
  relay: { need: true, help: 'host:port of the relay, e.g. relay.isthmus-system.svc:15012' },
  relayUri: {
    need: true,
    help: 'the URI in the relay’s certificate: spiffe://<trust domain>/ns/isthmus-system/sa/relay',
  },
  caFile: { need: true, help: 'PEM file with the control-plane CA' },
  tokenFile: { need: true, help: 'file with the projected service-account token; read again for every call' },
  pod: { need: true, env: 'POD_NAME', help: 'name of this pod' },
  namespace: { need: true, env: 'POD_NAMESPACE', help: 'namespace of this pod' },
  serviceAccount: { need: true, env: 'SERVICE_ACCOUNT', help: 'service account of this pod' },
  workload: { help: 'name of the workload, e.g. reviews-v1; for telemetry' },
  instanceIps: { need: true, env: 'INSTANCE_IP', help: 'IP addresses of this pod, the first is its own' },
  cluster: { need: true, help: 'name of this cluster' },
  network: { need: true, help: 'name of this cluster’s network' },
  mesh: { need: true, help: 'name of the mesh' },
  region: { help: 'region, e.g. eu-central-1' },
  zone: { help: 'zone, e.g. eu-central-1a' },
  labels: { help: 'labels of this pod: app=reviews,version=v1' },
  interception: { standard: 'REDIRECT', help: 'REDIRECT (traffic is redirected to Envoy) or NONE' },
  application: { help: 'with NONE: address of the application' },
  outbound: { help: 'with NONE: address at which Envoy takes outbound HTTP' },
  tcp: { help: 'with NONE: address per TCP service: host:port=ip,host:port=ip' },
  envoy: { standard: '/usr/local/bin/envoy', help: 'Envoy binary' },
  dir: { standard: '/var/run/isthmus/proxy', help: 'working directory: sockets and bootstrap' },
  admin: { help: 'Envoy’s admin: a loopback host:port, or the path of a unix socket (default <dir>/admin.sock)' },
  status: { standard: '127.0.0.1:15020', help: 'host:port of /healthz/ready, /metrics, /quitquitquit' },
  concurrency: { standard: '2', help: 'Envoy’s worker threads' },
  connectionsMax: { standard: '65536', help: 'connections that Envoy accepts at most' },
  drainSecondsMin: { standard: '5', help: 'seconds to go on accepting after SIGTERM, until others have heard of it' },
  drainSecondsMax: { standard: '25', help: 'seconds after SIGTERM at which open connections are cut' },
  logLevel: { standard: 'info', help: 'trace, debug, info, warn or error' },
  envoyLogLevel: { standard: 'warning', help: 'trace, debug, info, warning, error, critical or off' },
}

export const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`
export const variableOf = (name: string): string =>
  settingRows[name]?.env ?? `ISTHMUS_${name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`

/**
 * The settings of one proxy. Throws `invalid` with every violation at once; each names the setting, its flag and
 * variable, what is wrong and what it should look like.
 */
export function parseSettings(type: string | undefined, raw: RawSettings): ProxySettings {
  const violations: Violation[] = []
  const fail = (name: string, reason: string): undefined => {
    const row = settingRows[name]
    const where = row ? ` (${flagOf(name)}, ${variableOf(name)}, or "${name}" in the settings file: ${row.help})` : ''
    violations.push({ path: name, reason: `${reason}${where}` })
  }
  for (const name of Object.keys(raw))
    if (!(name in settingRows)) fail(name, `there is no such setting; known: ${Object.keys(settingRows).join(', ')}`)

  const text = (name: string): string => {
    const value = raw[name] ?? settingRows[name]?.standard
    if (value === undefined || value === '') {
      if (settingRows[name]?.need) fail(name, 'is missing')
      return ''
    }
    if (typeof value === 'string') return value
    if (typeof value === 'number') return String(value)
    fail(name, `must be text, not ${Array.isArray(value) ? 'a list' : typeof value}`)
    return ''
  }
  const label = (name: string): string => {
    const value = text(name)
    const fault = value === '' ? undefined : labelFault(value)
    if (fault) fail(name, `"${value}" ${fault}`)
    return value
  }
  const dotted = (name: string): string => {
    const value = text(name)
    if (value.split('.').some((part) => value !== '' && labelFault(part) !== undefined) || value.length > 253)
      fail(name, `"${value}" is not a Kubernetes name: DNS labels joined by dots`)
    return value
  }
  const hostPort = (name: string): HostPort => {
    const value = text(name)
    const found = value === '' ? undefined : hostPortOf(value)
    if (value !== '' && !found) fail(name, `"${value}" is not host:port`)
    return found ?? { host: '', port: 0 }
  }
  const oneOf = <T extends string>(name: string, allowed: readonly T[]): T | undefined => {
    const value = text(name)
    return allowed.find((one) => one === value) ?? fail(name, `"${value}" is not one of ${allowed.join(', ')}`)
  }
  const count = (name: string, min: number, max: number): number => {
    const value = text(name)
    const found = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN
    if (!(found >= min && found <= max)) fail(name, `"${value}" is not a whole number from ${min} to ${max}`)
    return found
  }
  const ip = (name: string): string => {
    const value = text(name)
    if (value !== '' && isIP(value) === 0) fail(name, `"${value}" is not an IP address`)
    return value
  }
  const table = (name: string): Record<string, string> => {
    const value = raw[name] ?? ''
    const found = tableOf(value)
    if (!found) fail(name, 'is not a table: write key=value,key=value, or an object of texts in the file')
    return found ?? {}
  }

  const side = type === 'sidecar' || type === 'router' ? type : undefined
  if (!side)
    fail('type', `"${type ?? ''}" is not a kind of proxy; write: isthmus proxy sidecar, or isthmus proxy router`)
  const dir = resolve(text('dir'))
  const relayUri = text('relayUri')
  const trustDomain = relayUri.match(/^spiffe:\/\/([a-z0-9][-a-z0-9.]*)\/ns\/isthmus-system\/sa\/relay$/)?.[1]
  if (relayUri !== '' && !trustDomain) fail('relayUri', `"${relayUri}" is not the URI of a relay`)
  const instanceIps = listOf(raw['instanceIps'])
  if (instanceIps.length === 0) fail('instanceIps', 'is missing')
  for (const one of instanceIps) if (isIP(one) === 0) fail('instanceIps', `"${one}" is not an IP address`)
  const interception = oneOf('interception', ['NONE', 'REDIRECT'] as const)
  const application = ip('application')
  const outbound = ip('outbound')
  const tcp = table('tcp')
  for (const [service, address] of Object.entries(tcp)) {
    if (!hostPortOf(service)) fail('tcp', `"${service}" is not host:port`)
    if (isIP(address) === 0) fail('tcp', `"${address}" (of ${service}) is not an IP address`)
  }
  const withPlain = side === 'sidecar' && interception === 'NONE'
  if (withPlain && application === '') fail('application', 'is missing, and interception is NONE')
  if (withPlain && outbound === '') fail('outbound', 'is missing, and interception is NONE')

  const adminText = text('admin')
  const admin = adminOf(adminText, dir)
  if (!admin) fail('admin', `"${adminText}" is neither a socket path nor a loopback address with a port`)
  for (const socket of [join(dir, socketNames.secrets), ...(admin && 'socket' in admin ? [admin.socket] : [])])
    if (Buffer.byteLength(socket) > 107)
      fail('dir', `the path ${socket} is longer than the 107 bytes of a unix socket; use a shorter directory`)
  const workload = text('workload')
  const region = text('region')
  const zone = text('zone')

  const settings = {
    relay: hostPort('relay'),
    relayUri,
    trustDomain: trustDomain ?? '',
    caFile: text('caFile'),
    tokenFile: text('tokenFile'),
    pod: dotted('pod'),
    namespace: label('namespace'),
    serviceAccount: dotted('serviceAccount'),
    ...(workload === '' ? {} : { workload }),
    cluster: label('cluster'),
    network: label('network'),
    mesh: label('mesh'),
    ...(region === '' ? {} : { region }),
    ...(zone === '' ? {} : { zone }),
    labels: table('labels'),
    ...(withPlain ? { plain: { application, outbound, tcp } } : {}),
    envoy: text('envoy'),
    dir,
    status: hostPort('status'),
    concurrency: count('concurrency', 1, 256),
    connectionsMax: count('connectionsMax', 16, 10_000_000),
    drainSecondsMin: count('drainSecondsMin', 0, 3600),
    drainSecondsMax: count('drainSecondsMax', 0, 3600),
    logLevel: oneOf('logLevel', ['trace', 'debug', 'info', 'warn', 'error']) ?? 'info',
    envoyLogLevel:
      oneOf('envoyLogLevel', ['trace', 'debug', 'info', 'warning', 'error', 'critical', 'off']) ?? 'warning',
  }
  if (settings.drainSecondsMin > settings.drainSecondsMax)
    fail('drainSecondsMin', `${settings.drainSecondsMin} is more than drainSecondsMax, ${settings.drainSecondsMax}`)
  const [first, ...others] = instanceIps
  if (violations.length > 0 || !side || !interception || !admin || !first) throw notValid(violations)
  return { ...settings, type: side, interception, admin, instanceIps: [first, ...others] }
}

/** Names inside the working directory. */
export const socketNames = { secrets: 'sds.sock', admin: 'admin.sock' } as const

const notValid = (violations: readonly Violation[]): Problem =>
  new Problem(
    'invalid',
    `the settings of this proxy are not valid: ${violations.map((v) => `${v.path} ${v.reason}`).join('; ')}`,
    {
      violations,
    },
  )

/** Flags (`--relay-uri X`, `--relay-uri=X`) by setting name; throws `invalid` on an unknown flag or a missing value. */
export function parseFlags(argv: readonly string[]): {
  readonly positional: readonly string[]
  readonly flags: Record<string, string>
} {
  const names = new Map(['settings', ...Object.keys(settingRows)].map((name) => [flagOf(name), name]))
  const positional: string[] = []
  const flags: Record<string, string> = {}
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? ''
    if (!word.startsWith('--')) {
      positional.push(word)
      continue
    }
    const equals = word.indexOf('=')
    const name = names.get(equals < 0 ? word : word.slice(0, equals))
    if (!name) throw new Problem('invalid', `there is no flag ${word}; known: ${[...names.keys()].join(' ')}`)
    if (equals < 0) at += 1
    const value = equals < 0 ? argv[at] : word.slice(equals + 1)
    if (value === undefined)
      throw new Problem('invalid', `flag ${word} needs a value: ${settingRows[name]?.help ?? 'a file'}`)
    flags[name] = value
  }
  return { positional, flags }
}

/** The settings that the environment carries; an empty variable counts as absent. */
export function settingsOfEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const named = Object.keys(settingRows).map((name) => [name, env[variableOf(name)] ?? ''] as const)
  return Object.fromEntries(named.filter(([, value]) => value !== ''))
}

function hostPortOf(text: string): HostPort | undefined {
  const found = text.match(/^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):([0-9]{1,5})$/)
  const host = found?.[1] ?? found?.[2]
  const port = Number(found?.[3])
  const named =
    host !== undefined && (isIP(host) !== 0 || host.split('.').every((part) => labelFault(part) === undefined))
  return host !== undefined && named && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

function adminOf(text: string, dir: string): AdminAddress | undefined {
  if (text === '') return { socket: join(dir, socketNames.admin) }
  if (text.startsWith('/')) return { socket: text }
  const found = hostPortOf(text)
  return found && (/^127\./.test(found.host) || found.host === '::1') && isIP(found.host) !== 0 ? found : undefined
}

function listOf(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.map(String)
  return typeof value === 'string'
    ? value
        .split(',')
        .map((one) => one.trim())
        .filter(Boolean)
    : []
}

function tableOf(value: unknown): Record<string, string> | undefined {
  if (typeof value === 'string') {
    const pairs = value
      .split(',')
      .filter(Boolean)
      .map((pair) => pair.match(/^([^=]+)=(.*)$/))
    return pairs.every((pair) => pair !== null)
      ? Object.fromEntries(pairs.map((pair) => [pair[1], pair[2]]))
      : undefined
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined
  const pairs = Object.entries(value)
  return pairs.every(([, one]) => typeof one === 'string') ? Object.fromEntries(pairs) : undefined
}
