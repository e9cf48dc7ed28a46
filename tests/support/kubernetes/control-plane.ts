import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findKubernetes } from '#infra/setup/kubernetes.js'
import { type Program, startProgram, tailOf } from '#tests/support/fleet-program.ts'
import type { Credentials } from '#tests/support/kubernetes/credentials.ts'
import type { Network } from '#tests/support/kubernetes/network.ts'
import { apiServerPort } from '#tests/support/kubernetes/node/settings.ts'
import { eventually } from '#tests/support/until.ts'

export type ControlPlaneParts = {
  readonly name: string
  readonly dir: string
  readonly network: Network
  readonly address: string
  readonly serviceCidr: string
  readonly credentials: Credentials
  /** A kubeconfig that names the webhook which knows tokens that this API server does not. */
  readonly tokenWebhook?: string
  /** How often the same object may be asked for and so on: more flags of the API server. */
  readonly apiServerFlags?: readonly string[]
  /** Resolves when the API server says that it is ready, and throws while it does not. */
  readonly ready: () => Promise<void>
}

/** A Kubernetes API server whose program can be ended and started again; its data stays, and its port. */
export type ApiServer = {
  /** SIGKILL. */
  kill(): Promise<void>
  /** Resolves when it is ready. */
  start(): Promise<void>
  /** SIGSTOP and SIGCONT: it holds its connections and says nothing. */
  hang(): void
  goOn(): void
  readonly log: string
}

export type ControlPlane = { readonly apiServer: ApiServer; stop(): Promise<void> }

const etcdUrl = 'http://127.0.0.1:2379'
const readyMs = 120_000

/** Those that the suites need; nodes are not watched, so a node that says nothing is not given up. */
const controllers = [
  ...['deployment', 'replicaset', 'statefulset', 'daemonset', 'job', 'disruption', 'endpointslice', 'namespace'],
  ...['serviceaccount', 'root-ca-certificate-publisher', 'garbage-collector', 'clusterrole-aggregation'],
]

/** etcd, API server and controller manager in a network of their own; resolves when the API server is ready. */
export async function startControlPlane(parts: ControlPlaneParts): Promise<ControlPlane> {
  const { name, dir, network, credentials } = parts
  const programs = findKubernetes()
  if (programs === undefined) throw new Error('Kubernetes is not built: `npm run test:kubernetes` builds it')
  const logOf = (program: string): string => join(dir, 'logs', `${program}.log`)
  const started = (program: string, flags: Readonly<Record<string, string>>, more: readonly string[] = []): Program =>
    startProgram({
      name: `${name}/${program}`,
      command: [...network.enter, join(programs, program), ...flagsOf(flags), ...more],
      log: logOf(program),
    })
  mkdirSync(join(dir, 'etcd'), { recursive: true, mode: 0o700 })
  const etcd = started(
    'etcd',
    {
      'data-dir': join(dir, 'etcd'),
      ...{
        'listen-client-urls': etcdUrl,
        'advertise-client-urls': etcdUrl,
        'listen-peer-urls': 'http://127.0.0.1:2380',
      },
    },
    ['--unsafe-no-fsync'],
  )
  const apiServer = started('kube-apiserver', apiServerFlags(parts), parts.apiServerFlags)
  const controllerManager = startProgram({
    name: `${name}/kube-controller-manager`,
    command: [
      ...[...network.enter, join(programs, 'kube-controller-manager')],
      ...flagsOf({
        kubeconfig: await credentials.kubeconfigOf('kube-controller-manager', ['system:masters']),
        controllers: controllers.map((one) => `${one}-controller`).join(','),
        'leader-elect': 'false',
        'bind-address': '127.0.0.1',
        'root-ca-file': credentials.ca.cert,
        'service-account-private-key-file': credentials.tokens.privateKey,
        // Endpoints are right as soon as pods are: the usual batching is for thousands of them.
        'endpointslice-updates-batch-period': '0s',
      }),
    ],
    log: logOf('kube-controller-manager'),
    // It ends while the API server is away.
    restart: true,
  })
  const untilReady = async (): Promise<void> => {
    await eventually(readyMs, `the API server of ${name} is ready`, async () => {
      if (apiServer.pid() === undefined) throw new Error(`it ended: ${tailOf(logOf('kube-apiserver'), 5)}`)
      await parts.ready()
      return true
    })
  }
  const signal = (one: NodeJS.Signals): void => {
    const pid = apiServer.pid()
    if (pid !== undefined) process.kill(pid, one)
  }
  const stop = async (): Promise<void> => {
    await Promise.all([controllerManager.kill(), apiServer.kill()])
    await etcd.kill()
  }
  try {
    await untilReady()
  } catch (fault) {
    await stop()
    throw fault
  }
  return {
    apiServer: {
      kill: () => apiServer.down(),
      start: async () => {
        apiServer.up()
        await untilReady()
      },
      hang: () => signal('SIGSTOP'),
      goOn: () => signal('SIGCONT'),
      log: logOf('kube-apiserver'),
    },
    stop,
  }
}

function apiServerFlags({ dir, address, serviceCidr, credentials, tokenWebhook }: ControlPlaneParts) {
  const { ca, server, tokens } = credentials
  const policy = join(dir, 'audit-policy.json')
  const rules = [{ level: 'Metadata', omitStages: ['RequestReceived'] }]
  writeFileSync(policy, JSON.stringify({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules }))
  return {
    'etcd-servers': etcdUrl,
    'bind-address': '0.0.0.0',
    'advertise-address': address,
    'secure-port': String(apiServerPort),
    ...{ 'client-ca-file': ca.cert, 'tls-cert-file': server.cert, 'tls-private-key-file': server.key },
    'service-account-key-file': tokens.publicKey,
    'service-account-signing-key-file': tokens.privateKey,
    'service-account-issuer': `https://${address}:${apiServerPort}`,
    'authorization-mode': 'RBAC',
    'service-cluster-ip-range': serviceCidr,
    'allow-privileged': 'true',
    ...{ 'audit-policy-file': policy, 'audit-log-path': auditLogOf(dir), 'audit-log-mode': 'blocking' },
    ...(tokenWebhook === undefined ? {} : { 'authentication-token-webhook-config-file': tokenWebhook }),
    ...(tokenWebhook === undefined ? {} : { 'authentication-token-webhook-cache-ttl': '1s' }),
  }
}

export const auditLogOf = (dir: string): string => join(dir, 'audit.log')

const flagsOf = (flags: Readonly<Record<string, string>>): string[] =>
  Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
