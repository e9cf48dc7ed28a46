import type { Centre } from '#control/centre.ts'
import { loadNumberedFleet, type ReportMemo } from '#control/load-fleet.ts'
import { projectMesh } from '#control/project-cluster.ts'
import { retained } from '#control/retain-fleet.ts'
import { loadClusterByName } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { holdLease, takeLease } from '#control/store/leases.ts'
import { deleteOutbox, loadOutbox, type OutboxRow } from '#control/store/outbox.ts'
import { appendWhole } from '#control/store/stream-writes.ts'
import { loadStreams } from '#control/store/streams.ts'
import { changeOf, type StreamChange } from '#control/stream-change.ts'
import { type JudgeMemo, judgeMembers, type MemberChange } from '#control/traffic/judge-members.ts'
import { writeTrustStream } from '#control/trust/bundle.ts'
import { type WrittenConfig, writeConfig } from '#control/write-config.ts'
import { type Compiler, newCompiler } from '#mesh/compile/compiler.ts'
import { canonicalJson, sha256Hex } from '#mesh/model/canonical.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import { Problem } from '#mesh/model/problem.ts'
import { clusterConfigHash, entriesOf } from '#mesh/wire/cluster-config.ts'
import { emptyRoot } from '#mesh/wire/root.ts'
import { cfgStream } from '#mesh/wire/stream.ts'

/** What a publisher remembers between rounds, only to read and write less: losing it costs nothing but that. */
export type PublishMemo = {
  readonly reports: ReportMemo
  readonly compiler: Compiler
  readonly judged: JudgeMemo
  /** The fleet that was compiled last. */
  fleet?: Fleet
  /** What this process wrote last for each cluster. */
  readonly written: Map<string, WrittenConfig>
  neighbourhood: string
}
export const newPublishMemo = (): PublishMemo => ({
  ...{ reports: new Map(), compiler: newCompiler(), judged: {}, written: new Map(), neighbourhood: '' },
})

/** How one round went: how many configs moved, and whether more work lies in the outbox. */
export type PublishResult = { readonly published: number; readonly more: boolean }

/** How long a publisher that died keeps the others of its centre waiting. */
const leaseMs = 4000

/**
 * Compiles the fleet and writes what differs: entries to `cfg/<cluster>`, the whole to the history with its cause, roots
 * and members to `trust/<mesh>`; brings the summaries to who may read them where that changed. Work is taken from the
 * outbox before and ticked off after it, so a round that dies is done again, and doing it again changes nothing. With
 * `always` it compares although nobody asked: at the start, and now and then.
 *
 * One round at a time per process: see `openPublisher`. Where several processes share the database, one of them holds the
 * lease, and each of its writes locks it: a fleet read long ago never overwrites a newer one's config.
 */
export async function publish(centre: Centre, memo: PublishMemo, always: boolean): Promise<PublishResult> {
  const asked = await centre.db.read((tx) => loadOutbox(tx, centre.mesh))
  if (asked.length === 0 && !always) return { published: 0, more: false }
  if (!(await lead(centre, memo))) return { published: 0, more: false }
  const { fleet, policies, theirs } = await settledFleet(centre, memo)
  const why = reasonOf(asked, theirs)
  // First away, then there: whoever is shut out loses the summary before anybody is told of a new road.
  await project(centre, fleet, { memo, always })
  const published = await writeConfigs(centre, fleet, { memo, why: { ...why, policies }, always })
  await publishTrust(centre)
  await centre.db.transact((tx) =>
    deleteOutbox(
      tx,
      centre.mesh,
      asked.map((row) => row.id),
    ),
  )
  const oldest = asked[0]
  if (oldest) centre.measures.published(centre.now() - oldest.at)
  return { published, more: asked.length === 500 }
}

/** The fleet, after members' own policies were looked at: what of them changed by that is in it. */
async function settledFleet(
  centre: Centre,
  memo: PublishMemo,
): Promise<{ readonly fleet: Fleet; readonly policies: number; readonly theirs: readonly MemberChange[] }> {
  const load = async () => {
    const loaded = await centre.db.read((tx) => loadNumberedFleet(tx, centre.mesh, memo.reports))
    memo.fleet = retained(loaded.fleet, memo.fleet)
    return { fleet: memo.fleet, policies: loaded.policies }
  }
  const before = await load()
  const write = <T>(work: (tx: Tx) => Promise<T>): Promise<T> => asLeader(centre, work)
  const theirs = await judgeMembers(centre, { ...before, reports: memo.reports, memo: memo.judged, write })
  return theirs ? { ...(await load()), theirs } : { ...before, theirs: [] }
}

const leaseOf = (centre: Centre) => ({ mesh: centre.mesh, name: 'publish' })

/** The embedded database has one process, which its lock file sees to. */
async function lead(centre: Centre, memo: PublishMemo): Promise<boolean> {
  if (centre.db.kind === 'embedded') return true
  const now = centre.now()
  const asked = { holder: centre.instance, now, until: now + leaseMs }
  const taken = await centre.db.transact((tx) => takeLease(tx, leaseOf(centre), asked))
  if (taken?.fresh) {
    // Somebody else has published meanwhile: what this process remembers may not stand any more.
    memo.written.clear()
    memo.neighbourhood = ''
  }
  return taken !== undefined
}

