import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { gzipSync } from 'node:zlib'
import type { z } from 'zod'
import { clockFaults } from '#mesh/model/clock-fault.ts'
import { Problem, type ProblemKind, problemKinds } from '#mesh/model/problem.ts'

/** One HTTPS line to the centre. Every answer is bounded in time and size and parsed before it is believed. */
export type CentreClient = {
  call<T>(call: Call<T>): Promise<T>
  /** Whether anybody answers at all, quickly: knocks before the real calls while the centre is away. */
  knock(): Promise<void>
  close(): void
}

export type Call<T> = {
  readonly path: string
  /** Absent = POST. */
  readonly method?: 'POST' | 'PUT'
  readonly body: unknown
  readonly schema: z.ZodType<T>
  readonly token?: string
  /** How long the line may be silent. */
  readonly timeoutMs?: number
}

const answerBytesMax = 64 * 1024 * 1024
const gzipFromBytes = 2048
const knockMsMax = 1500
/** Past it an answer is given up even where it trickles. */
const callMsMax = 60_000

/**
 * A client that trusts only what `ca` gives (PEM), asked for each call because a control-plane CA may be replaced; the
 * public roots where `ca` is absent. Throws `unavailable` where the centre
 * cannot be reached or is not the one that `ca` vouches for (the reason says which), and the centre's own problem otherwise.
 */
export function centreClient(settings: {
  readonly url: string
  readonly ca?: () => string
  readonly version: string
}): CentreClient {
  const base = new URL(settings.url)
  let trusted = settings.ca?.()
  let agent = agentOf(trusted)
  const agentName = { 'user-agent': `isthmus-relay/${settings.version}` }
  return {
    call: async (call) => parse(call, await send(call)),
    knock: async () => {
      await exchange({ path: '/healthz', method: 'GET', headers: agentName, silentMs: knockMsMax, totalMs: knockMsMax })
    },
    close: () => agent.destroy(),
  }

  /** What is on its way over the agent before ends as it began; nothing new goes there. */
  function agentNow(): Agent {
    const ca = settings.ca?.()
    if (ca === trusted) return agent
    for (const idle of Object.values(agent.freeSockets).flat()) idle?.destroy()
    trusted = ca
    agent = agentOf(ca)
    return agent
  }

  function send<T>(call: Call<T>): Promise<Answer> {
    const plain = Buffer.from(JSON.stringify(call.body))
    const zip = plain.length >= gzipFromBytes
    const body = zip ? gzipSync(plain) : plain
    const headers = {
      ...agentName,
      'content-type': 'application/json',
      'content-length': body.length,
      ...(zip ? { 'content-encoding': 'gzip' } : {}),
      ...(call.token ? { authorization: `Bearer ${call.token}` } : {}),
    }
    const silentMs = call.timeoutMs ?? 10_000
    return exchange({ path: call.path, method: call.method ?? 'POST', headers, body, silentMs, totalMs: callMsMax })
  }

  function exchange({ path, method, headers, body, silentMs, totalMs }: Exchange): Promise<Answer> {
    const agent = agentNow()
    return new Promise((resolve, reject) => {
      const outgoing = request(new URL(path, base), { agent, method, headers }, (answer) =>
        collect(answer, path)
          .then(resolve, reject)
          .finally(() => clearTimeout(deadline)),
      )
      const giveUp = () => {
        // Silence is of the line, not of one connection: what was idle beside this one is not trusted either.
        for (const idle of Object.values(agent.freeSockets).flat()) idle?.destroy()
        outgoing.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }))
      }
      const deadline = setTimeout(giveUp, totalMs)
      outgoing.setTimeout(silentMs, giveUp)
      outgoing.on('error', (cause) => {
        clearTimeout(deadline)
        reject(unreachable(base, cause))
      })
      outgoing.end(body)
    })
  }
}

const agentOf = (ca: string | undefined): Agent =>
  new Agent({ keepAlive: true, maxSockets: 4, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) })

type Answer = { readonly status: number; readonly body: Buffer }
type Exchange = {
  readonly path: string
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly headers: Readonly<Record<string, string | number>>
  readonly body?: Buffer
  readonly silentMs: number
  readonly totalMs: number
}

function collect(answer: IncomingMessage, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let bytes = 0
    answer.on('data', (part: Buffer) => {
      bytes += part.length
      if (bytes <= answerBytesMax) parts.push(part)
      else answer.destroy(new Error(`the answer to ${path} passes ${answerBytesMax} bytes`))
    })
    answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts) }))
    answer.on('error', (cause) => reject(new Problem('unavailable', `the answer to ${path} broke off`, { cause })))
    answer.on('close', () => reject(new Problem('unavailable', `the answer to ${path} broke off`)))
  })
}

function parse<T>(call: Call<T>, answer: Answer): T {
  let value: unknown
  try {
    value = JSON.parse(answer.body.toString('utf8'))
  } catch (cause) {
    throw new Problem('unavailable', `the centre answered ${call.path} with ${answer.status} and no JSON`, { cause })
  }
  if (answer.status >= 300) throw problemFrom(call.path, answer.status, value)
  const parsed = call.schema.safeParse(value)
  if (!parsed.success)
    throw new Problem(
      'unavailable',
      `the centre's answer to ${call.path} is not understood: ${parsed.error.issues[0]?.message}`,
    )
  return parsed.data
}

/** The centre's problem+json as a Problem of the same kind, its extra members kept. */
function problemFrom(path: string, status: number, value: unknown): Problem {
  const body = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>
  const kind = (Object.keys(problemKinds) as ProblemKind[]).find((k) => problemKinds[k].http === status)
  const extra: Record<string, string | number | boolean> = {}
  for (const [key, member] of Object.entries(body))
    if (typeof member === 'number' || typeof member === 'boolean' || typeof member === 'string') extra[key] = member
  const detail =
    typeof body['detail'] === 'string' ? body['detail'].slice(0, 2000) : `the centre answered ${path} with ${status}`
  return new Problem(kind ?? (status >= 500 ? 'unavailable' : 'invalid'), detail, { extra })
}

const otherCa = 'its certificate is of another CA than the one this relay joined'
const tlsReasons: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: otherCa,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: otherCa,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: otherCa,
  DEPTH_ZERO_SELF_SIGNED_CERT: otherCa,
  CERT_SIGNATURE_FAILURE: otherCa,
  ...clockFaults,
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is not for this host name: dial the name that `isthmus serve --url` was given',
  EPROTO: 'it does not speak TLS there',
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the host name does not resolve',
  ETIMEDOUT: 'no answer in time',
  ECONNRESET: 'the connection was cut',
}

/** What a failed connection means, in words with the fix where there is one. `extra.otherCa`: it is another centre. */
export function unreachable(url: URL, cause: unknown): Problem {
  const code = (cause as { code?: string }).code ?? ''
  // OpenSSL's own words end in a file and a line of its source.
  const noTls = code.startsWith('ERR_SSL_') ? `it does not speak TLS there, or none that is safe (${code})` : undefined
  const reason = tlsReasons[code] ?? noTls ?? (cause as Error).message
  const extra = reason === otherCa ? { otherCa: true } : {}
  return new Problem('unavailable', `the centre at ${url.origin} cannot be reached: ${reason}`, { cause, extra })
}
