import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** One cluster of the sandbox: a directory, a /16 of loopback, a relay, a gateway and its pods. */
export type ClusterPlan = {
  readonly name: string
  readonly region: string
  readonly zone: string
  readonly network: string
  /** Second octet: everything of the cluster lives on 127.<octet>.0.0/16. */
  readonly octet: number
  readonly dir: string
  /** Bookinfo pods of the first start: app and version. */
  readonly pods: readonly (readonly [app: string, version: string])[]
}

export type SandboxPlan = {
  readonly dir: string
  /** Sockets and tokens of one run. Unix sockets allow 107 bytes: whatever the length of `dir`, this is short. */
  readonly runDir: string
  readonly centre: { readonly host: string; readonly port: number; readonly dir: string }
  readonly shop: { readonly host: string; readonly port: number }
  readonly clusters: readonly ClusterPlan[]
}

/**
 * Addresses and ports of the sandbox, each with the variable that moves it. A port that is taken is told with the name
 * of its variable.
 */
export const settings = {
  directory: { variable: 'ISTHMUS_SANDBOX', standard: '.isthmus/sandbox', what: 'directory of the fleet' },
  centrePort: { variable: 'ISTHMUS_SANDBOX_CENTRE_PORT', standard: '7400', what: 'port of the centre' },
  shopPort: { variable: 'ISTHMUS_SANDBOX_SHOP_PORT', standard: '8080', what: 'port of the shop' },
  firstOctet: {
    variable: 'ISTHMUS_SANDBOX_OCTET',
    standard: '21',
    what: 'clusters are on 127.<it>.0.0/16 and the next two',
  },
} as const

type Setting = { readonly variable: string; readonly standard: string }
type Environment = Readonly<Record<string, string | undefined>>

/**
 * The environment of a smoke test: a fleet of its own, beside the sandbox that the environment means, so that it never
 * empties one: the neighbouring directory, and addresses ten further.
 */
export function smokeEnvironment(env: Environment): Environment {
  const { directory, centrePort, shopPort, firstOctet } = settings
  const named = env[directory.variable]
  const beside = ({ variable, standard }: Setting, last: number) => {
    const number = Number(env[variable] || standard)
    return { [variable]: Number.isInteger(number) ? String(number + (number + 10 > last ? -10 : 10)) : env[variable] }
  }
  return {
    ...env,
    ...beside(centrePort, 65535),
    ...beside(shopPort, 65535),
    ...beside(firstOctet, 250),
    [directory.variable]: named ? `${named.replace(/\/+$/, '')}-smoke` : '.isthmus/smoke',
  }
}

export const relayPort = 15012
export const statusPort = 15014
export const gatewayPort = 15443
export const proxyStatusPort = 15020
export const appPort = 9080
export const namespace = 'bookinfo'

/**
 * The service whose TCP and TLS ports every pod can call: without redirection each TCP service needs an address of its own
 * in every pod, and the sidecar is told of it when it starts.
 */
export const streamService = `streams.${namespace}.svc.cluster.local`
export const streamPorts = { tcp: 9000, tls: 9443 } as const

/**
 * Every service in two clusters, productpage in all, and each cluster without one of them, so that every page view
 * crosses a border: virginia-1 has no reviews, virginia-2 no ratings, ireland-1 no details. One in six crosses two: from
 * ireland-1 to the details of virginia-2, and for the stars there to the ratings of virginia-1.
 */
const first: readonly Omit<ClusterPlan, 'octet' | 'dir'>[] = [
  {
    name: 'virginia-1',
    region: 'us-east-1',
    zone: 'us-east-1a',
    network: 'virginia-1',
    pods: [
      ['productpage', 'v1'],
      ['details', 'v1'],
      ['ratings', 'v1'],
    ],
  },
  {
    name: 'virginia-2',
    region: 'us-east-1',
    zone: 'us-east-1b',
    network: 'virginia-2',
    pods: [
      ['productpage', 'v1'],
      ['details', 'v1'],
      ['reviews', 'v2'],
    ],
  },
  {
    name: 'ireland-1',
    region: 'eu-west-1',
    zone: 'eu-west-1a',
    network: 'ireland-1',
    pods: [
      ['productpage', 'v1'],
      ['reviews', 'v1'],
      ['reviews', 'v3'],
      ['ratings', 'v1'],
    ],
  },
]

export function planSandbox(root: string, env: Environment): SandboxPlan {
  const value = (of: keyof typeof settings) => env[settings[of].variable] || settings[of].standard
  const port = (of: keyof typeof settings) => {
    const number = Number(value(of))
    if (Number.isInteger(number) && number >= 1 && number <= 65535) return number
    throw new Error(`${settings[of].variable}="${value(of)}" is not a port: give a number from 1 to 65535`)
  }
  const octet = Number(value('firstOctet'))
  if (!(Number.isInteger(octet) && octet >= 2 && octet <= 250))
    throw new Error(`${settings.firstOctet.variable}="${value('firstOctet')}" is not a number from 2 to 250`)
  const dir = resolve(root, value('directory'))
  return {
    dir,
    runDir: join(tmpdir(), `isthmus-${createHash('sha256').update(dir).digest('hex').slice(0, 8)}`),
    centre: { host: '127.0.0.1', port: port('centrePort'), dir: join(dir, 'centre') },
    shop: { host: '127.0.0.1', port: port('shopPort') },
    clusters: first.map((cluster, n) => ({ ...cluster, octet: octet + n, dir: join(dir, 'clusters', cluster.name) })),
  }
}

export const relayAddress = (cluster: ClusterPlan): string => `127.${cluster.octet}.0.1`
export const gatewayAddress = (cluster: ClusterPlan): string => `127.${cluster.octet}.0.2`

/**
 * The addresses of a cluster's p-th pod (1-based): its own (Envoy's inbound), its application's, its outbound HTTP's, and
 * where it calls the TCP and TLS ports of `streamService`.
 */
export const podAddresses = (cluster: ClusterPlan, pod: number) => ({
  inbound: `127.${cluster.octet}.${pod}.1`,
  application: `127.${cluster.octet}.${pod}.2`,
  outbound: `127.${cluster.octet}.${pod}.3`,
  streams: `127.${cluster.octet}.${pod}.4`,
})
