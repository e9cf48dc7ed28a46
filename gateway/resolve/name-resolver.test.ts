import { afterEach, describe, expect, test } from 'vitest'
import { dnsAsk } from '#gateway/resolve/ask-dns.ts'
import { type Answers, type NameResolver, openResolver, type ResolverParts } from '#gateway/resolve/name-resolver.ts'
import { type DnsServer, startDns, type Zone } from '#tests/support/dns-server.ts'
import { eventually } from '#tests/support/until.ts'

const name = 'gw.example.com'
const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

/** A resolver that asks a real DNS server on loopback, hurried: a second of its life is 10 ms. */
async function follow(
  zones: Readonly<Record<string, Zone>>,
  more: Partial<ResolverParts> & { readonly loopback?: boolean } = {},
): Promise<{ readonly dns: DnsServer; readonly resolver: NameResolver; readonly changes: Answers[] }> {
  const dns = await startDns(zones)
  const { ask, stop } = dnsAsk({ loopback: more.loopback === true, servers: [dns.address], timeoutMs: 60, tries: 1 })
  const changes: Answers[] = []
  const resolver = openResolver({
    ask,
    saved: new Map(),
    onChange: (answers) => changes.push(answers),
    log: { warn: () => undefined, info: () => undefined },
    limits: { askMsMin: 30, askMsMax: 60, lingerMs: 200, missingMs: 400, ...more.limits },
    ...(more.saved ? { saved: more.saved } : {}),
  })
  stops.push(resolver.stop, stop, dns.stop)
  resolver.want(Object.keys(zones))
  return { dns, resolver, changes }
}
const of = (...addresses: string[]): Zone => ({ addresses, ttl: 0 })
const dialled = (resolver: NameResolver, one = name): readonly string[] => resolver.answers().get(one) ?? []
const becomes = (resolver: NameResolver, ...addresses: string[]) =>
  eventually(5000, addresses.join(' ') || 'nothing', () => {
    expect(dialled(resolver)).toEqual(addresses)
    return true
  })
const askedAgain = async (dns: DnsServer, times = 3) => {
  const before = dns.asked.length
  await eventually(5000, 'it is asked again', () => dns.asked.length >= before + times)
}

