import { Agent, get } from 'node:http'
import { z } from 'zod'
import { Problem } from '#mesh/model/problem.ts'
import type { Member } from './member.ts'

export const callSchema = z.strictObject({
  do: z.literal('call'),
  from: z.string().max(200),
  to: z.string().max(300),
  times: z.number().int().min(1).max(1000).default(1),
  path: z.string().startsWith('/').max(1000).optional(),
})

/** Answers of one kind: who gave them, and whom each side took the other for (SPIFFE ids; absent where it was not said). */
export type CallRow = {
  readonly cluster: string
  readonly version: string
  readonly count: number
  /** The caller, as the callee's sidecar proved it. */
  readonly caller?: string
  /** The callee's own, as it showed it to the caller, whose sidecar accepts no other. */
  readonly callee?: string
}

export type Calls = {
  readonly from: string
  readonly to: string
  readonly path: string
  readonly times: number
  readonly answers: readonly CallRow[]
  readonly failures: readonly { readonly reason: string; readonly count: number }[]
  readonly medianMs?: number
}

const atOnce = 4
const timeoutMs = 10_000
const bodyBytesMax = 256 * 1024
/** Where each service of the shop answers. */
const paths: Readonly<Record<string, string>> = {
  ...{ reviews: '/reviews/0', details: '/details/0', ratings: '/ratings/0' },
  productpage: '/api/v1/products/0',
}

/**
 * Calls a host as an application of the sandbox would: through the outbound listener of the first pod with that service
 * account. Throws `not-found` where no pod has it, and `invalid` where a name is none.
 */
export async function makeCalls(
  members: readonly Member[],
  { from, to, times, path: asked }: z.infer<typeof callSchema>,
): Promise<{ said: string; calls: Calls }> {
  const pod = podOf(members, from, to)
  const [, host = '', port = ''] = /^([a-z0-9.-]+):([0-9]{1,5})$/.exec(to) ?? []
  if (host === '')
    throw new Problem('invalid', `"${to.slice(0, 80)}" is not <host>:<port>`, {
      extra: { mend: `isthmus sandbox call ${from.slice(0, 80)} reviews:9080` },
    })
  const path = asked ?? paths[host.split('.')[0] ?? ''] ?? '/'
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce })
  const seen: Seen[] = []
  let left = times
  const worker = async () => {
    while (left-- > 0) seen.push(await call({ agent, host: pod.outbound, port: Number(port), path, name: to }))
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, times) }, worker))
  agent.destroy()
  const ms = seen.map((one) => one.ms).sort((a, b) => a - b)
  const median = ms[Math.floor(ms.length / 2)]
  const answered = seen.flatMap(({ row }) => row ?? [])
  const calls: Calls = {
    ...{ from, to, path, times },
    answers: counted(answered.map((row) => JSON.stringify(row))).map(([text, count]) => ({ ...parseRow(text), count })),
    failures: counted(seen.flatMap(({ failed }) => failed ?? [])).map(([reason, count]) => ({ reason, count })),
    ...(median === undefined ? {} : { medianMs: Math.round(median * 10) / 10 }),
  }
  return { said: `${times} calls from ${from} to ${to}${path}`, calls }
}

type Row = Omit<CallRow, 'count'>
type Seen = { readonly ms: number; readonly row?: Row; readonly failed?: string }

const parseRow = (text: string): Row => JSON.parse(text) as Row

/** Each text and how often it is there, the most frequent first. */
function counted(texts: readonly string[]): readonly (readonly [text: string, count: number])[] {
  const groups = [...Map.groupBy(texts, (text) => text)].map(([text, all]) => [text, all.length] as const)
  return groups.sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))
}

function podOf(members: readonly Member[], from: string, to: string): { readonly outbound: string } {
  const [name = '', namespace = '', account = '', ...more] = from.split('/')
  if (account === '' || more.length > 0)
    throw new Problem('invalid', `"${from.slice(0, 80)}" is not <cluster>/<namespace>/<service account>`, {
      extra: { mend: 'isthmus sandbox call virginia-1/bookinfo/bookinfo-productpage reviews:9080 -n 20' },
    })
  const one = members.find((member) => member.plan.name === name)
  if (!one)
    throw new Problem(
      'not-found',
      `there is no cluster "${name}" in this sandbox; known: ${members.map(({ plan }) => plan.name).join(', ')}`,
      { extra: { mend: 'isthmus status' } },
    )
  if (one.hurt().dead.includes('cluster'))
    throw new Problem('unavailable', `${name} is dead: bring it back with: isthmus sandbox restore ${name}`)
  const found = one.pods().find(({ pod }) => pod.namespace === namespace && pod.serviceAccount === account)
  if (found) return found
  const known = [...new Set(one.pods().map(({ pod }) => `${name}/${pod.namespace}/${pod.serviceAccount}`))]
  throw new Problem('not-found', `no pod of ${name} has that service account; known: ${known.join(', ') || 'none'}`, {
    extra: { mend: `isthmus sandbox call ${known[0] ?? `${name}/<namespace>/<service account>`} ${to}` },
  })
}

type Call = {
  readonly agent: Agent
  readonly host: string
  readonly port: number
  readonly path: string
  readonly name: string
}

function call({ agent, host, port, path, name }: Call): Promise<Seen> {
  const began = performance.now()
  const ms = () => performance.now() - began
  return new Promise((resolve) => {
    const failed = (reason: string) => resolve({ ms: ms(), failed: reason })
    const options = { agent, host, port, path, headers: { host: name }, timeout: timeoutMs }
    const request = get(options, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part
        if (text.length > bodyBytesMax) answer.destroy(new Error('the answer is too large'))
      })
      answer.on('error', (error) => failed(error.message))
      answer.on('end', () => {
        if (answer.statusCode !== 200) failed(`${answer.statusCode} ${text.slice(0, 160)}`.trim())
        else resolve({ ms: ms(), row: rowOf(text) })
      })
    })
    request.on('timeout', () => request.destroy(new Error('no answer in 10 s')))
    request.on('error', (error: NodeJS.ErrnoException) =>
      failed(
        error.code === 'ECONNREFUSED'
          ? `nothing listens at ${host}:${port}: the pod is dead, or no service has that port`
          : error.message,
      ),
    )
  })
}

/** What applications of the sandbox say of themselves; others have no cluster and version to show. */
function rowOf(text: string): Row {
  const { served } = parseBody(text)
  const { cluster, version, caller, callee } = served ?? {}
  return {
    cluster: typeof cluster === 'string' ? cluster : '–',
    version: typeof version === 'string' ? version : '–',
    ...(typeof caller === 'string' ? { caller } : {}),
    ...(typeof callee === 'string' ? { callee } : {}),
  }
}

function parseBody(text: string): { readonly served?: Readonly<Record<string, unknown>> } {
  try {
    return JSON.parse(text) as { served?: Readonly<Record<string, unknown>> }
  } catch {
    return {}
  }
}
