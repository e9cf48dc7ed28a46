import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Probed } from '#gateway/proxy/app-probes.ts'
import type { Admin } from '#gateway/proxy/envoy-admin.ts'
import type { HostPort } from '#gateway/proxy/setting-reader.ts'
import { Problem } from '#mesh/model/problem.ts'

export type StatusFacts = {
  readonly admin: Admin
  /** Why this proxy must get no traffic now; undefined when it may. */
  readonly fault: () => Promise<string | undefined>
  /** Prometheus samples by name and labels, e.g. `isthmus_proxy_ready`. */
  readonly samples: () => Readonly<Record<string, number>>
  readonly quit: () => void
  /** The pod begins to end. */
  readonly drain: () => Promise<void>
  /** The application's own probe of that path; undefined where it has none. */
  readonly probed: (path: string) => Promise<Probed | undefined>
}

/**
 * The small HTTP server that a kubelet or supervisor asks: `/healthz/ready`, `/metrics` (of this program),
 * `/stats/prometheus` (Envoy's own), `/app-health/…` (the application's own probes), and, from this machine only,
 * `POST /drain` (callers are to go elsewhere) and `POST /quitquitquit` (drain and end).
 * Throws `unavailable` where the address cannot be had.
 */
export async function serveStatus({ host, port }: HostPort, facts: StatusFacts): Promise<Server> {
  const server = createServer(
    { requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 5_000 },
    (ask, reply) => {
      answer(ask, reply, facts).catch((error: unknown) =>
        say(reply, 503, error instanceof Error ? error.message : String(error)),
      )
    },
  )
  server.maxConnections = 128
  await new Promise<void>((done, fail) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE'
      const reason = isTaken ? 'another program has it' : (cause.code ?? cause.message)
      fail(
        new Problem('unavailable', `the status address cannot be had: ${reason}`, {
          cause,
          extra: {
            on: `${host}:${port}`,
            mend: `${isTaken ? 'stop that program, or ' : ''}give another address with --status`,
          },
        }),
      )
    })
    server.listen(port, host, done)
  })
  return server
}

async function answer(ask: IncomingMessage, reply: ServerResponse, facts: StatusFacts): Promise<void> {
  ask.resume()
  const path = ask.url?.split('?')[0] ?? ''
  const probed = ask.method === 'GET' ? await facts.probed(path) : undefined
  if (probed) return say(reply, probed.code, probed.text)
  switch (`${ask.method} ${path}`) {
    case 'GET /healthz/ready':
    case 'HEAD /healthz/ready': {
      const fault = await facts.fault()
      return say(reply, fault === undefined ? 200 : 503, fault ?? 'ready')
    }
    case 'GET /metrics':
      return say(reply, 200, metricsText(facts.samples()))
    case 'GET /stats/prometheus': {
      const stats = await facts.admin.open('GET', '/stats/prometheus?usedonly')
      reply.writeHead(stats.statusCode ?? 503, { 'content-type': 'text/plain; version=0.0.4' })
      return pipeline(stats, reply)
    }
    case 'POST /quitquitquit':
      if (!isLoopback(ask.socket.remoteAddress)) return say(reply, 403, 'only from this machine')
      say(reply, 200, 'draining')
      return facts.quit()
    case 'POST /drain':
      if (!isLoopback(ask.socket.remoteAddress)) return say(reply, 403, 'only from this machine')
      await facts.drain()
      return say(reply, 200, 'draining')
    default:
      return say(
        reply,
        404,
        'known: GET /healthz/ready, GET /metrics, GET /stats/prometheus, POST /drain, POST /quitquitquit',
      )
  }
}

const isLoopback = (address = ''): boolean => /^(::ffff:)?127\./.test(address) || address === '::1'

function say(reply: ServerResponse, code: number, text: string): void {
  if (reply.headersSent) return void reply.destroy()
  reply.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}

const metricsText = (samples: Readonly<Record<string, number>>): string =>
  Object.entries(samples)
    .map(
      ([name, value]) =>
        `# TYPE ${name.replace(/\{.*/, '')} ${/_total/.test(name) ? 'counter' : 'gauge'}\n${name} ${value}`,
    )
    .join('\n')
