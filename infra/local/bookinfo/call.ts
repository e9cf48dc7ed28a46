import { Agent, get, type IncomingHttpHeaders } from 'node:http'

/** What an application is told by its pod: who it is, where it listens, how names resolve. */
export type PodFacts = {
  readonly app: string
  readonly version: string
  readonly cluster: string
  readonly pod: string
  readonly listen: string
  readonly port: number
  /** Host table: the address at which the sidecar takes HTTP for any host. */
  readonly outbound: string
}

export function podFacts(env: Readonly<Record<string, string | undefined>>): PodFacts {
  const need = (name: string) => {
    const value = env[name]
    if (!value) throw new Error(`${name} is not set: this program is started by the sandbox`)
    return value
  }
  return {
    app: need('APP'),
    version: need('VERSION'),
    cluster: need('CLUSTER'),
    pod: need('POD'),
    listen: need('LISTEN'),
    port: Number(env['PORT'] ?? 9080),
    outbound: need('OUTBOUND'),
  }
}

/**
 * Who answered: cluster, version and pod, and in mTLS the SPIFFE ids of both: the caller's as its certificate proved it, and
 * the callee's own as its sidecar showed it.
 */
export type Served = {
  readonly cluster: string
  readonly version: string
  readonly pod: string
  readonly caller?: string
  readonly callee?: string
}

export function servedBy(facts: PodFacts, headers: IncomingHttpHeaders): Served {
  const said = String(headers['x-forwarded-client-cert'] ?? '')
  const [caller, callee] = [/URI=([^;,"]+)/.exec(said)?.[1], /By=([^;,"]+)/.exec(said)?.[1]]
  const { cluster, version, pod } = facts
  return { cluster, version, pod, ...(caller ? { caller } : {}), ...(callee ? { callee } : {}) }
}

/**
 * One answer of another service: its JSON and how long it took, or why there is none. `notExportedSince` where the mesh
 * says that this cluster has no such service: when this pod first heard so, and never anything else since.
 */
export type Answer<T> = { readonly ms: number } & ({ readonly body: T } | Refusal)
export type Refusal = { readonly failed: string; readonly notExportedSince?: number }

const notExported = /^502 isthmus: no service of this name/
const notExportedSince = new Map<string, number>()

function heardOf(service: string, failed?: string): { readonly notExportedSince?: number } {
  if (failed === undefined || !notExported.test(failed)) notExportedSince.delete(service)
  else if (!notExportedSince.has(service)) notExportedSince.set(service, Date.now())
  const since = notExportedSince.get(service)
  return since === undefined ? {} : { notExportedSince: since }
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const traced = ['x-request-id', 'traceparent', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-sampled', 'end-user']

/** GET `http://<service>:9080<path>` as the application of a meshed pod would: by name, through the sidecar. */
export function call<T>(facts: PodFacts, service: string, path: string, from: IncomingHttpHeaders): Promise<Answer<T>> {
  const started = performance.now()
  const since = () => Math.round((performance.now() - started) * 10) / 10
  const headers = Object.fromEntries(traced.flatMap((name) => (from[name] ? [[name, String(from[name])]] : [])))
  return new Promise((resolve) => {
    const request = get(
      {
        host: facts.outbound,
        port: 9080,
        path,
        agent,
        headers: { ...headers, host: `${service}:9080` },
        timeout: 8000,
      },
      (answer) => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.on('error', (error) => resolve({ ms: since(), failed: error.message }))
        answer.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8')
          if (answer.statusCode !== 200) {
            const failed = `${answer.statusCode} ${text.slice(0, 200)}`.trim()
            return resolve({ ms: since(), failed, ...heardOf(service, failed) })
          }
          heardOf(service)
          try {
            resolve({ ms: since(), body: JSON.parse(text) as T })
          } catch {
            resolve({ ms: since(), failed: 'the answer is not JSON' })
          }
        })
      },
    )
    request.on('timeout', () => request.destroy(new Error('no answer in 8 s')))
    request.on('error', (error) => resolve({ ms: since(), failed: error.message }))
  })
}
