import { join } from 'node:path'
import { type Network, openNetwork, openSwitch } from '#tests/support/kubernetes/network.ts'

/**
 * Where clusters meet each other and the test: every cluster is one site of it, with the addresses 172.20.<site>.x. What
 * a cluster has inside (pods, cluster IPs) is not known here.
 */
export const lan = { device: 'lan0', bits: 16, cidr: '172.20.0.0/16', test: '172.20.0.1' } as const

export type Site = Network & { readonly index: number; readonly address: string }

const sitesMax = 250

/** Joins a new network to the LAN of the network that this process is in, which must be one of its own. */
export async function openSite(name: string, dir: string): Promise<Site> {
  await openSwitch(lan.device, `${lan.test}/${lan.bits}`)
  const network = await openNetwork(name, join(dir, 'logs/network.log'))
  const { run } = network
  const index = await plugged(network)
  const address = `172.20.${index}.1`
  await run('ip', 'addr', 'add', `${address}/${lan.bits}`, 'dev', 'eth0')
  await run('ip', 'route', 'add', 'default', 'via', lan.test)
  await run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
  return { ...network, index, address }
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
