import { type CompiledHead, loadCompiledHistory, loadCompiledTimeline } from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import {
  loadMemberHistory,
  loadMemberTimeline,
  type MemberObjectHistoryRow,
  type MemberState,
} from '#control/store/member-objects.ts'
import { loadPolicyHistory, loadPolicyTimeline, type PolicyHistoryRow } from '#control/store/policy-history.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/** One step of a mesh's history: a config that was compiled for a cluster, or a state of a policy or group, the
 * operators' or a member's own. */
export type HistoryEntry =
  | { readonly kind: 'config'; readonly row: CompiledHead }
  | { readonly kind: 'policy'; readonly row: PolicyHistoryRow }
  | { readonly kind: 'member'; readonly row: MemberObjectHistoryRow }

/**
 * Whose history: a cluster's name, `gtp/<namespace>/<name>` or `group/<name>`, with the cluster before the names for one
 * among a member's own objects, `mesh/policy-sources`; undefined = all of it.
 */
export type HistoryPage = {
  readonly object: string | undefined
  /** The place of the last entry of the page before, as `placeOf` wrote it; '' = from the newest on. */
  readonly after: string
  readonly limit: number
}

/** True for what names a policy or a group: no cluster has a slash in its name. */
export const isPolicyObject = (object: string): boolean => object.includes('/')

/** A member's own object by its name in the history: `gtp/<cluster>/<namespace>/<name>`, `group/<cluster>/<name>`. */
export function memberObjectIn(text: string): { readonly cluster: string; readonly object: string } | undefined {
  const [, cluster, policy, origin, group] =
    /^(?:gtp\/([^/]+)\/([^/]+\/[^/]+)|group\/([^/]+)\/([^/]+))$/.exec(text) ?? []
  if (cluster !== undefined) return { cluster, object: `gtp/${policy}` }
  return origin === undefined ? undefined : { cluster: origin, object: `group/${group}` }
}

/** As the history calls a member's own object. */
export const memberObjectText = ({ cluster, object }: Pick<MemberObjectHistoryRow, 'cluster' | 'object'>): string =>
  object.replace('/', `/${cluster}/`)

/** The history, newest first. Throws `invalid` for a place that no list gave. */
export async function loadHistory(tx: Tx, mesh: MeshName, page: HistoryPage): Promise<HistoryEntry[]> {
  const { object, limit } = page
  const last = page.after === '' ? undefined : placeIn(page.after)
  const theirs = object === undefined ? undefined : memberObjectIn(object)
  if (theirs) {
    const before = last?.state?.revision
    return (await loadMemberHistory(tx, { mesh, ...theirs }, { before, limit })).map(memberEntry)
  }
  if (object !== undefined && isPolicyObject(object))
    return (await loadPolicyHistory(tx, mesh, object, { before: last?.seq, limit })).map(policyEntry)
  if (object !== undefined)
    return (await loadCompiledHistory(tx, mesh, object, { before: last?.of?.revision, limit })).map(configEntry)
  // At one moment configs stand before policies: what follows from a change is newer than the change.
  const configs = (await loadCompiledTimeline(tx, mesh, { last, limit })).map(configEntry)
  const policies = (await loadPolicyTimeline(tx, mesh, { last, limit })).map(policyEntry)
  const members = (await loadMemberTimeline(tx, mesh, { last, limit })).map(memberEntry)
  return [...configs, ...policies, ...members].toSorted((a, b) => b.row.at - a.row.at).slice(0, limit)
}

const configEntry = (row: CompiledHead): HistoryEntry => ({ kind: 'config', row })
const policyEntry = (row: PolicyHistoryRow): HistoryEntry => ({ kind: 'policy', row })
const memberEntry = (row: MemberObjectHistoryRow): HistoryEntry => ({ kind: 'member', row })

/** Where an entry stands in every list of the history. */
export function placeOf({ kind, row }: HistoryEntry): string {
  if (kind === 'policy') return `${row.at} ${row.seq}`
  return `${row.at} ${kind === 'member' ? memberObjectText(row) : row.cluster} ${row.revision}`
}

type Place = {
  readonly at: number
  readonly seq?: number
  readonly of?: { readonly cluster: string; readonly revision: number }
  readonly state?: MemberState
}

function placeIn(text: string): Place {
  const [, at, seq, cluster = '', revision] = /^(\d{1,15}) (?:(\d{1,15})|(\S{1,300}) (\d{1,15}))$/.exec(text) ?? []
  if (at !== undefined && seq !== undefined) return { at: Number(at), seq: Number(seq) }
  const theirs = memberObjectIn(cluster)
  if (at !== undefined && theirs) return { at: Number(at), state: { ...theirs, revision: Number(revision) } }
  if (at !== undefined && !cluster.includes('/')) return { at: Number(at), of: { cluster, revision: Number(revision) } }
  const reason = 'not given by this list: start again without a cursor'
  throw new Problem('invalid', `cursor: ${reason}`, { violations: [{ path: 'cursor', reason }] })
}
