import { type IncomingMessage, request as plainRequest } from 'node:http'
import { type RequestOptions, request as tlsRequest } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import { refusal } from '#cli/failure.ts'
import type { Access } from '#cli/onboard/access.ts'
import { Problem, type ProblemKind } from '#mesh/model/problem.ts'

export type Json = Readonly<Record<string, unknown>>
type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
export type Asked = {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  readonly contentType?: string
  /** `application/json` unless said. */
  readonly accept?: string
  /** The answer is no JSON: the log of a container. */
  readonly isText?: boolean
}

/** A cluster's API server, spoken to with the user's own credentials. */
export type ClusterApi = {
  /** For messages: `context paris`. */
  readonly said: string
  readonly server: string
  /** One answer. Throws what the server refuses, with the object and what mends it, and `unavailable` without an answer. */
  call(method: Method, path: string, asked?: Asked): Promise<unknown>
  /** Undefined where there is none. */
  find(path: string, asked?: Asked): Promise<Json | undefined>
  /** Every object of a list, page after page; none where the kind is not served. */
  list(path: string, query?: Asked['query'], accept?: string): Promise<readonly Json[]>
  /** Undefined where it is gone already, or another one has its name. */
  remove(path: string, body?: object): Promise<unknown>
  pause(ms: number): Promise<void>
  /** By the server's clock, Unix ms, whole seconds; undefined where it does not say. */
  time(): Promise<number | undefined>
}

const answerMs = 30_000
const answerBytesMax = 64 * 1024 * 1024
const pageSize = 500
const triesMax = 5

