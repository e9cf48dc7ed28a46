import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { type AppProbes, parseAppProbes } from '#gateway/proxy/app-probes.ts'
import {
  type HostPort,
  hostPortOf,
  type RawSettings,
  type SettingReader,
  settingReader,
} from '#gateway/proxy/setting-reader.ts'
import type { PlainAddresses } from '#mesh/model/proxy.ts'
import type { AdminAddress } from '#mesh/translate/bootstrap.ts'

/** All that one `isthmus proxy` is told; made once, in main. What each means: `setting-rows.ts`. */
export type ProxySettings = {
  readonly type: 'sidecar' | 'router'
  readonly relay: HostPort
  readonly relayUri: string
  /** That of `relayUri`: a proxy and its relay are of one cluster. */
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
  /** Present for a sidecar with NONE. */
  readonly plain?: PlainAddresses
  /** Of a router. */
  readonly gateway?: HostPort
  readonly envoy: string
  readonly dir: string
  readonly admin: AdminAddress
  readonly status: HostPort
  readonly probes: AppProbes
  readonly concurrency: number
  readonly connectionsMax: number
  readonly drainSecondsMin: number
  readonly drainSecondsMax: number
  readonly logLevel: string
  readonly envoyLogLevel: string
}

/** Names inside the working directory. */
export const socketNames = { secrets: 'sds.sock', admin: 'admin.sock' } as const

/**
 * The settings of one proxy. Throws `invalid` with every violation at once; each names the setting, its flag and
 * variable, what is wrong and what it should look like.
 */
export function parseSettings(type: string | undefined, raw: RawSettings): ProxySettings {
  const read = settingReader(raw)
  if (type !== 'sidecar' && type !== 'router')
    read.fail('type', `"${type ?? ''}" is no kind of proxy; write: isthmus proxy sidecar, or isthmus proxy router`)
  const dir = resolve(read.text('dir'))
  const interception = read.oneOf('interception', ['REDIRECT', 'NONE'])
  const settings: ProxySettings = {
    type: type === 'router' ? type : 'sidecar',
    relay: read.hostPort('relay'),
    ...relayOf(read),
    caFile: read.text('caFile'),
    tokenFile: read.text('tokenFile'),
    pod: read.dotted('pod'),
    namespace: read.label('namespace'),
    serviceAccount: read.dotted('serviceAccount'),
    instanceIps: read.ips('instanceIps'),
    cluster: read.label('cluster'),
    network: read.label('network'),
    mesh: read.label('mesh'),
    ...given(read, ['workload', 'region', 'zone']),
    labels: read.table('labels'),
    interception,
    ...(type === 'sidecar' && interception === 'NONE' ? { plain: plainOf(read) } : {}),
    ...(type === 'router' && read.text('gateway') !== '' ? { gateway: gatewayOf(read) } : {}),
    envoy: resolve(read.text('envoy')),
    dir,
    admin: adminOf(read, dir),
    status: read.hostPort('status'),
    probes: probesOf(read),
    concurrency: read.count('concurrency', 1, 256),
    connectionsMax: read.count('connectionsMax', 16, 10_000_000),
    drainSecondsMin: read.count('drainSecondsMin', 0, 3600),
    drainSecondsMax: read.count('drainSecondsMax', 0, 3600),
    logLevel: read.oneOf('logLevel', ['trace', 'debug', 'info', 'warn', 'error']),
    envoyLogLevel: read.oneOf('envoyLogLevel', ['trace', 'debug', 'info', 'warning', 'error', 'critical', 'off']),
  }
  const { drainSecondsMin, drainSecondsMax } = settings
  if (drainSecondsMin > drainSecondsMax)
    read.fail('drainSecondsMin', `${drainSecondsMin} is more than drainSecondsMax, ${drainSecondsMax}`)
  const sockets = [join(dir, socketNames.secrets), 'socket' in settings.admin ? settings.admin.socket : '']
  const long = sockets.find((path) => Buffer.byteLength(path) > 107)
  if (long) read.fail('dir', `leads to ${long}, longer than the 107 bytes of a unix socket; use a shorter path`)
  read.done()
  return settings
}

function relayOf(read: SettingReader): { readonly relayUri: string; readonly trustDomain: string } {
  const relayUri = read.text('relayUri')
  const trustDomain = relayUri.match(/^spiffe:\/\/([a-z0-9][-a-z0-9.]*)\/ns\/isthmus-system\/sa\/relay$/)?.[1] ?? ''
  if (relayUri !== '' && trustDomain === '') read.fail('relayUri', `"${relayUri}" is not the URI of a relay`)
  return { relayUri, trustDomain }
}

function plainOf(read: SettingReader): PlainAddresses {
  const plain = { application: read.ip('application'), outbound: read.ip('outbound'), tcp: read.table('tcp') }
  for (const name of ['application', 'outbound'] as const)
    if (plain[name] === '') read.fail(name, 'is missing, and interception is NONE')
  for (const [service, address] of Object.entries(plain.tcp)) {
    if (!hostPortOf(service)) read.fail('tcp', `"${service}" is not host:port`)
    if (isIP(address) === 0) read.fail('tcp', `"${address}" (of ${service}) is not an IP address`)
  }
  return plain
}

function probesOf(read: SettingReader): AppProbes {
  const found = parseAppProbes(read.text('probes'))
  if (!found) read.fail('probes', 'is no JSON of probes by path')
  return found ?? new Map()
}

/** What Envoy binds: an address, not a name. */
function gatewayOf(read: SettingReader): HostPort {
  const gateway = read.hostPort('gateway')
  if (gateway.host !== '' && isIP(gateway.host) === 0) read.fail('gateway', `"${gateway.host}" is not an IP address`)
  return gateway
}

/** On the network only where the machine itself can reach it: the admin interface can do anything. */
function adminOf(read: SettingReader, dir: string): AdminAddress {
  const text = read.text('admin')
  if (text === '') return { socket: join(dir, socketNames.admin) }
  if (text.startsWith('/')) return { socket: text }
  const found = hostPortOf(text)
  if (found && isIP(found.host) !== 0 && (found.host.startsWith('127.') || found.host === '::1')) return found
  read.fail('admin', `"${text}" is neither the path of a socket nor a loopback address with a port`)
  return { socket: '' }
}

function given<Name extends string>(read: SettingReader, names: readonly Name[]): { readonly [name in Name]?: string } {
  const found: { [name in Name]?: string } = {}
  for (const name of names) {
    const value = read.text(name)
    if (value !== '') found[name] = value
  }
  return found
}
