import { Resolver } from 'node:dns/promises'
import { answerFault } from '#mesh/model/gateway-address.ts'

/** What the DNS said of a name. `none`: it has no address that may be dialled. `failed`: nothing was said, so nothing is known. */
export type Answer =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[]; readonly ttlSeconds: number }
  | { readonly kind: 'none'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string }

/** Asks for the addresses of one name. Never rejects. */
export type Ask = (name: string) => Promise<Answer>

export type DnsSettings = {
  /** Whether answers may be loopback addresses: only where the whole fleet lives on it. */
  readonly loopback: boolean
  /** `<ip>:<port>`; the system's where absent. */
  readonly servers?: readonly string[]
  readonly timeoutMs?: number
  readonly tries?: number
}

type Found = { readonly address: string; readonly ttl: number }

/**
 * Asks the DNS directly, so that lifetimes are known; the hosts file and search domains do not count. IPv6 only where the
 * name has no IPv4 address: an address that proxies cannot reach would cost its cluster's share of traffic.
 */
export function dnsAsk(settings: DnsSettings): { readonly ask: Ask; readonly stop: () => void } {
  let resolver = newResolver(settings)
  return { ask, stop: () => resolver.cancel() }

  async function ask(name: string): Promise<Answer> {
    try {
      const found = await lookUp(name)
      return found.length === 0
        ? { kind: 'none', reason: 'the name has no address' }
        : checked(found, settings.loopback)
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException
      // A new one reads the system's settings again: they may have changed with the network.
      resolver = newResolver(settings)
      return code === 'ENOTFOUND'
        ? { kind: 'none', reason: 'the name does not exist (NXDOMAIN)' }
        : { kind: 'failed', reason: reasons[code] ?? message }
    }
  }

  async function lookUp(name: string): Promise<readonly Found[]> {
    const found = await resolver.resolve4(name, { ttl: true }).catch(noneOfFamily)
    return found.length > 0 ? found : await resolver.resolve6(name, { ttl: true }).catch(noneOfFamily)
  }
}

const reasons: Readonly<Record<string, string>> = {
  ETIMEOUT: 'no DNS server answered in time',
  ECONNREFUSED: 'no DNS server could be reached',
  ESERVFAIL: 'the DNS server failed (SERVFAIL)',
  EREFUSED: 'the DNS server refused (REFUSED)',
}

function noneOfFamily(error: NodeJS.ErrnoException): readonly Found[] {
  if (error.code === 'ENODATA') return []
  throw error
}

function newResolver({ servers, timeoutMs = 2000, tries = 2 }: DnsSettings): Resolver {
  const resolver = new Resolver({ timeout: timeoutMs, tries })
  if (servers) resolver.setServers(servers)
  return resolver
}

/** Refused addresses are left out; where all are, the name has none. */
function checked(found: readonly Found[], loopback: boolean): Answer {
  const good = found.filter(({ address }) => answerFault(address, loopback) === undefined)
  const [first] = found
  if (good.length === 0 && first)
    return {
      kind: 'none',
      reason: `${first.address} ${answerFault(first.address, loopback)}, which no gateway's name may lead to`,
    }
  return {
    kind: 'addresses',
    addresses: good.map(({ address }) => address),
    ttlSeconds: Math.min(...good.map(({ ttl }) => ttl)),
  }
}
