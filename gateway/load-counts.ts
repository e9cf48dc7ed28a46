import { serviceOf } from '#gateway/envoy-service.ts'
import type { HostLoad } from '#gateway/relay/load-reports.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { CallLoad } from '#mesh/model/load.ts'

/** A proxy that tells what it sent where. */
export type LoadReporter = {
  /** Who it proved to be, and its id. */
  readonly key: string
  readonly kind: string
  /** Those of its pod, and where it was told to listen. */
  readonly addresses: readonly string[]
}

/** Connections through one of the own gateways' proxies, for one exported service. */
export type RouterLoad = {
  readonly router: LoadReporter
  readonly service: ServiceKey
  readonly issued: number
  readonly active: number
}

/** What was counted since it was last taken away. */
export type Window = { readonly rows: readonly CallLoad[]; readonly routers: readonly RouterLoad[] }

/** The counts of all proxies of this relay. What a proxy that ends had counted stays. */
export type LoadCounts = {
  take(reporter: LoadReporter, loads: readonly HostLoad[]): void
  gone(reporter: LoadReporter): void
  /** All since the last time; from now on it is counted anew. */
  takeAway(): Window
  /**
   * Whether one of these has told nothing since then, or one that told before and is gone for less than `backMs`: on its
   * way back it brings what it counted meanwhile.
   */
  isMissing(measured: Iterable<string>, backMs: number): boolean
  /** What was taken away reached nobody: it counts again. */
  giveBack(window: Window): void
  /** Proxies whose last report is not older than `ms`, by key. Who has just begun has told nothing yet. */
  reporting(ms: number): ReadonlySet<string>
  /** Calls to a cluster that failed in the last `ms`, as far as they are reported; within the last quarter of an hour. */
  errorsIn(cluster: ClusterName, ms: number): number
}

/** No proxy counts more in a report; one that says so is not believed. */
const countMax = 1e9
const errorsKeptMs = 15 * 60_000

/** What one count is of: calls to a service in one cluster, or what passes a gateway for it. The same object each time. */
type Target = { readonly service: ServiceKey; readonly callee?: ClusterName }
type Sums = { readonly issued: number; readonly ok: number; readonly errors: number }
type Told = { readonly reports: number; readonly at: number; readonly active: ReadonlyMap<Target, number> }

