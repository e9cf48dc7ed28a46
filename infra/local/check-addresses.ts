import { createServer } from 'node:net'
import {
  appPort,
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
import { portOwner } from './port-owner.ts'

type Wanted = { readonly host: string; readonly port: number; readonly what: string; readonly variable: string }

/** What is in the way of a start: one sentence each, with who it is and the variable that moves us. Empty = nothing. */
export async function checkAddresses(plan: SandboxPlan): Promise<string[]> {
  const faults = await Promise.all(wantedBy(plan).map(async (one) => faultOf(one, await bindFault(one))))
  return faults.filter((fault) => fault !== undefined)
}

function wantedBy(plan: SandboxPlan): Wanted[] {
  const { centrePort, shopPort, firstOctet } = settings
  return [
    { ...plan.centre, what: 'the centre', variable: centrePort.variable },
    { ...plan.shop, what: 'the front door', variable: shopPort.variable },
    ...plan.clusters.flatMap((cluster) => {
      const on = (host: string, port: number, what: string): Wanted => ({
        ...{ host, port, what: `${what} of ${cluster.name}` },
        variable: firstOctet.variable,
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
    }),
  ]
}

function faultOf({ host, port, what, variable }: Wanted, code: string | undefined): string | undefined {
  if (code === undefined) return undefined
  const mend = `or set ${variable} to another value`
  if (code !== 'EADDRINUSE') return `${host}:${port}, wanted for ${what}, cannot be used (${code}): mend that, ${mend}`
  const owner = portOwner(host, port) ?? 'a program that cannot be seen from here'
  return `${host}:${port}, wanted for ${what}, is taken by ${owner}: stop it, ${mend}`
}

function bindFault({ host, port }: Wanted): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port }, () => server.close(() => resolve(undefined)))
  })
}
