import { Problem } from '#mesh/model/problem.ts'

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
  gateway: { help: 'router: IP:port at which the gateway listens; absent: as the relay’s own settings say' },
  envoy: { standard: '/usr/local/bin/envoy', help: 'Envoy binary' },
  dir: { standard: '/var/run/isthmus/proxy', help: 'working directory: sockets and bootstrap' },
  admin: { help: 'Envoy’s admin: a loopback host:port, or the path of a unix socket (default <dir>/admin.sock)' },
  status: { standard: '127.0.0.1:15020', help: 'host:port of /healthz/ready, /metrics, /quitquitquit' },
  probes: {
    help: 'sidecar: the application’s probes by path (/app-health/<container>/readyz), as JSON; made for a kubelet',
  },
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

/** Of a problem of the command line itself, which ends in exit code 2. */
export const usage = { usage: true, mend: 'isthmus proxy --help' } as const

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
    if (!name) throw new Problem('invalid', `there is no flag ${word.split('=')[0]}`, { extra: usage })
    if (equals < 0) at += 1
    const value = equals < 0 ? argv[at] : word.slice(equals + 1)
    if (value === undefined)
      throw new Problem('invalid', `flag ${word} needs a value: ${settingRows[name]?.help ?? 'a file'}`, {
        extra: usage,
      })
    flags[name] = value
  }
  return { positional, flags }
}

/** The settings that the environment carries; an empty variable counts as absent. */
export function settingsOfEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const named = Object.keys(settingRows).map((name) => [name, env[variableOf(name)] ?? ''] as const)
  return Object.fromEntries(named.filter(([, value]) => value !== ''))
}
