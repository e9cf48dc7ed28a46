import { BlockList, isIP, isIPv4, SocketAddress } from 'node:net'

/** One spelling for each address, so that whoever compares texts compares addresses: lower case, no last dot, short IPv6. */
export function gatewayAddressOf(text: string): string {
  const plain = text.toLowerCase().replace(/(?<=[^.])\.$/, '')
  return isIP(plain) === 6 && !plain.includes('%')
    ? new SocketAddress({ address: plain, family: 'ipv6' }).address
    : plain
}

/** Names that every cluster answers for itself, or nobody does: another cluster's word about them leads astray. */
const ownSuffixes = new Set(['localhost', 'local', 'invalid', 'onion', 'arpa'])
const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/

/**
 * Why `text` cannot be the address of a gateway; undefined for an IP address or a host name of two labels at least, in
 * the spelling of `gatewayAddressOf`. An IPv4 address in odd form (`127.1`, `0x7f.1`) is neither. Loopback is an address
 * like others here: an operator may write one down. Source: RFC 1123 §2.1, RFC 6761, RFC 6762; WHATWG URL "ends in a number".
 */
export function gatewayAddressFault(text: string): string | undefined {
  if (isIP(text) !== 0) {
    if (text.includes('%')) return 'names an interface: use an address that means the same everywhere'
    return text === gatewayAddressOf(text)
      ? unroutable(text)
      : `is written in an odd form: use ${gatewayAddressOf(text)}`
  }
  if (text.length > 253) return `has ${text.length} characters; at most 253`
  if (text.includes('*')) return 'is a wildcard: use the name of one gateway'
  const labels = text.split('.')
  const last = labels.at(-1) ?? ''
  if (/^([0-9]+|0x[0-9a-f]*)$/.test(last)) return 'is an IP address in odd form: write four decimal numbers'
  if (!labels.every((one) => label.test(one)))
    return 'is neither an IP address nor a host name: lower-case labels of a-z, 0-9 and inner hyphens, with dots between'
  if (ownSuffixes.has(last))
    return `ends in .${last}, which means something else in every cluster: use a name of the DNS`
  if (labels.length < 2) return 'is a single label, which means something else in every cluster: use the whole name'
  return undefined
}

/**
 * Why an address that the DNS gave for a gateway's name must not be dialled; undefined where it may. A name is another
 * cluster's word, and must not lead this cluster's proxies to its own machines or its cloud's metadata. Loopback is let
 * through where `loopback` says that the whole fleet lives on it. Private networks are where gateways stand.
 */
export function answerFault(address: string, loopback: boolean): string | undefined {
  if (!loopback && within(loopbacks, address)) return 'is a loopback address'
  return unroutable(address)
}

function unroutable(address: string): string | undefined {
  if (within(linkLocal, address)) return 'is a link-local address'
  return within(nowhere, address) ? 'is no address of a single host' : undefined
}

const listOf = (...subnets: readonly string[]): BlockList => {
  const list = new BlockList()
  for (const subnet of subnets) {
    const [network = '', prefix = ''] = subnet.split('/')
    list.addSubnet(network, Number(prefix), isIPv4(network) ? 'ipv4' : 'ipv6')
  }
  return list
}
// A mapped address (`::ffff:0:0/96`) is judged as the IPv4 address in it; the others that hold one are named (NAT64).
const loopbacks = listOf('127.0.0.0/8', '::1/128', '64:ff9b::7f00:0/104')
// fd00:ec2::/32 holds the metadata and time servers of EC2.
const linkLocal = listOf('169.254.0.0/16', 'fe80::/10', '64:ff9b::a9fe:0/112', 'fd00:ec2::/32')
const nowhere = listOf('0.0.0.0/8', '224.0.0.0/3', '::/128', 'ff00::/8', '64:ff9b::/104', '64:ff9b::e000:0/99')

const within = (list: BlockList, address: string): boolean => list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
