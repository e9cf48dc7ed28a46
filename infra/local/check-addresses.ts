import { createServer } from 'node:net'
import {
  appPort,
  type ClusterPlan,
  gatewayAddress,
  gatewayPort,
  podAddresses,
  proxyStatusPort,
  relayAddress,
  relayPort,
  type SandboxPlan,
  settings,
  statusPort,
} from './plan.ts'
import { type PortOwner, portOwner } from './port-owner.ts'
import { supervisorOf } from './supervisor.ts'

type Wanted = { readonly host: string; readonly port: number; readonly what: string; readonly variable: string }
type Taken = Wanted & { readonly code: string }

const toldMax = 3

/**
 * What is in the way of a start: a few sentences with who it is and the variable that moves us; another sandbox, which has
 * them all, is one. Empty = nothing.
 */
export const checkAddresses = (plan: SandboxPlan): Promise<string[]> => faultsOf(wantedBy(plan))

/** The same for one cluster that is added to a running sandbox. */
export const checkClusterAddresses = (cluster: ClusterPlan): Promise<string[]> => faultsOf(wantedByCluster(cluster))

async function faultsOf(wanted: readonly Wanted[]): Promise<string[]> {
  const codes = await Promise.all(wanted.map(bindFault))
  const taken = wanted.flatMap((one, n): Taken[] => (codes[n] === undefined ? [] : [{ ...one, code: codes[n] }]))
  const faults: string[] = []
  for (const one of taken) {
    if (faults.length === toldMax) return [...faults, `and ${taken.length - toldMax} more addresses are taken`]
    const owner = one.code === 'EADDRINUSE' ? portOwner(one.host, one.port) : undefined
    const sandbox = owner && supervisorOf(owner.pid)
    if (sandbox) return [besideSandbox(sandbox.pid, one)]
    faults.push(faultOf(one, owner))
  }
  return faults
}

function besideSandbox(pid: number, { host, port }: Wanted): string {
  const { firstOctet, centrePort, shopPort } = settings
  return (
    `a sandbox runs already on these addresses (pid ${pid}; it has ${host}:${port}): end it (Ctrl-C there), or give this ` +
    `one others with ${firstOctet.variable}, ${centrePort.variable} and ${shopPort.variable}`
  )
}

function wantedBy(plan: SandboxPlan): Wanted[] {
  const { centrePort, shopPort } = settings
  return [
    { ...plan.centre, what: 'the centre', variable: centrePort.variable },
    { ...plan.shop, what: 'the front door', variable: shopPort.variable },
    ...plan.clusters.flatMap(wantedByCluster),
  ]
}

function wantedByCluster(cluster: ClusterPlan): Wanted[] {
  const on = (host: string, port: number, what: string): Wanted => ({
    ...{ host, port, what: `${what} of ${cluster.name}` },
    variable: settings.firstOctet.variable,
  })
  return [
    on(relayAddress(cluster), relayPort, 'the relay'),
    on(relayAddress(cluster), statusPort, 'the relay’s status'),
    on(relayAddress(cluster), proxyStatusPort, 'the gateway’s status'),
    on(gatewayAddress(cluster), gatewayPort, 'the gateway'),
    ...cluster.pods.flatMap(([app], n) =>
      Object.values(podAddresses(cluster, n + 1)).map((host) => on(host, appPort, `pod ${app}`)),
    ),
  ]
}

function faultOf({ host, port, what, variable, code }: Taken, owner: PortOwner | undefined): string {
  const mend = `or set ${variable} to another value`
  if (code !== 'EADDRINUSE') return `${host}:${port}, wanted for ${what}, cannot be used (${code}): mend that, ${mend}`
  const by = owner ? `${owner.words} (pid ${owner.pid})` : 'a program that cannot be seen from here'
  return `${host}:${port}, wanted for ${what}, is taken by ${by}: stop it, ${mend}`
}

function bindFault({ host, port }: Wanted): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port }, () => server.close(() => resolve(undefined)))
  })
}
