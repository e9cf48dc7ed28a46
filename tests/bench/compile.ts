import { newCompiler, type Work } from '#mesh/compile/compiler.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import {
  type ClusterName,
  parseClusterId,
  parseClusterName,
  parseMeshName,
  parseNetworkName,
  serviceKey,
  trustDomainOf,
} from '#mesh/model/id.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { clusterConfigHash, entriesOf } from '#mesh/wire/cluster-config.ts'

/** A fleet for measuring: every service is offered by so many clusters, to all. */
export type CompileScale = { readonly clusters: number; readonly services: number; readonly exporters: number }

/** Milliseconds to compile, encode and hash all configs: from nothing, and after a change of one policy. */
export type CompileCost = CompileScale & {
  readonly fullMs: number
  readonly policyMs: number
  /** After the change: of `services` and `clusters`. */
  readonly work: Work
}

const mesh = parseMeshName('mesh1')

export function fleetOf({ clusters, services, exporters }: CompileScale): Fleet {
  const names = Array.from({ length: clusters }, (_, n) => parseClusterName(`cluster-${n}`))
  const members = names.map((name, n): Member => {
    const own = Array.from({ length: services }, (_, svc) => svc).filter(
      (svc) => (n + clusters - (svc % clusters)) % clusters < exporters,
    )
    return {
      ...{ id: parseClusterId('00000000-0000-7000-8000-000000000000'), name, network: parseNetworkName(name) },
      ...{ region: `region-${n % 5}`, trustDomain: trustDomainOf(name, mesh, 1), refused: new Set() },
      exports: new Map(own.map((svc) => [keyAt(svc), exportAt(svc)])),
    }
  })
  return { mesh, roots: ['-----BEGIN CERTIFICATE-----\nbench\n-----END CERTIFICATE-----\n'], members, narrowings: [] }
}

const keyAt = (n: number) => serviceKey('shop', `svc-${n}`)
const exportAt = (n: number) => ({
  key: keyAt(n),
  ports: [{ name: 'http', port: 8080, protocol: 'http' as const, declared: true }],
  ...{ serviceAccounts: [`svc-${n}`], createdAt: 1000, headless: false },
})

export const policyAt = (n: number, revision: number): TrafficPolicy => ({
  ...{ namespace: 'shop', name: `svc-${n}`, revision, origin: 'api' },
  spec: {
    services: { names: [`svc-${n}`] },
    tiers: [{ targets: [{ region: `region-${revision % 5}` }] }],
    unlisted: 'last',
  },
})

/** Every tenth service has a policy; then one of those changes. The best of `rounds`, each from nothing. */
export function measureCompile(scale: CompileScale, rounds = 3): CompileCost {
  const policies = Array.from({ length: Math.ceil(scale.services / 10) }, (_, n) => policyAt(n * 10, 1))
  const costs = Array.from({ length: rounds }, (_, round) => {
    const fleet = { ...fleetOf(scale), policies }
    const compiler = newCompiler()
    let before: ReadonlyMap<ClusterName, ClusterConfig> = new Map()
    const fullMs = timed(() => {
      before = compiler.compile(fleet)
      hashesOf(before)
    })
    const changed = { ...fleet, policies: [policyAt(0, round + 2), ...policies.slice(1)] }
    const policyMs = timed(() => hashesOf(compiler.compile(changed), before))
    return { ...scale, fullMs, policyMs, work: compiler.work() }
  })
  const [best] = costs.toSorted((a, b) => a.policyMs / a.fullMs - b.policyMs / b.fullMs)
  if (!best) throw new Error('no round was measured')
  return best
}

/** As the centre does with what was compiled: the entries of each config, and their hash. */
export function hashesOf(
  configs: ReadonlyMap<ClusterName, ClusterConfig>,
  before?: ReadonlyMap<ClusterName, ClusterConfig>,
): Map<ClusterName, string> {
  return new Map([...configs].map(([name, one]) => [name, clusterConfigHash(entriesOf(one, before?.get(name)))]))
}

function timed(work: () => unknown): number {
  const started = performance.now()
  work()
  return performance.now() - started
}
