import { Agent, get } from 'node:http'

/** One request to the shop's API. */
export type Visit = {
  readonly at: number
  readonly ms: number
  readonly ok: boolean
  /** Cluster that answered each part; absent parts failed. */
  readonly clusters: readonly string[]
  readonly reason?: string
}

type View = {
  served?: { cluster: string }
  details?: { body?: { served: { cluster: string } }; failed?: string }
  reviews?: {
    body?: { served: { cluster: string }; ratings?: { served?: { cluster: string }; failed?: string } }
    failed?: string
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 100 })

/** One page view through the front door, as JSON. Never throws: a failure is a visit that is not ok. */
export function visit(host: string, port: number): Promise<Visit> {
  const at = Date.now()
  const started = performance.now()
  return new Promise((resolve) => {
    const done = (ok: boolean, clusters: readonly string[], reason?: string) =>
      resolve({ at, ms: performance.now() - started, ok, clusters, ...(reason === undefined ? {} : { reason }) })
    const request = get({ host, port, path: '/api/v1/products/0', agent, timeout: 20_000 }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('error', (error) => done(false, [], error.message))
      answer.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8')
        const view = parse(text)
        if (answer.statusCode === 200 && view) return done(true, clustersOf(view))
        done(false, view ? clustersOf(view) : [], `${answer.statusCode} ${faultOf(view) ?? text.slice(0, 200)}`)
      })
    })
    request.on('timeout', () => request.destroy(new Error('no answer in 20 s')))
    request.on('error', (error) => done(false, [], error.message))
  })
}

function parse(text: string): View | undefined {
  try {
    return JSON.parse(text) as View
  } catch {
    return undefined
  }
}

const clustersOf = ({ served, details, reviews }: View): string[] =>
  [served, details?.body?.served, reviews?.body?.served, reviews?.body?.ratings?.served].flatMap((one) =>
    one ? [one.cluster] : [],
  )

const faultOf = (view: View | undefined): string | undefined =>
  view?.details?.failed ?? view?.reviews?.failed ?? view?.reviews?.body?.ratings?.failed

/** Visits at a steady rate whatever the answers take; counts, and keeps the first failures for the report. */
export type Shopper = {
  counts(): { readonly requests: number; readonly crossCluster: number; readonly failed: number }
  failures(): readonly Visit[]
  slowestMs(): number
  stop(): Promise<void>
}

export function startShopper(host: string, port: number, perSecond: number, each?: (visit: Visit) => void): Shopper {
  const counts = { requests: 0, crossCluster: 0, failed: 0 }
  const failures: Visit[] = []
  const open = new Set<Promise<void>>()
  let slowest = 0
  const timer = setInterval(() => {
    if (open.size > 500) return
    const one = visit(host, port).then((seen) => {
      open.delete(one)
      counts.requests++
      slowest = Math.max(slowest, seen.ms)
      if (new Set(seen.clusters).size > 1) counts.crossCluster++
      if (!seen.ok) {
        counts.failed++
        if (failures.length < 20) failures.push(seen)
      }
      each?.(seen)
    })
    open.add(one)
  }, 1000 / perSecond)
  return {
    counts: () => ({ ...counts }),
    failures: () => failures,
    slowestMs: () => Math.round(slowest),
    stop: async () => {
      clearInterval(timer)
      await Promise.all(open)
    },
  }
}