describe('a name of a gateway, asked of a real DNS server', () => {
  test('its addresses move: the new one comes at once, the old one goes a moment later', async () => {
    const { dns, resolver, changes } = await follow({ [name]: of('203.0.113.1') }, { limits: { lingerMs: 900 } })
    await becomes(resolver, '203.0.113.1')
    dns.set(name, of('203.0.113.2'))
    await becomes(resolver, '203.0.113.2')
    expect(changes.map((answers) => answers.get(name)?.join(' '))).toEqual([
      '203.0.113.1',
      '203.0.113.1 203.0.113.2',
      '203.0.113.2',
    ])
  })

  test('TTL 0 is no reason to hurry', async () => {
    const { dns, resolver } = await follow({ [name]: of('203.0.113.1') }, { limits: { askMsMin: 60_000 } })
    await becomes(resolver, '203.0.113.1')
    resolver.want([name, 'other.example.com'])
    await eventually(5000, 'the other is asked', () => dns.asked.includes('other.example.com'))
    expect(dns.asked.filter((one) => one === name)).toHaveLength(1)
  })

  test.each(['SERVFAIL', 'silence'] as const)('%s keeps the last good answer, and is said', async (fault) => {
    const { dns, resolver } = await follow({ [name]: of('203.0.113.1') })
    await becomes(resolver, '203.0.113.1')
    dns.set(name, fault)
    await eventually(5000, 'it is said', () => resolver.faults().length > 0)
    await askedAgain(dns)
    expect(dialled(resolver)).toEqual(['203.0.113.1'])
    expect(resolver.counts()).toEqual({ names: 1, unresolved: 0, stale: 1 })
    dns.set(name, of('203.0.113.7'))
    await eventually(5000, 'the new one', () => dialled(resolver).includes('203.0.113.7'))
    expect(resolver.faults()).toEqual([])
  })

  test.each([['NXDOMAIN', 'NXDOMAIN'] as const, ['an empty answer', of()] as const])(
    '%s keeps it for its time, and then it ends',
    async (_, zone) => {
      const { dns, resolver, changes } = await follow({ [name]: of('203.0.113.1') })
      await becomes(resolver, '203.0.113.1')
      dns.set(name, zone)
      const [fault] = await eventually(5000, 'it is said', () =>
        resolver.faults().length > 0 ? resolver.faults() : undefined,
      )
      expect(fault).toMatchObject({ name })
      await becomes(resolver)
      expect(changes).toHaveLength(2)
      expect(resolver.counts()).toMatchObject({ unresolved: 1 })
    },
  )

  test('a name that is led to the cloud’s metadata or to this machine: refused, and the last good one stays', async () => {
    const { dns, resolver } = await follow({ [name]: of('203.0.113.1') }, { limits: { missingMs: 60_000 } })
    await becomes(resolver, '203.0.113.1')
    for (const [address, why] of [
      ['169.254.169.254', /link-local/],
      ['127.0.0.1', /loopback/],
      ['fd00:ec2::254', /link-local/],
    ] as const) {
      dns.set(name, of(address))
      await eventually(5000, `${address} is refused`, () => resolver.faults().some(({ reason }) => why.test(reason)))
      expect(dialled(resolver)).toEqual(['203.0.113.1'])
    }
    dns.set(name, of('203.0.113.3', '169.254.169.254'))
    await becomes(resolver, '203.0.113.3')
  })

  test('loopback is fine in a fleet that lives on it, link-local not even there', async () => {
    const { resolver } = await follow({ [name]: of('127.31.0.2', '169.254.0.2') }, { loopback: true })
    await becomes(resolver, '127.31.0.2')
  })

  test('IPv6 where there is no IPv4', async () => {
    const { resolver } = await follow({
      [name]: of('2001:db8::1'),
      'both.example.com': of('2001:db8::2', '203.0.113.2'),
    })
    await becomes(resolver, '2001:db8::1')
    await eventually(5000, 'both', () => dialled(resolver, 'both.example.com').join() === '203.0.113.2')
  })

  test('500 addresses: a few of them, and it is said', async () => {
    const many = Array.from({ length: 500 }, (_, i) => `10.7.${i >> 8}.${i % 256}`)
    const { resolver, dns, changes } = await follow({ [name]: of(...many) })
    await eventually(5000, 'an answer', () => dialled(resolver).length > 0)
    expect(dialled(resolver)).toHaveLength(16)
    expect(resolver.faults()[0]?.reason).toBe('it has 500 addresses; only 16 are dialled')
    dns.set(name, of(...many.toReversed()))
    await askedAgain(dns)
    expect(changes).toHaveLength(1)
  })

  test('what an earlier process knew is there before anybody is asked, and outlives a DNS that never answers', async () => {
    const saved = new Map([[name, ['203.0.113.1']]])
    const { dns, resolver, changes } = await follow({ [name]: 'silence' }, { saved })
    expect(changes).toEqual([saved])
    await askedAgain(dns, 2)
    expect(dialled(resolver)).toEqual(['203.0.113.1'])
  })

  test('100 names: a few questions at once; names past the bound are said; a name nobody wants is asked no more', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `gw-${String(i).padStart(3, '0')}.example.com`)
    let now = 0
    let most = 0
    const asked: string[] = []
    const resolver = openResolver({
      ask: async (one) => {
        now += 1
        most = Math.max(most, now)
        asked.push(one)
        await new Promise((resolve) => setTimeout(resolve, 1))
        now -= 1
        return { kind: 'addresses', addresses: ['203.0.113.1'], ttlSeconds: 60 }
      },
      ...{ saved: new Map(), onChange: () => undefined, log: { warn: () => undefined, info: () => undefined } },
      limits: { names: 90 },
    })
    stops.push(resolver.stop)
    resolver.want(names)
    await eventually(5000, 'all are known', () => resolver.answers().size === 90)
    expect(most).toBe(8)
    expect(asked).toHaveLength(90)
    expect(resolver.faults()).toHaveLength(10)
    expect(resolver.counts()).toEqual({ names: 90, unresolved: 10, stale: 0 })
    resolver.want([])
    expect(resolver.answers().size).toBe(0)
    expect(resolver.counts()).toEqual({ names: 0, unresolved: 0, stale: 0 })
  })
})