/** `config`: what is in force. What is no import or export of it, or leads to no cluster that offers it, is not counted. */
export function openLoadCounts(
  config: () => ClusterConfig | undefined,
  now: () => number = () => performance.now(),
): LoadCounts {
  const targets = new Map<string, Target>()
  const told = new Map<LoadReporter, Told>()
  const errors = new Map<number, Map<ClusterName, number>>()
  let calls = new Map<Target, Sums>()
  let begun = new Map<LoadReporter, Map<Target, number>>()
  let heard = new Set<string>()
  const left = new Map<string, number>()
  return { take, gone, takeAway, giveBack, isMissing, reporting, errorsIn }

  function take(reporter: LoadReporter, loads: readonly HostLoad[]): void {
    const active = new Map<Target, number>()
    for (const { name, subZone, issued, ok, errors: bad, active: open } of loads) {
      if (![issued, ok, bad, open].every((n) => n >= 0 && n <= countMax)) continue
      const service = serviceOf(name)
      const target = service && (reporter.kind === 'router' ? atGateway(service) : inCluster(service, subZone))
      if (!target) continue
      if (open > 0) active.set(target, (active.get(target) ?? 0) + open)
      if (reporter.kind === 'router') addBegun(reporter, target, issued)
      else add(target, { issued, ok, errors: bad })
      if (bad > 0 && target.callee !== undefined) addErrors(target.callee, bad)
    }
    told.set(reporter, { reports: (told.get(reporter)?.reports ?? 0) + 1, at: now(), active })
    heard.add(reporter.key)
    left.delete(reporter.key)
  }

  function gone(reporter: LoadReporter): void {
    if ((told.get(reporter)?.reports ?? 0) > 1) left.set(reporter.key, now())
    told.delete(reporter)
  }

  function isMissing(measured: Iterable<string>, backMs: number): boolean {
    for (const [key, at] of left) if (now() - at > backMs) left.delete(key)
    return [...measured, ...left.keys()].some((key) => !heard.has(key))
  }

  function atGateway(service: ServiceKey): Target | undefined {
    return config()?.exports.has(service) ? targetOf(service) : undefined
  }

  function inCluster(service: ServiceKey, subZone: string): Target | undefined {
    const source = config()
      ?.imports.get(service)
      ?.sources.find(({ cluster }) => cluster === subZone)
    return source && targetOf(service, source.cluster)
  }

  function targetOf(service: ServiceKey, callee?: ClusterName): Target {
    const name = `${service} ${callee ?? ''}`
    const known = targets.get(name) ?? { service, ...(callee === undefined ? {} : { callee }) }
    targets.set(name, known)
    return known
  }

  function add(target: Target, more: Sums): void {
    const { issued, ok, errors: bad } = calls.get(target) ?? noSums
    calls.set(target, { issued: issued + more.issued, ok: ok + more.ok, errors: bad + more.errors })
  }

  function addErrors(callee: ClusterName, bad: number): void {
    const second = Math.floor(now() / 1000)
    const of = errors.get(second) ?? new Map<ClusterName, number>()
    errors.set(second, of.set(callee, (of.get(callee) ?? 0) + bad))
    for (const old of errors.keys()) if ((second - old) * 1000 > errorsKeptMs) errors.delete(old)
  }

  function addBegun(router: LoadReporter, target: Target, issued: number): void {
    const of = begun.get(router) ?? new Map<Target, number>()
    begun.set(router, of.set(target, (of.get(target) ?? 0) + issued))
  }

  function takeAway(): Window {
    const window = { rows: rowsNow(), routers: routersNow() }
    calls = new Map()
    begun = new Map()
    heard = new Set()
    return window
  }

  function rowsNow(): CallLoad[] {
    const active = new Map<Target, number>()
    for (const { active: of } of told.values())
      for (const [target, open] of of) active.set(target, (active.get(target) ?? 0) + open)
    return [...new Set([...calls.keys(), ...active.keys()])].flatMap((target) => {
      const { service, callee } = target
      const { issued, ok, errors: bad } = calls.get(target) ?? noSums
      const open = active.get(target) ?? 0
      if (callee === undefined || issued + ok + bad + open === 0) return []
      return [{ service, callee, issued, ok, errors: bad, active: open }]
    })
  }

  function routersNow(): RouterLoad[] {
    const routers = new Set([...begun.keys(), ...[...told.keys()].filter(({ kind }) => kind === 'router')])
    return [...routers].flatMap((router) => {
      const [of, active] = [begun.get(router), told.get(router)?.active]
      const met = new Set([...(of?.keys() ?? []), ...(active?.keys() ?? [])])
      return [...met]
        .map((target) => ({
          ...{ router, service: target.service },
          ...{ issued: of?.get(target) ?? 0, active: active?.get(target) ?? 0 },
        }))
        .filter(({ issued, active: open }) => issued + open > 0)
    })
  }

  function giveBack({ rows, routers }: Window): void {
    for (const { service, callee, issued, ok, errors: bad } of rows)
      add(targetOf(service, callee), { issued, ok, errors: bad })
    for (const { router, service, issued } of routers) addBegun(router, targetOf(service), issued)
  }

  function reporting(ms: number): ReadonlySet<string> {
    const since = now() - ms
    return new Set([...told].flatMap(([{ key }, { reports, at }]) => (reports > 1 && at >= since ? [key] : [])))
  }

  function errorsIn(cluster: ClusterName, ms: number): number {
    const since = Math.floor((now() - ms) / 1000)
    return [...errors].reduce((sum, [second, of]) => sum + (second >= since ? (of.get(cluster) ?? 0) : 0), 0)
  }
}

const noSums: Sums = { issued: 0, ok: 0, errors: 0 }
