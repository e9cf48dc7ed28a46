import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { loadMembers } from '#control/store/clusters.ts'
import { lockMark, type MeshMarkRow, saveMark } from '#control/store/mesh-marks.ts'
import { appendHistory, lockPolicies } from '#control/store/policy-history.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import { labelFault } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/** How the history calls the list of policy sources. */
export const sourcesObject = 'mesh/policy-sources'

/** As many as a mesh takes: the policies of each are looked at for every service of every caller. */
const sourcesMax = 10

export type SourcesChange = {
  readonly clusters: readonly string[]
  readonly expected?: number | undefined
  readonly reason?: string | undefined
}

/**
 * Names the clusters whose own policies and groups count for the whole mesh, in place of those named before. Who writes
 * there then decides where everybody's calls go and, by groups, who may call what: it is for admins. The same again changes
 * nothing. Throws `invalid` for a name of no member, `stale` where `expected` is not the revision any more.
 */
export async function nameSources(
  centre: Centre,
  caller: Caller,
  { clusters, expected, reason = '' }: SourcesChange,
): Promise<MeshMarkRow> {
  const wanted = [...new Set(clusters)].toSorted()
  const row = await centre.db.transact(async (tx) => {
    await lockPolicies(tx, centre.mesh)
    const old = await lockMark(tx, centre.mesh, 'policy-sources')
    if (expected !== undefined && expected !== old.revision)
      throw new Problem('stale', `the policy sources are at revision ${old.revision} now: read them again`, {
        extra: { revision: old.revision },
      })
    const value = wanted.length === 0 ? '' : canonicalJson(wanted)
    if (old.value === value) return old
    const before = old.value === '' ? [] : (JSON.parse(old.value) as string[])
    checkNames(wanted, before, new Set((await loadMembers(tx, centre.mesh)).map(({ name }) => name)))
    const by = callerText(caller)
    const next = { ...old, value, by, reason, at: centre.now() }
    await saveMark(tx, next)
    const revision = old.revision + 1
    const spec = canonicalJson(wanted)
    await appendHistory(tx, { mesh: centre.mesh, object: sourcesObject, revision, spec, by, reason, at: next.at })
    const detail = { clusters: wanted, ...(reason === '' ? {} : { reason }) }
    await audited(centre, tx, caller, { action: 'policy-sources.set', object: `mesh ${centre.mesh}`, detail })
    await askPublish(centre, tx, { cause: `policy sources@${revision}`, author: by })
    return { ...next, revision }
  })
  centre.bus.announce({ kind: 'outbox' })
  return row
}

/** One that has left may stay on the list until it is taken off. */
function checkNames(wanted: readonly string[], before: readonly string[], members: ReadonlySet<string>): void {
  const violations = wanted.flatMap((name, at) => {
    if (before.includes(name)) return []
    const fault = labelFault(name) ?? (members.has(name) ? undefined : 'is no cluster of this mesh: join it first')
    return fault === undefined ? [] : [{ path: `clusters[${at}]`, reason: `"${name.slice(0, 80)}" ${fault}` }]
  })
  if (wanted.length > sourcesMax)
    violations.push({ path: 'clusters', reason: `more than ${sourcesMax} clusters cannot count for the whole mesh` })
  const [first] = violations
  if (first) throw new Problem('invalid', `${first.path}: ${first.reason}`, { violations })
}
