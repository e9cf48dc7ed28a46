import { join } from 'node:path'
import { here, type Network, openNetwork, openSwitch } from '#tests/support/kubernetes/network.ts'

/**
 * Where clusters meet each other and the test: every cluster is one site of it, with the addresses 172.20.<site>.x. What
 * a cluster has inside (pods, cluster IPs) is not known here.
 */
export const lan = { device: 'lan0', bits: 16, cidr: '172.20.0.0/16', test: '172.20.0.1' } as const

export type Site = Network & {
  readonly address: string
  /** Addresses of its load balancers. */
  readonly balancerCidr: string
  /** From these its pods call what is on the LAN, and are answered. */
  readonly egressCidr: string
  /** Makes addresses that it has inside known to all. */
  route(cidr: string): Promise<void>
}

const sitesMax = 60

/** Joins a new network to the LAN of the network that this process is in, which must be one of its own. */
export async function openSite(name: string, dir: string): Promise<Site> {
  await openSwitch(lan.device, `${lan.test}/${lan.bits}`)
  const network = await openNetwork(name, join(dir, 'logs/network.log'))
  const { run } = network
  const index = await plugged(network)
  const address = `172.20.${index}.1`
  await run('ip', 'addr', 'add', `${address}/${lan.bits}`, 'dev', 'eth0')
  await run('ip', 'route', 'add', 'default', 'via', lan.test)
  const route = async (cidr: string): Promise<void> => void (await here('ip', 'route', 'replace', cidr, 'via', address))
  const egressCidr = `100.${64 + index}.0.0/16`
  await route(egressCidr)
  return { ...network, address, egressCidr, route, balancerCidr: `172.20.${index}.128/25` }
}

/** The first number that no other site has, of whichever process. */
async function plugged({ plug }: Network): Promise<number> {
  for (let index = 1; index < sitesMax; index++)
    try {
      await plug(`site${index}`, lan.device)
      return index
    } catch (fault) {
      if (!/File exists/.test(String(fault))) throw fault
    }
  throw new Error(`there are ${sitesMax} sites on the LAN already`)
}

/** Why there can be no clusters here; undefined where there can. */
export function whyNoLan(): string | undefined {
  return process.env['ISTHMUS_OWN_NETWORK'] === undefined
    ? 'clusters need a network of their own: run `npm run test:kubernetes -- <file>` instead of vitest itself'
    : undefined
}
