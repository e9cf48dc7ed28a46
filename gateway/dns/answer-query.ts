import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type OptAnswer,
  type Packet,
  TRUNCATED_RESPONSE,
} from 'dns-packet'
import { clusterSetZone, type NameAnswer, type NameRecord } from '#mesh/mcs/resolve-name.ts'

export type Resolve = (name: string, type: string) => NameAnswer

/** Larger queries hold nothing that is asked of us. */
export const queryBytesMax = 4096
/** What passes any network in one piece. Source: DNS Flag Day 2020. */
const udpBytesMax = 1232
const tcpBytesMax = 65_535
/** Seconds: short, because addresses of pods move; the MCS API's examples are as short. */
const ttl = 5

const codes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const
type Code = keyof typeof codes

const recursionDesired = 1 << 8

/**
 * The answer to one DNS message, or undefined where it is none that gets one (too short, or an answer itself). Never throws.
 *
 * What nobody has said yet is SERVFAIL and not NXDOMAIN: a resolver asks again and remembers nothing. What does not fit is
 * cut whole, with TC, so that TCP is asked.
 *
 * Source: RFC 1035 §4, RFC 2308 (SOA beside negative answers), RFC 6891 (EDNS), RFC 7766 (TCP), RFC 8482 (ANY).
 */
export function answerQuery(query: Buffer, over: 'udp' | 'tcp', resolve: Resolve): Buffer | undefined {
  if (query.length < 12 || (query[2] ?? 0) >= 0x80) return undefined
  try {
    return answered(query, over, resolve)
  } catch {
    return bare(query, 'FORMERR')
  }
}

function answered(query: Buffer, over: 'udp' | 'tcp', resolve: Resolve): Buffer {
  const opcode = ((query[2] ?? 0) >> 3) & 15
  if (opcode !== 0) return bare(query, 'NOTIMP')
  if (query.length > queryBytesMax || query.readUInt16BE(4) !== 1) return bare(query, 'FORMERR')
  const asked = decode(query)
  const [question] = asked.questions ?? []
  if (!question || !isPlainName(question.name)) return bare(query, 'FORMERR')
  const options = asked.additionals?.filter((one): one is OptAnswer => one.type === 'OPT') ?? []
  const [edns] = options
  const bytesMax = over === 'tcp' ? tcpBytesMax : Math.min(udpBytesMax, Math.max(512, edns?.udpPayloadSize ?? 512))
  const base = {
    id: asked.id ?? 0,
    recursion: query.readUInt16BE(2) & recursionDesired,
    question,
    edns: edns !== undefined,
  }
  if (options.length > 1) return encoded(base, { code: 'FORMERR' })
  if (edns && edns.ednsVersion !== 0) return encoded(base, { code: 'BADVERS' })
  if (question.class !== 'IN' && question.class !== 'ANY') return encoded(base, { code: 'REFUSED' })
  const whole = encoded(base, said(question, resolve))
  return whole.length <= bytesMax ? whole : encoded(base, { code: 'NOERROR', truncated: true })
}

type Question = NonNullable<Packet['questions']>[number]
type Said = {
  readonly code: Code
  readonly truncated?: true
  readonly answers?: readonly Answer[]
  readonly authorities?: readonly Answer[]
  readonly additionals?: readonly Answer[]
}

function said({ name, type: asked }: Question, resolve: Resolve): Said {
  const type: string = asked
  const plain = name.toLowerCase().replace(/\.$/, '')
  // Whoever asks for everything gets the addresses.
  const found = resolve(plain, type === 'ANY' ? 'A' : type)
  switch (found.kind) {
    case 'records':
      return {
        code: 'NOERROR',
        answers: found.records.map((record) => recordOf(name, record)),
        additionals: (found.more ?? []).map((record) => recordOf(name, record)),
      }
    case 'no data':
      if (plain === clusterSetZone && type === 'SOA') return { code: 'NOERROR', answers: [soa] }
      return { code: 'NOERROR', authorities: [soa] }
    case 'no name':
      return { code: 'NXDOMAIN', authorities: [soa] }
    case 'unknown':
      return { code: 'SERVFAIL' }
    case 'not ours':
      return { code: 'REFUSED' }
  }
}

function recordOf(asked: string, record: NameRecord): Answer {
  switch (record.type) {
    case 'A':
    case 'AAAA':
      return { name: record.name ?? asked, type: record.type, ttl, data: record.address }
    case 'SRV':
      return {
        name: asked,
        type: 'SRV',
        ttl,
        data: { priority: 0, weight: 100, port: record.port, target: record.target },
      }
    case 'TXT':
      return { name: asked, type: 'TXT', ttl: 28_800, data: record.text }
  }
}

/** Its last number is how long a negative answer may be remembered. */
const soa: Answer = {
  ...{ name: clusterSetZone, type: 'SOA', ttl },
  data: {
    ...{ mname: `ns.dns.${clusterSetZone}`, rname: `hostmaster.${clusterSetZone}`, serial: 1 },
    ...{ refresh: 7200, retry: 1800, expire: 86_400, minimum: ttl },
  },
}

function encoded(
  { id, recursion, question, edns }: { id: number; recursion: number; question: Question; edns: boolean },
  { code, truncated, answers = [], authorities = [], additionals = [] }: Said,
): Buffer {
  const number = codes[code]
  const opt: OptAnswer = {
    ...{ name: '.', type: 'OPT', udpPayloadSize: udpBytesMax, extendedRcode: number >> 4 },
    ...{ ednsVersion: 0, flags: 0, flag_do: false, options: [] },
  }
  const flags = recursion | (truncated ? TRUNCATED_RESPONSE : 0) | (code === 'REFUSED' ? 0 : AUTHORITATIVE_ANSWER)
  const packet: Packet = {
    ...{ id, type: 'response', flags: flags | (number & 15), questions: [question] },
    ...{ answers: [...answers], authorities: [...authorities], additionals: [...additionals, ...(edns ? [opt] : [])] },
  }
  return encode(packet)
}

/** Nothing but a header: what was asked cannot be repeated. */
function bare(query: Buffer, code: Code): Buffer {
  const head = Buffer.alloc(12)
  query.copy(head, 0, 0, 4)
  head.writeUInt16BE(0x8000 | (query.readUInt16BE(2) & 0x7900) | codes[code], 2)
  return head
}

/** Printable and without characters that would be another name once written anew. */
const isPlainName = (name: string): boolean => name.length <= 253 && /^[!-~]+$/.test(name) && !/\.\.|^\../.test(name)
