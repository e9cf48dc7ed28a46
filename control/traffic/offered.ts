import type { Centre } from '#control/centre.ts'
import type { Tx } from '#control/store/database.ts'
import { loadLive, loadStream } from '#control/store/streams.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Capacity } from '#mesh/model/traffic-policy.ts'
import { cfgStream } from '#mesh/wire/stream.ts'

/** Of a cluster's config what its reports are judged by. */
export type Offered = {
  readonly imports: ReadonlyMap<ServiceKey, OfferedService>
  readonly exports: ReadonlySet<ServiceKey>
}
export type OfferedService = {
  readonly sources: ReadonlySet<ClusterName>
  /** By cluster: what it is able to take from all callers. */
  readonly capacities: ReadonlyMap<ClusterName, Capacity>
}

type Known = Offered & { readonly epoch: string; readonly head: number }
const known = new WeakMap<Centre, Map<string, Known>>()

const nothing: Offered = { imports: new Map(), exports: new Set() }

/** What the cluster's config in force offers it; read again only where that is another one. */
export async function offeredTo(centre: Centre, tx: Tx, cluster: string): Promise<Offered> {
  const ref = { mesh: centre.mesh, stream: cfgStream(cluster) }
  const stream = await loadStream(tx, ref)
  if (!stream) return nothing
  const all = known.get(centre) ?? new Map<string, Known>()
  known.set(centre, all)
  const before = all.get(cluster)
  if (before?.epoch === stream.epoch && before.head === stream.head) return before
  const items = await loadLive(tx, ref)
  const named = (prefix: string) => items.filter(({ key }) => key.startsWith(prefix))
  const made: Known = {
    ...{ epoch: stream.epoch, head: stream.head },
    imports: new Map(
      named('import/').map(({ key, body }) => [keyIn(key), parseOffered(JSON.parse(body) as ImportBody)]),
    ),
    exports: new Set(named('export/').map(({ key }) => keyIn(key))),
  }
  all.set(cluster, made)
  return made
}

const keyIn = (key: string): ServiceKey => key.slice(key.indexOf('/') + 1) as ServiceKey

/** As `entriesOf` writes it. */
type ImportBody = {
  readonly sources: readonly { readonly cluster: ClusterName }[]
  readonly tiers: readonly {
    readonly members: readonly { readonly cluster: ClusterName; readonly capacity?: Capacity }[]
  }[]
}

const parseOffered = ({ sources, tiers }: ImportBody): OfferedService => ({
  sources: new Set(sources.map(({ cluster }) => cluster)),
  capacities: new Map(
    tiers.flatMap(({ members }) => members.flatMap(({ cluster, capacity }) => (capacity ? [[cluster, capacity]] : []))),
  ),
})
