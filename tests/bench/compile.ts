import { newCompiler, type Work } from '#mesh/compile/compiler.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { clusterConfigHash, entriesOf } from '#mesh/wire/cluster-config.ts'
import type { Row } from '#tests/bench/report.ts'
import { fleetOf } from '#tests/support/foreseen-fleet.ts'

/** A fleet for measuring: every service is offered by so many clusters, to all. */
export type CompileScale = { readonly clusters: number; readonly services: number; readonly exporters: number }

/** Milliseconds of processor time to compile, encode and hash all configs: from nothing, and after a change of one policy. */
export type CompileCost = CompileScale & {
  readonly fullMs: number
  readonly policyMs: number
  /** After the change: of `services` and `clusters`. */
  readonly work: Work
  readonly extrapolated?: true
}

export const policyAt = (n: number, revision: number): TrafficPolicy => ({
  ...{ namespace: 'shop', name: `svc-${n}`, revision, origin: 'api' },
  spec: {
    services: { names: [`svc-${n}`] },
    tiers: [{ targets: [{ region: `region-${revision % 5}` }] }],
    unlisted: 'last',
  },
})

/** Every tenth service has a policy; then one of those changes, again and again: the median, in processor time. */
export function measureCompile(scale: CompileScale, changes = 7): CompileCost {
  const policies = Array.from({ length: Math.ceil(scale.services / 10) }, (_, n) => policyAt(n * 10, 1))
  const fleet = { ...fleetOf(scale), policies }
  const compiler = newCompiler()
  let before: Configs = new Map()
  const fullMs = spent(() => {
    before = compiler.compile(fleet)
    hashesOf(before)
  })
  const rounds = Array.from({ length: changes }, (_, round) =>
    spent(() => {
      const now = compiler.compile({ ...fleet, policies: [policyAt(0, round + 2), ...policies.slice(1)] })
      hashesOf(now, before)
      before = now
    }),
  )
  const policyMs = rounds.toSorted((a, b) => a - b)[Math.floor(changes / 2)] ?? Number.NaN
  return { ...scale, fullMs, policyMs, work: compiler.work() }
}

/** A tenth, a third and all of a hundred clusters; what a thousand would cost, by the line through the last two. */
export function measureCompiles(): readonly CompileCost[] {
  const costs = [10, 30, 100].map((clusters) => measureCompile({ clusters, services: 300, exporters: 3 }))
  const [, few, many] = costs
  if (!few || !many) return costs
  const at = (ms: (cost: CompileCost) => number): number => ms(many) + ((ms(many) - ms(few)) / 70) * 900
  const far = { fullMs: at((cost) => cost.fullMs), policyMs: at((cost) => cost.policyMs) }
  return [...costs, { ...many, ...far, clusters: 1000, work: { ...many.work, configs: 1000 }, extrapolated: true }]
}

export function compileRows(costs: readonly CompileCost[]): Row[] {
  return costs.map(({ clusters, services, exporters, fullMs, policyMs, work, extrapolated }) => ({
    what: `${clusters} clusters × ${services} services of ${exporters} exporters${extrapolated ? ' (extrapolated)' : ''}: all compiled, encoded and hashed; after a change of one policy`,
    seen: `${fullMs.toFixed(0)} ms; ${policyMs.toFixed(1)} ms (1/${(fullMs / policyMs).toFixed(0)}), ${work.services} service, ${work.imports} imports, ${work.configs} configs`,
    ...(clusters === 100 ? { bar: { text: '≤ 1/50', reached: policyMs * 50 <= fullMs && work.services === 1 } } : {}),
  }))
}

type Configs = ReadonlyMap<ClusterName, ClusterConfig>

/** As the centre does with what was compiled: the entries of each config, and their hash. */
export function hashesOf(configs: Configs, before?: Configs): Map<ClusterName, string> {
  return new Map([...configs].map(([name, one]) => [name, clusterConfigHash(entriesOf(one, before?.get(name)))]))
}

/** Milliseconds of processor time. */
export function spent(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
