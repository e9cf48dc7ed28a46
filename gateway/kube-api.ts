import type { IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import { KubeConfig } from '@kubernetes/client-node'
import { Problem, type ProblemKind } from '#mesh/model/problem.ts'

/** The own cluster's API server. Bodies are JSON; every refusal and silence is a `Problem` that names the path. */
export type KubeApi = {
  /** For messages: the server's URL. */
  readonly server: string
  /** One answer, whole. Throws `KubeProblem`s, and `unavailable` where none came. */
  call(method: Method, path: string, asked?: Asked): Promise<unknown>
  /**
   * The lines of a watch as they come, until the server ends it; `onOpen` when it was accepted. Throws as `call` does, and
   * `unavailable` after `silentMs` without a byte.
   */
  lines(path: string, asked: Streamed): AsyncIterable<string>
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
type Query = Readonly<Record<string, string | number | boolean | undefined>>
export type Asked = {
  readonly query?: Query
  readonly body?: unknown
  /** `application/json` unless said; `application/apply-patch+yaml` is a server-side apply and takes JSON as well. */
  readonly contentType?: string
  readonly signal?: AbortSignal
}
type Sent = Omit<Asked, 'body'> & { readonly body?: string | undefined }
export type Streamed = Pick<Asked, 'query' | 'signal'> & { readonly silentMs: number; readonly onOpen?: () => void }

const answerMs = 30_000
const keepAliveMs = 15_000
const answerBytesMax = 64 * 1024 * 1024
const lineCharsMax = 8 * 1024 * 1024

/**
 * The API server as the pod's service account, or as the current context of a kubeconfig file says. Tokens and certificates
 * that rotate on disk are read again, exec credentials run again when theirs end. Throws `invalid` where the file is none.
 */
export function kubeApi({ kubeconfig }: { readonly kubeconfig?: string } = {}): KubeApi {
  const config = new KubeConfig()
  try {
    if (kubeconfig === undefined) config.loadFromCluster()
    else config.loadFromFile(kubeconfig)
  } catch (cause) {
    throw new Problem('invalid', `the kubeconfig ${kubeconfig ?? 'of the pod'} cannot be read: ${messageOf(cause)}`, {
      cause,
    })
  }
  const server = config.getCurrentCluster()?.server
  if (server === undefined || !URL.canParse(server))
    throw new Problem(
      'invalid',
      kubeconfig === undefined
        ? 'this is no pod of a cluster: KUBERNETES_SERVICE_HOST is not set'
        : `the current context of ${kubeconfig} names no cluster with a URL`,
    )
  return {
    server,
    call: async (method, path, asked = {}) => {
      const body = asked.body === undefined ? undefined : JSON.stringify(asked.body)
      const signal = AbortSignal.any([AbortSignal.timeout(answerMs), ...(asked.signal ? [asked.signal] : [])])
      const answer = await sent(method, path, { ...asked, body, signal })
      const text = await textOf(answer, path)
      if (isGood(answer)) return text === '' ? undefined : parsed(text, path)
      throw problemOf(method, path, answer, text)
    },
    lines: (path, asked) => streamed(path, asked),
  }

  async function* streamed(path: string, asked: Streamed): AsyncIterable<string> {
    const silence = new AbortController()
    const timer = setTimeout(() => silence.abort(), asked.silentMs).unref()
    const signal = AbortSignal.any([silence.signal, ...(asked.signal ? [asked.signal] : [])])
    try {
      const answer = await sent('GET', path, { query: { ...asked.query, watch: true }, signal })
      if (!isGood(answer)) throw problemOf('GET', path, answer, await textOf(answer, path))
      asked.onOpen?.()
      let rest = ''
      answer.setEncoding('utf8')
      for await (const piece of answer as AsyncIterable<string>) {
        timer.refresh()
        const lines = (rest + piece).split('\n')
        rest = lines.pop() ?? ''
        if (rest.length > lineCharsMax) throw unavailable(path, `one event has over ${lineCharsMax} characters`)
        for (const line of lines) if (line !== '') yield line
      }
    } catch (cause) {
      if (cause instanceof Problem) throw cause
      const isSilent = silence.signal.aborted
      throw unavailable(path, isSilent ? `nothing came for ${asked.silentMs / 1000} s` : messageOf(cause), cause)
    } finally {
      clearTimeout(timer)
    }
  }

  async function sent(method: Method, path: string, { query, body, contentType, signal }: Sent) {
    const url = new URL(`${String(server).replace(/\/$/, '')}${path}`)
    for (const [name, value] of Object.entries(query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value))
    const options: RequestOptions = {
      method,
      ...(signal ? { signal } : {}),
      headers: {
        // The keys of its tokens have a type of their own.
        accept: 'application/json, application/jwk-set+json',
        'user-agent': 'isthmus-relay',
        ...(body === undefined
          ? {}
          : { 'content-type': contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
    }
    try {
      await config.applyToHTTPSOptions(options)
      return await new Promise<IncomingMessage>((resolve, reject) => {
        request(url, options, resolve)
          // Packets that vanish are noticed sooner than by silence.
          .on('socket', (socket) => socket.setKeepAlive(true, keepAliveMs))
          .on('error', reject)
          .end(body)
      })
    } catch (cause) {
      throw unavailable(
        path,
        signal?.aborted && messageOf(cause) === '' ? 'no answer in time' : messageOf(cause),
        cause,
      )
    }
  }

  function unavailable(path: string, reason: string, cause?: unknown): Problem {
    return new Problem('unavailable', `the API server ${server} did not answer ${path}: ${reason}`, { cause })
  }

  async function textOf(answer: IncomingMessage, path: string): Promise<string> {
    const pieces: Buffer[] = []
    let bytes = 0
    try {
      for await (const piece of answer as AsyncIterable<Buffer>) {
        bytes += piece.length
        if (bytes > answerBytesMax) throw new Error(`the answer has over ${answerBytesMax} bytes`)
        pieces.push(piece)
      }
    } catch (cause) {
      throw unavailable(path, messageOf(cause), cause)
    }
    return Buffer.concat(pieces).toString('utf8')
  }

  function parsed(text: string, path: string): unknown {
    try {
      return JSON.parse(text)
    } catch (cause) {
      throw unavailable(path, 'what it answered is not JSON', cause)
    }
  }
}

const isGood = ({ statusCode = 0 }: IncomingMessage): boolean => statusCode >= 200 && statusCode < 300

const kinds: Readonly<Record<number, ProblemKind>> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  409: 'conflict',
  410: 'stale',
  412: 'stale',
  413: 'too-large',
  422: 'invalid',
  429: 'too-many',
}

/**
 * What the server said, as a `Problem`: 410 (the version asked for is gone) and a 409 of an update that came too late are
 * `stale`, another 409 is `conflict`. `extra.status` is the number, `extra.retryAfterSeconds` what it asks for.
 */
function problemOf(method: Method, path: string, answer: IncomingMessage, text: string): Problem {
  const status = answer.statusCode ?? 0
  const { message, reason } = statusOf(text)
  const said = (message ?? answer.statusMessage ?? 'no reason').slice(0, 1000)
  const kind = status === 409 && reason === 'Conflict' ? 'stale' : (kinds[status] ?? 'unavailable')
  const fix = status === 403 ? missingRule(said) : status === 401 ? ': its token or certificate is not taken' : ''
  const retryAfterSeconds = Number(answer.headers['retry-after'])
  return new Problem(kind, `the API server refused ${method} ${path} with ${status}: ${said}${fix}`, {
    extra: { status, ...(retryAfterSeconds > 0 ? { retryAfterSeconds } : {}) },
  })
}

function statusOf(text: string): { readonly message?: string; readonly reason?: string } {
  try {
    const { message, reason } = JSON.parse(text) as { message?: unknown; reason?: unknown }
    return {
      ...(typeof message === 'string' ? { message } : {}),
      ...(typeof reason === 'string' ? { reason } : {}),
    }
  } catch {
    return {}
  }
}

/** The RBAC rule that is missing, from the words of Kubernetes' own authorizer; nothing where they are others. */
export function missingRule(said: string): string {
  const found =
    /cannot (\S+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)"| at the cluster scope)?/.exec(
      said,
    )
  if (!found) return ''
  const [, verb = '', resource = '', group = '', namespace] = found
  const rule = JSON.stringify({ apiGroups: [group], resources: [resource], verbs: [verb] })
  return `; add this rule to the ${namespace === undefined ? 'ClusterRole' : `Role in ${namespace}`} of the relay: ${rule}`
}

/** A failure of many addresses at once has no message of its own. */
const messageOf = (cause: unknown): string => {
  const { message, code, errors } = cause as { message?: string; code?: string; errors?: { message: string }[] }
  return message || errors?.map((one) => one.message).join('; ') || code || ''
}
