import { createServer } from 'node:net'
import { gatewayAddress, gatewayPort, relayAddress, relayPort, type SandboxPlan, settings } from './plan.ts'

/** What is in the way of a start: one sentence each, with the variable that moves it. Empty = nothing. */
export async function checkAddresses(plan: SandboxPlan): Promise<string[]> {
  const wanted: [string, number, string][] = [
    [plan.centre.host, plan.centre.port, settings.centrePort.variable],
    [plan.shop.host, plan.shop.port, settings.shopPort.variable],
    ...plan.clusters.flatMap((cluster): [string, number, string][] => [
      [relayAddress(cluster), relayPort, settings.firstOctet.variable],
      [gatewayAddress(cluster), gatewayPort, settings.firstOctet.variable],
    ]),
  ]
  const faults = await Promise.all(
    wanted.map(async ([host, port, variable]) => {
      const code = await bindFault(host, port)
      if (code === undefined) return undefined
      const why = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used (${code})`
      return `${host}:${port} ${why}: stop that program, or set ${variable} to another value`
    }),
  )
  return faults.filter((fault) => fault !== undefined)
}

function bindFault(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port }, () => server.close(() => resolve(undefined)))
  })
}
