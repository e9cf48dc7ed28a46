import { isIP } from 'node:net'
import type { Centre } from '#control/centre.ts'
import { addressKey } from '#mesh/model/address.ts'
import { answerFault, gatewayAddressFault } from '#mesh/model/gateway-address.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'

/**
 * Refuses what no relay is certified for: anything but the address of one host in its plain spelling, an address of the
 * centre (whoever has it certified could stand in for the centre, which has its certificate from the same authority), and
 * loopback where the centre itself is not dialled on it: then the fleet is no sandbox on one machine.
 *
 * Throws `forbidden` with every violation. Whose an address is among the members is not decided here: clusters may use the
 * same private ones, and a proxy demands the SPIFFE id of its own cluster's relay. See docs/decisions/relay-addresses.md.
 */
export function checkRelayAddresses(ips: readonly string[], centre: Pick<Centre, 'url' | 'reservedIps'>): void {
  const host = new URL(centre.url).hostname.replace(/^\[|\]$/g, '')
  const sandbox = host === 'localhost' || (isIP(host) !== 0 && answerFault(host, false) === 'is a loopback address')
  const reserved = new Set([host, ...centre.reservedIps].map(plain))
  const faultOf = (ip: string): string | undefined => {
    if (isIP(ip) === 0) return 'is no IP address'
    if (reserved.has(plain(ip))) return "is the centre's own address"
    return mappedFault(ip) ?? gatewayAddressFault(ip) ?? answerFault(ip, sandbox)
  }
  const violations = ips.flatMap((ip, n): Violation[] => {
    const reason = faultOf(ip)
    return reason === undefined ? [] : [{ path: `ips[${n}]`, reason: `${JSON.stringify(ip)} ${reason}` }]
  })
  const first = violations[0]
  if (first)
    throw new Problem(
      'forbidden',
      `a relay may not be certified for ${first.reason}: name the addresses at which its own cluster's proxies dial it ` +
        '(relay.address and relay.names of its settings)',
      { violations },
    )
}

const plain = (ip: string): string => addressKey({ address: ip, port: 0 })

/** Validators compare bytes: sixteen of them are not the four that a proxy dials. */
const mappedFault = (ip: string): string | undefined =>
  /^::ffff:/i.test(ip) ? 'is an IPv4 address in IPv6 form: write four decimal numbers' : undefined
