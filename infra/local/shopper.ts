import { Agent, get } from 'node:http'

/** One request to the shop's API. */
export type Visit = {
  readonly at: number
  readonly ms: number
  readonly ok: boolean
  /** Cluster that answered each part, and the ratings that details asked for; absent parts failed. */
  readonly clusters: readonly string[]
  /** The same by service: productpage, details, reviews, and ratings where reviews asked it. */
  readonly clusterByService: Readonly<Record<string, string>>
  /** Each part behind the first took its caller for who it was, by the certificate that it showed. */
  readonly isMutual: boolean
  readonly reason?: string
}

type Served = { cluster: string; caller?: string }
type View = {
  served?: Served
  details?: { body?: { served: Served; ratings?: { served?: Served } }; failed?: string }
  reviews?: { body?: { served: Served; ratings?: { served?: Served; failed?: string } }; failed?: string }
}

const openMax = 1000
const agent = new Agent({ keepAlive: true, maxSockets: openMax })

/** One page view through the front door, as JSON. Never throws: a failure is a visit that is not ok. */
export function visit(host: string, port: number): Promise<Visit> {
  const at = Date.now()
  const started = performance.now()
  return new Promise((resolve) => {
    const done = (ok: boolean, view?: View, reason?: string) => {
      const clusterByService = view ? clustersOf(view) : {}
      const beside = view?.details?.body?.ratings?.served?.cluster
      const clusters = [...Object.values(clusterByService), ...(beside === undefined ? [] : [beside])]
      const ms = performance.now() - started
      const isMutual = view !== undefined && wasMutual(view)
      resolve({ at, ms, ok, clusters, clusterByService, isMutual, ...(reason === undefined ? {} : { reason }) })
    }
    const request = get({ host, port, path: '/api/v1/products/0', agent, timeout: 20_000 }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('error', (error) => done(false, undefined, error.message))
      answer.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8')
        const view = parse(text)
        if (answer.statusCode === 200 && view) return done(true, view)
        done(false, view, `${answer.statusCode} ${faultOf(view) ?? text.slice(0, 200)}`)
      })
    })
    request.on('timeout', () => request.destroy(new Error('no answer in 20 s')))
    request.on('error', (error) => done(false, undefined, error.message))
  })
}

function parse(text: string): View | undefined {
  try {
    return JSON.parse(text) as View
  } catch {
    return undefined
  }
}

const clustersOf = ({ served, details, reviews }: View): Record<string, string> =>
  Object.fromEntries(
    [
      ['productpage', served] as const,
      ['details', details?.body?.served] as const,
      ['reviews', reviews?.body?.served] as const,
      ['ratings', reviews?.body?.ratings?.served] as const,
    ].flatMap(([service, by]) => (by ? [[service, by.cluster]] : [])),
  )

function wasMutual({ served, details, reviews }: View): boolean {
  const ratings = reviews?.body?.ratings?.served
  const beside = details?.body?.ratings?.served
  const calls = [
    [served, details?.body?.served],
    [served, reviews?.body?.served],
    ...(ratings ? [[reviews?.body?.served, ratings]] : []),
    ...(beside ? [[details?.body?.served, beside]] : []),
  ]
  return calls.every(([from, to]) => from && to?.caller?.startsWith(`spiffe://${from.cluster}.`))
}

const faultOf = (view: View | undefined): string | undefined =>
  view?.details?.failed ?? view?.reviews?.failed ?? view?.reviews?.body?.ratings?.failed

/** Visits at a steady rate whatever the answers take; counts, and keeps the first failures for the report. */
export type Shopper = {
  counts(): { readonly requests: number; readonly crossCluster: number; readonly failed: number }
  failures(): readonly Visit[]
  slowestMs(): number
  stop(): Promise<void>
}

/**
 * Visits at a steady rate: what a busy moment held back is made up for, so the rate holds over any second. At most a
 * thousand are open at once, far more than wait where each gives up after twenty seconds at 50 a second.
 */
export function startShopper(host: string, port: number, perSecond: number, each?: (visit: Visit) => void): Shopper {
  const counts = { requests: 0, crossCluster: 0, failed: 0 }
  const failures: Visit[] = []
  const open = new Set<Promise<void>>()
  const began = performance.now()
  let sent = 0
  let slowest = 0
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond) - sent
    sent += due
    // A machine that slept owes no visits for the night.
    for (let n = 0; n < Math.min(due, perSecond) && open.size < openMax; n++) send()
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

  function send(): void {
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
  }
}
