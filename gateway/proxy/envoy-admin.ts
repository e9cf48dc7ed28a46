import { type IncomingMessage, request } from 'node:http'
import { Problem } from '#mesh/model/problem.ts'
import type { AdminAddress } from '#mesh/translate/bootstrap.ts'

export type Admin = {
  /** Body of an answer with status 200. Throws `unavailable` for anything else, named with the path. */
  readonly text: (method: 'GET' | 'POST', path: string) => Promise<string>
  /** The answer as it comes, for bodies that may be large. */
  readonly open: (method: 'GET' | 'POST', path: string) => Promise<IncomingMessage>
}

const timeoutMs = 3_000
const bodyBytesMax = 4_194_304

/** Envoy's admin interface over its unix socket or loopback port. */
export function adminAt(address: AdminAddress): Admin {
  const where = 'socket' in address ? { socketPath: address.socket } : { host: address.host, port: address.port }
  const open = (method: 'GET' | 'POST', path: string): Promise<IncomingMessage> =>
    new Promise((done, fail) => {
      const call = request(
        { ...where, method, path, agent: false, timeout: timeoutMs, headers: { host: 'localhost' } },
        done,
      )
      call.on('timeout', () => call.destroy(new Error(`no answer in ${timeoutMs} ms`)))
      call.on('error', (cause) => fail(new Problem('unavailable', `Envoy’s admin does not answer ${path}`, { cause })))
      call.end()
    })
  const text = async (method: 'GET' | 'POST', path: string): Promise<string> => {
    const answer = await open(method, path)
    let body = ''
    answer.setEncoding('utf8')
    for await (const part of answer) {
      body += part
      if (body.length > bodyBytesMax) throw new Problem('unavailable', `Envoy’s answer to ${path} is too long`)
    }
    if (answer.statusCode === 200) return body
    throw new Problem('unavailable', `Envoy answers ${answer.statusCode} to ${path}: ${body.slice(0, 200).trim()}`)
  }
  return { text, open }
}

/** Numbers of `/stats` whose names match `filter` (a regular expression), by name. */
export async function statsOf(admin: Admin, filter: string): Promise<ReadonlyMap<string, number>> {
  const body = await admin.text('GET', `/stats?filter=${encodeURIComponent(filter)}`)
  const pairs = body.split('\n').flatMap((line) => {
    const at = line.lastIndexOf(': ')
    return at < 0 ? [] : [[line.slice(0, at), Number(line.slice(at + 2))] as const]
  })
  return new Map(pairs.filter(([, value]) => Number.isFinite(value)))
}

/**
 * Why Envoy does not serve yet or any more; undefined when it is live and has both its clusters and its listeners. Envoy
 * calls itself live also after the relay's first answer was refused, hence the counters (those that Istio's agent reads).
 */
export async function envoyFault(admin: Admin): Promise<string | undefined> {
  try {
    const stats = await statsOf(
      admin,
      '^(server\\.state|cluster_manager\\.cds\\.update_success|listener_manager\\.(lds\\.update_success|workers_started))$',
    )
    if (!stats.get('cluster_manager.cds.update_success')) return 'Envoy has no clusters from the relay yet'
    if (!stats.get('listener_manager.lds.update_success')) return 'Envoy has no listeners from the relay yet'
    if (!stats.get('listener_manager.workers_started')) return 'Envoy’s workers have not started yet'
    const state = stats.get('server.state')
    return state === 0
      ? undefined
      : `Envoy is ${['live', 'draining', 'pre-initializing', 'initializing'][state ?? -1] ?? 'unknown'}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Open connections to the user's listeners (the admin's own do not count). */
export async function activeConnections(admin: Admin): Promise<number> {
  const stats = await statsOf(admin, '^listener\\..*\\.downstream_cx_active$')
  const counted = [...stats].filter(([name]) => !name.startsWith('listener.admin.') && !/\.worker_\d+\./.test(name))
  return counted.reduce((sum, [, value]) => sum + value, 0)
}