function asLeader<T>(centre: Centre, work: (tx: Tx) => Promise<T>): Promise<T> {
  return centre.db.transact(async (tx) => {
    const until = centre.now() + leaseMs
    if (centre.db.kind !== 'embedded' && !(await holdLease(tx, leaseOf(centre), centre.instance, until)))
      throw new Problem('unavailable', 'another process of this centre publishes now')
    return work(tx)
  })
}

type Why = { readonly cause: string; readonly author: string }
/** With the number of the last change of policies. */
type Reason = Why & { readonly policies: number }

/** Rows of `sync` carry a cause alone: the cluster that reported is in it. */
function reasonOf(asked: readonly OutboxRow[], theirs: readonly MemberChange[]): Why {
  const bodies = [
    ...theirs.map(({ cluster, cause }) => ({ cause, author: `cluster:${cluster}` })),
    ...asked.map((row) => JSON.parse(row.body) as { readonly cause?: string; readonly author?: string }),
  ]
  const causes = [...new Set(bodies.map((body) => body.cause ?? 'a change'))]
  const authors = [
    ...new Set(bodies.map((body) => body.author ?? (body.cause ?? '').replace(/^report of /, 'cluster:'))),
  ]
  const shown = causes.slice(0, 5).join('; ')
  return {
    cause: (causes.length === 0
      ? 'full comparison'
      : causes.length > 5
        ? `${shown}; and ${causes.length - 5} more`
        : shown
    ).slice(0, 500),
    author: (authors.slice(0, 3).join(', ') || 'centre').slice(0, 200),
  }
}

/**
 * Only when what decides about readers moved: members, their networks, the lists. Summaries themselves flow with each
 * report; a full comparison finds what went wrong with either.
 */
async function project(
  centre: Centre,
  fleet: Fleet,
  { memo, always }: { readonly memo: PublishMemo; readonly always: boolean },
): Promise<void> {
  const neighbourhood = sha256Hex(
    canonicalJson({
      members: fleet.members.map(({ name, network }) => `${name} ${network}`).toSorted(),
      groups: (fleet.groups ?? []).map(({ name, clusters }) => `${name} ${clusters.join(' ')}`),
      narrowings: fleet.narrowings.map((narrowing) => canonicalJson({ ...narrowing })).toSorted(),
    }),
  )
  if (neighbourhood === memo.neighbourhood && !always) return
  const asLeaderOnly = { ...centre.db, transact: <T>(work: (tx: Tx) => Promise<T>) => asLeader(centre, work) }
  tell(centre, await projectMesh(asLeaderOnly, centre.mesh, centre.now()))
  memo.neighbourhood = neighbourhood
}

async function writeConfigs(
  centre: Centre,
  fleet: Fleet,
  { memo, why, always }: { readonly memo: PublishMemo; readonly why: Reason; readonly always: boolean },
): Promise<number> {
  const configs = memo.compiler.compile(fleet)
  centre.measures.compiled(configs.size)
  const changes: StreamChange[] = []
  for (const [cluster, config] of configs) {
    const known = memo.written.get(cluster)
    if (known?.config === config && !always) continue
    const entries = entriesOf(config, known?.config)
    const hash = clusterConfigHash(entries)
    if (known?.hash === hash && !always) memo.written.set(cluster, { ...known, config, entries })
    if (known?.hash === hash && !always) continue
    const last = always ? undefined : known
    const { delta, ...place } = await asLeader(centre, (tx) =>
      writeConfig(centre, tx, { cluster, entries, hash, why, last }),
    )
    memo.written.set(cluster, { config, entries, hash, ...place })
    if (delta) changes.push(changeOf(delta))
  }
  for (const cluster of await gone(centre, new Set<string>(configs.keys()))) {
    await asLeader(centre, (tx) =>
      appendWhole(tx, { mesh: centre.mesh, stream: cfgStream(cluster) }, new Map(), centre.now()),
    )
    memo.written.delete(cluster)
  }
  tell(centre, changes)
  return changes.length
}

/** Clusters that are no members and whose config still holds something. */
async function gone(centre: Centre, members: ReadonlySet<string>): Promise<string[]> {
  return centre.db.read(async (tx) => {
    const left: string[] = []
    for (const { source, root } of await loadStreams(tx, centre.mesh, ['cfg']))
      if (root !== emptyRoot && !members.has(source)) {
        // It may have joined a moment ago, after the fleet was read.
        const row = await loadClusterByName(tx, centre.mesh, source)
        if (row?.state !== 'joined') left.push(source)
      }
    return left
  })
}

async function publishTrust(centre: Centre): Promise<void> {
  const delta = await asLeader(centre, (tx) => writeTrustStream(centre, tx))
  if (delta) tell(centre, [changeOf(delta)])
}

function tell(centre: Centre, changes: readonly StreamChange[]): void {
  if (changes.length > 0) centre.bus.announce({ kind: 'streams', changes })
}
