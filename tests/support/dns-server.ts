import { createSocket } from 'node:dgram'

/** What a name answers: addresses (IPv4 and IPv6), a refusal by its code, or nothing at all. */
export type Zone = { readonly addresses: readonly string[]; readonly ttl: number } | 'NXDOMAIN' | 'SERVFAIL' | 'silence'

export type DnsServer = {
  /** `127.0.0.1:<port>` */
  readonly address: string
  readonly set: (name: string, zone: Zone) => void
  /** Names that were asked for, in order, IPv4 questions only. */
  readonly asked: string[]
  readonly stop: () => void
}

const codes = { NXDOMAIN: 3, SERVFAIL: 2 } as const
const types = { 1: 4, 28: 6 } as const

/** A small real DNS server on loopback. A name that was never set does not exist. Source: RFC 1035 §4. */
export async function startDns(zones: Readonly<Record<string, Zone>> = {}): Promise<DnsServer> {
  const known = new Map(Object.entries(zones))
  const asked: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (query, { port, address }) => {
    const { name, type, end } = questionOf(query)
    if (type === 1) asked.push(name)
    const zone = known.get(name) ?? 'NXDOMAIN'
    if (zone === 'silence') return
    const family = types[type as keyof typeof types]
    const found = typeof zone === 'string' ? [] : zone.addresses.filter((one) => (one.includes(':') ? 6 : 4) === family)
    const head = Buffer.alloc(12)
    query.copy(head, 0, 0, 2)
    head.writeUInt16BE(0x8180 | (typeof zone === 'string' ? codes[zone] : 0), 2)
    head.writeUInt16BE(1, 4)
    head.writeUInt16BE(found.length, 6)
    const records = found.map((one) => recordOf(one, type, typeof zone === 'string' ? 0 : zone.ttl))
    socket.send(Buffer.concat([head, query.subarray(12, end), ...records]), port, address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${socket.address().port}`,
    set: (name, zone) => void known.set(name, zone),
    asked,
    stop: () => void socket.close(),
  }
}

function questionOf(query: Buffer): { readonly name: string; readonly type: number; readonly end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

/** A record of the question's own name. */
function recordOf(address: string, type: number, ttl: number): Buffer {
  const data = type === 1 ? Buffer.from(address.split('.').map(Number)) : bytesOfIpv6(address)
  const head = Buffer.alloc(12)
  head.writeUInt16BE(0xc00c, 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt32BE(ttl, 6)
  head.writeUInt16BE(data.length, 10)
  return Buffer.concat([head, data])
}

function bytesOfIpv6(address: string): Buffer {
  const [left = '', right = ''] = address.split('::')
  const groups = (text: string) => text.split(':').filter((group) => group !== '')
  const missing = 8 - groups(left).length - groups(right).length
  const all = [...groups(left), ...Array.from({ length: missing }, () => '0'), ...groups(right)]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}