/** Speaks as the current context of a kubeconfig; exec credentials are run, and a 429 is waited for. */
export function clusterApi({ config, said }: Access): ClusterApi {
  const server = (config.getCurrentCluster()?.server ?? '').replace(/\/$/, '')
  const api: ClusterApi = {
    ...{ said, server },
    call: async (method, path, asked = {}) => {
      for (let tries = 1; ; tries++) {
        const answer = await exchanged(method, path, asked)
        if (answer.status === 429 && tries < triesMax) {
          await pause(Math.min(10, answer.retryAfterSeconds ?? tries) * 1000)
          continue
        }
        if (answer.status >= 300) throw refused(method, path, answer)
        return asked.isText ? answer.text : parsed(answer.text, path)
      }
    },
    find: async (path, asked) => {
      try {
        return (await api.call('GET', path, asked)) as Json
      } catch (error) {
        if (error instanceof Problem && error.kind === 'not-found') return undefined
        throw error
      }
    },
    remove: async (path, body) => {
      try {
        return (await api.call('DELETE', path, { body })) ?? {}
      } catch (error) {
        if (error instanceof Problem && (error.kind === 'not-found' || error.kind === 'stale')) return undefined
        throw error
      }
    },
    pause: (ms) => pause(ms),
    time: async () => (await exchanged('GET', '/version', {})).at,
    list: async (path, query = {}, accept = undefined) => {
      const all: Json[] = []
      let next: string | undefined
      do {
        const page = await api.find(path, {
          query: { ...query, limit: pageSize, continue: next },
          ...(accept ? { accept } : {}),
        })
        if (Array.isArray(page?.['items'])) all.push(...(page['items'] as Json[]))
        next = ((page?.['metadata'] ?? {}) as { continue?: string }).continue || undefined
      } while (next !== undefined)
      return all
    },
  }
  return api

  async function exchanged(method: Method, path: string, asked: Asked): Promise<Answer> {
    const url = new URL(`${server}${path}`)
    for (const [name, value] of Object.entries(asked.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value))
    const body = asked.body === undefined ? undefined : JSON.stringify(asked.body)
    const options: RequestOptions = {
      method,
      signal: AbortSignal.timeout(answerMs),
      headers: {
        ...{ accept: asked.accept ?? 'application/json', 'user-agent': 'isthmus' },
        ...(body === undefined
          ? {}
          : { 'content-type': asked.contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
    }
    try {
      await config.applyToHTTPSOptions(options)
      const request = url.protocol === 'http:' ? plainRequest : tlsRequest
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        request(url, options, resolve).on('error', reject).end(body)
      })
      const retryAfterSeconds = Number(answer.headers['retry-after'])
      const text = await textOf(answer)
      const at = Date.parse(answer.headers.date ?? '')
      return {
        ...{ status: answer.statusCode ?? 0, text },
        ...(retryAfterSeconds > 0 ? { retryAfterSeconds } : {}),
        ...(Number.isNaN(at) ? {} : { at }),
      }
    } catch (cause) {
      const why = `the API server of ${said} does not answer ${path}: ${messageOf(cause)}`
      throw refusal({
        kind: 'unavailable',
        why,
        on: server,
        mend: `look at its line: kubectl get --raw ${path}`,
        cause,
      })
    }
  }

  function parsed(text: string, path: string): unknown {
    try {
      return text === '' ? undefined : JSON.parse(text)
    } catch {
      const why = `what the API server of ${said} answers to ${path} is not JSON`
      throw refusal({ kind: 'unavailable', why, on: server, mend: 'look who listens there' })
    }
  }

  function refused(method: Method, path: string, { status, text }: Answer): Problem {
    const { message, reason, details } = statusOf(text)
    const kind = status === 409 && reason === 'Conflict' && details === undefined ? 'stale' : kinds[status]
    const on = `${server}${path}`
    const why = `the API server of ${said} refused ${method} ${path} with ${status}: ${message}`
    const problem = refusal({ kind: kind ?? 'unavailable', why, on, mend: mends[status] ?? 'repeat the command' })
    return new Problem(problem.kind, problem.message, {
      violations: conflictsIn(details),
      extra: { ...problem.extra, status },
    })
  }
}

type Answer = {
  readonly status: number
  readonly text: string
  readonly retryAfterSeconds?: number
  /** When the server says it was, Unix ms. */
  readonly at?: number
}

const kinds: Readonly<Record<number, ProblemKind>> = {
  ...{ 400: 'invalid', 401: 'unauthenticated', 403: 'forbidden', 404: 'not-found', 409: 'conflict', 410: 'stale' },
  ...{ 413: 'too-large', 415: 'invalid', 422: 'invalid', 429: 'too-many' },
}
const mends: Readonly<Record<number, string>> = {
  401: 'log in to that cluster anew: kubectl auth whoami says who you are there',
  403: 'use a context that may do this (cluster-admin does); kubectl auth can-i --list says what this one may',
  422: 'the API server may be too old for this object, or another webhook refuses it: its words say which',
}

type Details = {
  readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[]
}

function statusOf(text: string): { readonly message: string; readonly reason?: string; readonly details?: Details } {
  try {
    const { message, reason, details } = JSON.parse(text) as { message?: string; reason?: string; details?: Details }
    const hasCauses = (details?.causes?.length ?? 0) > 0
    return {
      message: (message ?? 'no reason').slice(0, 2000),
      ...(reason ? { reason } : {}),
      ...(hasCauses && details ? { details } : {}),
    }
  } catch {
    return { message: text.slice(0, 300) || 'no reason' }
  }
}

/** The fields of a server-side apply that belong to somebody else, and to whom. */
const conflictsIn = (details: Details | undefined): { readonly path: string; readonly reason: string }[] =>
  (details?.causes ?? [])
    .filter(({ reason }) => reason === 'FieldManagerConflict')
    .map(({ field = '', message = '' }) => ({ path: field, reason: message }))

async function textOf(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of answer as AsyncIterable<Buffer>) {
    bytes += piece.length
    if (bytes > answerBytesMax) throw new Error(`the answer has over ${answerBytesMax} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}

/** A failure of many addresses at once has no message of its own. */
const messageOf = (cause: unknown): string => {
  const { message, code, errors } = cause as { message?: string; code?: string; errors?: { message: string }[] }
  return message || errors?.map((one) => one.message).join('; ') || code || 'no answer'
}
