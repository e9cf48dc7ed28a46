/** What of a pod's TCP connections goes through Envoy. Absent lists of what is included mean all. */
export type Captured = {
  readonly includeInboundPorts?: readonly number[]
  readonly excludeInboundPorts: readonly number[]
  readonly includeOutboundRanges?: readonly string[]
  readonly excludeOutboundRanges: readonly string[]
  /** Ports that are taken wherever they lead to. */
  readonly includeOutboundPorts: readonly number[]
  readonly excludeOutboundPorts: readonly number[]
}

/** Envoy's listeners, the user as whom it and the program beside it run, and DNS, which is never taken. */
const [outboundPort, inboundPort, proxyUser, dnsPort] = [15001, 15006, 1337, 53]

/** The address from which Envoy calls its own application. */
const families = {
  4: { loopback: '127.0.0.1/32', own: '127.0.0.6/32' },
  6: { loopback: '::1/128', own: '::6/128' },
} as const

/**
 * The rules of one address family, as `iptables-restore --noflush` takes them. Done twice they do the same as once.
 *
 * Incoming connections go to Envoy, and so do outgoing ones unless Envoy's own user makes them. An application that calls
 * itself by the name of its service leaves by Envoy and comes back to it, so that nobody is trusted for being near.
 * Source: Istio, tools/istio-iptables; without DNS and without groups.
 */
export function rulesFor(family: 4 | 6, captured: Captured): string {
  const { loopback, own } = families[family]
  const { excludeInboundPorts, excludeOutboundPorts, includeOutboundPorts } = captured
  const ofFamily = (range: string): boolean => range.includes(':') === (family === 6)
  const ranges = captured.includeOutboundRanges?.filter(ofFamily)
  const inbound = (match: string, target: string): string => `-A ISTHMUS_INBOUND -p tcp${match} -j ${target}`
  const outbound = (match: string, target: string): string => `-A ISTHMUS_OUTPUT${match} -j ${target}`
  const port = (one: number): string => ` --dport ${one}`
  const lines = [
    '*nat',
    ...['INBOUND', 'IN_REDIRECT', 'OUTPUT', 'REDIRECT'].map((name) => `:ISTHMUS_${name} - [0:0]`),
    `-A ISTHMUS_REDIRECT -p tcp -j REDIRECT --to-ports ${outboundPort}`,
    `-A ISTHMUS_IN_REDIRECT -p tcp -j REDIRECT --to-ports ${inboundPort}`,
    '-A PREROUTING -p tcp -j ISTHMUS_INBOUND',
    ...excludeInboundPorts.map((one) => inbound(port(one), 'RETURN')),
    ...(captured.includeInboundPorts?.map(port) ?? ['']).map((match) => inbound(match, 'ISTHMUS_IN_REDIRECT')),
    '-A OUTPUT -p tcp -j ISTHMUS_OUTPUT',
    ...[dnsPort, ...excludeOutboundPorts].map((one) => outbound(` -p tcp${port(one)}`, 'RETURN')),
    outbound(` -s ${own} -o lo`, 'RETURN'),
    outbound(` ! -d ${loopback} -o lo -m owner --uid-owner ${proxyUser}`, 'ISTHMUS_IN_REDIRECT'),
    outbound(` -o lo -m owner ! --uid-owner ${proxyUser}`, 'RETURN'),
    outbound(` -m owner --uid-owner ${proxyUser}`, 'RETURN'),
    outbound(` -d ${loopback}`, 'RETURN'),
    ...captured.excludeOutboundRanges.filter(ofFamily).map((range) => outbound(` -d ${range}`, 'RETURN')),
    ...includeOutboundPorts.map((one) => outbound(` -p tcp${port(one)}`, 'ISTHMUS_REDIRECT')),
    ...(ranges?.map((range) => ` -d ${range}`) ?? ['']).map((match) => outbound(match, 'ISTHMUS_REDIRECT')),
    'COMMIT',
  ]
  return `${lines.join('\n')}\n`
}
