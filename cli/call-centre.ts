import { request } from 'node:https'
import type { Centre } from '#cli/context.ts'
import { Problem, type ProblemKind, problemKinds, type Violation } from '#mesh/model/problem.ts'

export type Call = {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}
export type Answer = { readonly status: number; readonly body: unknown; readonly etag?: string }

const answerBytesMax = 32 * 1024 * 1024

/** One call of the operator's API. Throws the centre's problem, or `unavailable` where it does not answer. */
export function callCentre(centre: Centre, call: Call): Promise<Answer> {
  const url = new URL(call.path, centre.url)
  const text = call.body === undefined ? undefined : JSON.stringify(call.body)
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        method: call.method,
        timeout: 10_000,
        ...(centre.ca ? { ca: centre.ca } : {}),
        headers: {
          accept: 'application/json',
          ...(centre.key ? { authorization: `Bearer ${centre.key}` } : {}),
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...call.headers,
        },
      },
      (incoming) => {
        const parts: Buffer[] = []
        let bytes = 0
        incoming.on('data', (part: Buffer) => {
          bytes += part.length
          if (bytes > answerBytesMax) incoming.destroy(new Error('the answer is too large'))
          else parts.push(part)
        })
        incoming.on('error', (cause) => reject(away(url, cause)))
        incoming.on('end', () => {
          const status = incoming.statusCode ?? 0
          const body = parse(Buffer.concat(parts).toString('utf8'))
          if (status >= 400) return reject(problemOf(call, status, body))
          const { etag } = incoming.headers
          resolve({ status, body, ...(etag === undefined ? {} : { etag }) })
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in 10 s')))
    outgoing.on('error', (cause) => reject(away(url, cause)))
    outgoing.end(text)
  })
}

/** Every object of a list, page after page. */
export async function listAll(centre: Centre, path: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const all: Readonly<Record<string, unknown>>[] = []
  let cursor: string | undefined
  do {
    const joint = path.includes('?') ? '&' : '?'
    const next = cursor === undefined ? '' : `${joint}cursor=${encodeURIComponent(cursor)}`
    const { body } = await callCentre(centre, { method: 'GET', path: `${path}${next}` })
    const page = body as { items?: Readonly<Record<string, unknown>>[]; nextCursor?: string }
    all.push(...(page.items ?? []))
    cursor = page.nextCursor
  } while (cursor !== undefined && all.length < 100_000)
  return all
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function problemOf(call: Call, status: number, body: unknown): Problem {
  const said = (typeof body === 'object' && body !== null ? body : {}) as { detail?: string; violations?: Violation[] }
  const kind =
    (Object.keys(problemKinds) as ProblemKind[]).find((one) => problemKinds[one].http === status) ?? 'internal'
  const detail = said.detail ?? `${call.method} ${call.path} was answered with ${status}`
  return new Problem(kind, detail, { violations: said.violations ?? [] })
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; is it running?',
  ENOTFOUND: 'the host name does not resolve',
  ECONNRESET: 'it cut the connection; is this the port of a centre?',
  EPROTO: 'it does not speak TLS; is this the port of a centre?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS; is this the port of a centre?',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself; name its CA with --ca-file',
  CERT_SIGNATURE_FAILURE: 'its certificate is of another CA; name the right one with --ca-file',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of a CA that is not known here; name it with --ca-file',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is of another CA; name the right one with --ca-file',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is of another CA; name the right one with --ca-file',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is not for this host name',
  CERT_HAS_EXPIRED: 'its certificate has expired, or this machine’s clock is ahead',
}

function away(url: URL, cause: Error & { code?: string }): Problem {
  return new Problem(
    'unavailable',
    `the centre at ${url.origin} does not answer: ${reasons[cause.code ?? ''] ?? cause.message}`,
    { cause },
  )
}
