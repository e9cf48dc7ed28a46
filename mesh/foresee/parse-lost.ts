import type { Configs } from '#mesh/foresee/config-changes.ts'
import type { Lost, Sight } from '#mesh/foresee/outlook.ts'
import { addressKey } from '#mesh/model/address.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'

type Fleet = { readonly configs: Configs; readonly gateways: Sight['gateways'] }

/** What one word may mean. */
type Meaning = {
  readonly kind: 'cluster' | 'region' | 'gateway'
  readonly clusters: readonly ClusterName[]
  readonly gateways: readonly (readonly [ClusterName, string])[]
}

const kinds = ['cluster', 'region', 'gateway'] as const

/**
 * What words name that is to be lost: a cluster, a region, or a gateway as `<address>:<port>`, `<address>` or
 * `<cluster>/<address>:<port>`; `cluster/…`, `region/…` and `gateway/…` say which. Throws `invalid` with every word that
 * names nothing, or more than one thing, and where nobody would be left.
 */
export function parseLost(words: readonly string[], fleet: Fleet): Lost {
  const clusters = new Set<ClusterName>()
  const gateways = new Map<ClusterName, Set<string>>()
  const violations: Violation[] = []
  for (const [at, word] of words.entries()) {
    const [first, ...others] = meaningsOf(word, fleet)
    if (!first || others.length > 0)
      violations.push({
        path: `lose[${at}]`,
        reason: first ? ambiguous(word, [first, ...others]) : unknown(word, fleet),
      })
    for (const cluster of first?.clusters ?? []) clusters.add(cluster)
    for (const [cluster, key] of first?.gateways ?? [])
      gateways.set(cluster, (gateways.get(cluster) ?? new Set()).add(key))
  }
  if (violations.length === 0 && [...fleet.configs.keys()].every((cluster) => clusters.has(cluster)))
    violations.push({ path: 'lose', reason: 'that is every cluster of this mesh: nobody would be left to call' })
  const [fault] = violations
  if (!fault) return { clusters, gateways }
  throw new Problem('invalid', `${fault.path}: ${fault.reason}`, { violations })
}

function meaningsOf(word: string, { configs, gateways }: Fleet): Meaning[] {
  const said = kinds.find((kind) => word.startsWith(`${kind}/`))
  const name = said ? word.slice(said.length + 1) : word
  const all: readonly Meaning[] = [
    { kind: 'cluster', clusters: [...configs.keys()].filter((cluster) => cluster === name), gateways: [] },
    {
      ...{ kind: 'region', gateways: [] },
      clusters: [...configs.values()]
        .filter(({ region }) => region !== '' && region === name)
        .map((one) => one.cluster),
    },
    {
      ...{ kind: 'gateway', clusters: [] },
      gateways: [...configs.keys()].flatMap((cluster) =>
        (gateways.get(cluster)?.gateways ?? [])
          .map((one) => ({ address: one.address, key: addressKey(one) }))
          .filter(({ address, key }) => [key, address, `${cluster}/${key}`, `${cluster}/${address}`].includes(name))
          .map(({ key }) => [cluster, key] as const),
      ),
    },
  ]
  return all.filter((one) => (said ?? one.kind) === one.kind && one.clusters.length + one.gateways.length > 0)
}

const ambiguous = (word: string, meanings: readonly Meaning[]): string =>
  `"${word}" is a ${meanings.map(({ kind }) => kind).join(' and a ')}: say ${meanings.map(({ kind }) => `${kind}/${word}`).join(' or ')}`

function unknown(word: string, { configs }: Fleet): string {
  const regions = new Set([...configs.values()].map(({ region }) => region).filter((region) => region !== ''))
  return (
    `"${word.slice(0, 100)}" is no cluster, region or gateway of this mesh; there are the clusters ` +
    `${someOf([...configs.keys()])} and the regions ${someOf([...regions].toSorted())}`
  )
}
