import { decode, encode, type OptAnswer, type Packet } from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerQuery, type Resolve } from '#gateway/dns/answer-query.ts'

const many = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ type: 'A' as const, address: `10.0.0.${n}` }))
const resolve: Resolve = (name) => {
  switch (name) {
    case 'web.shop.svc.clusterset.local':
      return { kind: 'records', records: many(1) }
    case 'big.shop.svc.clusterset.local':
      return { kind: 'records', records: many(100) }
    case '_http._tcp.web.shop.svc.clusterset.local':
      return {
        kind: 'records',
        records: [{ type: 'SRV', port: 80, target: 'web.shop.svc.clusterset.local' }],
        more: [{ type: 'A', address: '10.0.0.0', name: 'web.shop.svc.clusterset.local' }],
      }
    case 'later.shop.svc.clusterset.local':
      return { kind: 'unknown' }
    case 'clusterset.local':
      return { kind: 'no data' }
    default:
      return name.endsWith('.clusterset.local') ? { kind: 'no name' } : { kind: 'not ours' }
  }
}
const queryOf = (name: string, type = 'A', more: Partial<Packet> = {}): Buffer =>
  encode({ type: 'query', id: 4242, flags: 256, questions: [{ name, type: type as 'A', class: 'IN' }], ...more })
const edns = (udpPayloadSize: number, ednsVersion = 0): OptAnswer => ({
  ...{ type: 'OPT', name: '.', udpPayloadSize, extendedRcode: 0, ednsVersion, flags: 0, flag_do: false, options: [] },
})
function answer(query: Buffer, over: 'udp' | 'tcp' = 'udp') {
  const bytes = answerQuery(query, over, resolve)
  if (!bytes) throw new Error('no answer')
  const packet = decode(bytes) as unknown as Packet & {
    rcode: string
    flag_tc: boolean
    flag_aa: boolean
    flag_rd: boolean
  }
  return { bytes, packet, code: packet.rcode }
}

describe('an answer', () => {
  test('repeats id and question as they were written, and is authoritative', () => {
    const { packet, code } = answer(queryOf('WeB.shop.svc.ClusterSet.local'))
    expect(code).toBe('NOERROR')
    expect(packet).toMatchObject({ id: 4242, flag_aa: true, flag_rd: true })
    expect(packet.questions?.[0]?.name).toBe('WeB.shop.svc.ClusterSet.local')
    expect(packet.answers).toMatchObject([
      { name: 'WeB.shop.svc.ClusterSet.local', type: 'A', ttl: 5, data: '10.0.0.0' },
    ])
  })

  test('to SRV brings the address along', () => {
    const { packet } = answer(queryOf('_http._tcp.web.shop.svc.clusterset.local', 'SRV'))
    expect(packet.answers).toMatchObject([{ type: 'SRV', data: { port: 80, target: 'web.shop.svc.clusterset.local' } }])
    expect(packet.additionals).toMatchObject([{ name: 'web.shop.svc.clusterset.local', data: '10.0.0.0' }])
  })

  test('of what is not known is SERVFAIL, of what is not NXDOMAIN with the SOA, of other zones REFUSED', () => {
    expect(answer(queryOf('later.shop.svc.clusterset.local')).code).toBe('SERVFAIL')
    const { packet, code } = answer(queryOf('nobody.clusterset.local'))
    expect(code).toBe('NXDOMAIN')
    expect(packet.authorities).toMatchObject([{ type: 'SOA', name: 'clusterset.local', data: { minimum: 5 } }])
    expect(answer(queryOf('example.com')).code).toBe('REFUSED')
    expect(answer(queryOf('clusterset.local', 'SOA')).packet.answers).toMatchObject([{ type: 'SOA' }])
  })

  test('that does not fit is cut whole, and comes whole over TCP', () => {
    const { packet, bytes } = answer(queryOf('big.shop.svc.clusterset.local'))
    expect(packet).toMatchObject({ flag_tc: true, answers: [] })
    expect(bytes.length).toBeLessThanOrEqual(512)
    expect(answer(queryOf('big.shop.svc.clusterset.local'), 'tcp').packet.answers).toHaveLength(100)
  })

  test('knows EDNS: the size is taken within bounds, another version is told so', () => {
    const big = answer(queryOf('big.shop.svc.clusterset.local', 'A', { additionals: [edns(65_000)] }))
    expect(big.packet.flag_tc).toBe(true)
    expect(big.packet.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232 }])
    const later = answer(queryOf('web.shop.svc.clusterset.local', 'A', { additionals: [edns(1232, 1)] }))
    expect(later.packet.additionals).toMatchObject([{ type: 'OPT', extendedRcode: 1 }])
    expect(answer(queryOf('web.shop.svc.clusterset.local')).packet.additionals).toEqual([])
  })
})

describe('what is no question', () => {
  test('is refused by its fault, and an answer gets none', () => {
    const good = queryOf('web.shop.svc.clusterset.local')
    const update = Buffer.from(good)
    update[2] = 5 << 3
    expect(answer(update).code).toBe('NOTIMP')
    expect(answer(good.subarray(0, 20)).code).toBe('FORMERR')
    expect(answer(queryOf('a.clusterset.local', 'A', { questions: [] })).code).toBe('FORMERR')
    const reply = Buffer.from(good)
    reply[2] = 0x80
    expect(answerQuery(reply, 'udp', resolve)).toBeUndefined()
    expect(answerQuery(Buffer.alloc(11), 'udp', resolve)).toBeUndefined()
  })

  test('whatever comes, nothing is thrown and what goes out is an answer to it', () => {
    const good = queryOf('web.shop.svc.clusterset.local', 'A', { additionals: [edns(4096)] })
    const damaged = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 })
      .map((edits) => edits.reduce((bytes, [at, byte]) => bytes.fill(byte, at, at + 1), Buffer.from(good)))
    const cut = fc.tuple(damaged, fc.nat(good.length)).map(([bytes, end]) => bytes.subarray(0, end))
    const any = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(damaged, cut, any), fc.constantFrom('udp' as const, 'tcp' as const), (query, over) => {
        const given = answerQuery(Buffer.from(query), over, resolve)
        if (given === undefined) return
        expect(given.readUInt16BE(0)).toBe(query.readUInt16BE(0))
        expect((given[2] ?? 0) & 0x80).toBe(0x80)
        if (over === 'udp') expect(given.length).toBeLessThanOrEqual(1232)
      }),
      { numRuns: 2000 },
    )
  })
})
