import type { Centre } from '#cli/context.ts'
import { send } from '#cli/send.ts'
import { Problem, type ProblemKind, problemKinds, type Violation } from '#mesh/model/problem.ts'

export type Call = {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}
export type Answer = { readonly status: number; readonly body: unknown; readonly etag?: string }

/**
 * One call of the operator's API. Throws the centre's problem, or `unavailable` where it does not answer; both say which
 * URL it is about, and `extra.away` that nobody answered there.
 */
export async function callCentre(centre: Centre, call: Call): Promise<Answer> {
  const url = new URL(call.path, centre.url)
  const { status, body, etag } = await ask(centre, call)
  if (status >= 400) throw problemOf(call, status, body, url)
  return { status, body, ...(etag === undefined ? {} : { etag }) }
}

/** The same for what has an answer to show in every state, as `/readyz` has. */
export async function ask(centre: Centre, call: Call): Promise<Answer> {
  const url = new URL(call.path, centre.url)
  const text = call.body === undefined ? undefined : JSON.stringify(call.body)
  const answer = await (centre.send ?? send)(url, {
    method: call.method,
    headers: {
      accept: 'application/json',
      ...(centre.key ? { authorization: `Bearer ${centre.key}` } : {}),
      ...(text === undefined ? {} : { 'content-type': 'application/json' }),
      ...call.headers,
    },
    ...(text === undefined ? {} : { body: text }),
    ...(centre.ca ? { ca: centre.ca } : {}),
    ...{ connectMs: 3000, answerMs: 10_000 },
  }).catch((cause: NodeJS.ErrnoException) => {
    throw away(url, cause)
  })
  return { ...answer, body: parse(answer.text) }
}

/** Every object of a list, page after page; the first `most` of it. */
export async function listAll(
  centre: Centre,
  path: string,
  most = 100_000,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const all: Readonly<Record<string, unknown>>[] = []
  let cursor: string | undefined
  do {
    const joint = path.includes('?') ? '&' : '?'
    const next = cursor === undefined ? '' : `${joint}cursor=${encodeURIComponent(cursor)}`
    const { body } = await callCentre(centre, { method: 'GET', path: `${path}${next}` })
    const page = body as { items?: Readonly<Record<string, unknown>>[]; nextCursor?: string }
    all.push(...(page.items ?? []))
    cursor = page.nextCursor
  } while (cursor !== undefined && all.length < most)
  return all.slice(0, most)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function problemOf(call: Call, status: number, body: unknown, url: URL): Problem {
  const said = (typeof body === 'object' && body !== null ? body : {}) as { detail?: string; violations?: Violation[] }
  const kind =
    (Object.keys(problemKinds) as ProblemKind[]).find((one) => problemKinds[one].http === status) ?? 'internal'
  const detail = said.detail ?? `${call.method} ${call.path} was answered with ${status}`
  return new Problem(kind, detail, { violations: said.violations ?? [], extra: { on: url.href } })
}

type Reason = { readonly why: string; readonly mend: string }
const start = 'start it (the sandbox: npm start; by hand: isthmus serve)'
const other = 'isthmus context list shows where centres are'
const nameCa = 'isthmus context add <name> --ca-file <file>; the centre writes control-plane-ca.pem at its first start'
/** As where two sandboxes have had one address. */
const rightCa = `take the context of this very centre (isthmus context list, --context <name>), or ${nameCa}`
const anotherCa = { why: 'its certificate is of another CA', mend: rightCa }
const noTls = { why: 'it does not speak TLS', mend: `name the port of a centre; ${other}` }
const setClock = 'set the clock (NTP); timedatectl says whether it is set by the network'
const reasons: Readonly<Record<string, Reason>> = {
  ECONNREFUSED: { why: 'nothing listens there', mend: start },
  ENOTFOUND: { why: 'the host name does not resolve', mend: other },
  ECONNRESET: { why: 'it cut the connection', mend: `name the port of a centre; ${other}` },
  EPROTO: noTls,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  DEPTH_ZERO_SELF_SIGNED_CERT: { why: 'its certificate is signed by itself', mend: nameCa },
  CERT_SIGNATURE_FAILURE: anotherCa,
  SELF_SIGNED_CERT_IN_CHAIN: { why: 'its certificate is of a CA that is not known here', mend: rightCa },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: anotherCa,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: anotherCa,
  ERR_TLS_CERT_ALTNAME_INVALID: { why: 'its certificate is not for this host name', mend: other },
  CERT_HAS_EXPIRED: { why: 'its certificate has expired, or this machine’s clock is ahead', mend: setClock },
  CERT_NOT_YET_VALID: { why: 'its certificate is not valid yet, or this machine’s clock is behind', mend: setClock },
}

function away(url: URL, cause: NodeJS.ErrnoException): Problem {
  const { why, mend } = reasons[cause.code ?? ''] ?? { why: cause.message, mend: start }
  return new Problem('unavailable', `the centre does not answer: ${why}`, {
    cause,
    extra: { on: url.href, mend, away: true },
  })
}
