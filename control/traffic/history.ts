import { type CompiledHead, loadCompiledHistory, loadCompiledTimeline } from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import { loadPolicyHistory, loadPolicyTimeline, type PolicyHistoryRow } from '#control/store/policy-history.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/** One step of a mesh's history: a config that was compiled for a cluster, or a state of a policy or a group. */
export type HistoryEntry =
  | { readonly kind: 'config'; readonly row: CompiledHead }
  | { readonly kind: 'policy'; readonly row: PolicyHistoryRow }

/** Whose history: a cluster's name, `gtp/<namespace>/<name>` or `group/<name>`; undefined = all of it. */
export type HistoryPage = {
  readonly object: string | undefined
  /** The place of the last entry of the page before, as `placeOf` wrote it; '' = from the newest on. */
  readonly after: string
  readonly limit: number
}

/** True for what names a policy or a group: no cluster has a slash in its name. */
export const isPolicyObject = (object: string): boolean => object.includes('/')

/** The history, newest first. Throws `invalid` for a place that no list gave. */
export async function loadHistory(tx: Tx, mesh: MeshName, page: HistoryPage): Promise<HistoryEntry[]> {
  const { object, limit } = page
  const last = page.after === '' ? undefined : placeIn(page.after)
  if (object !== undefined && isPolicyObject(object))
    return (await loadPolicyHistory(tx, mesh, object, { before: last?.seq, limit })).map(policyEntry)
  if (object !== undefined)
    return (await loadCompiledHistory(tx, mesh, object, { before: last?.of?.revision, limit })).map(configEntry)
  // At one moment configs stand before policies: what follows from a change is newer than the change.
  const configs = (await loadCompiledTimeline(tx, mesh, { last, limit })).map(configEntry)
  const policies = (await loadPolicyTimeline(tx, mesh, { last, limit })).map(policyEntry)
  return [...configs, ...policies].toSorted((a, b) => b.row.at - a.row.at).slice(0, limit)
}

const configEntry = (row: CompiledHead): HistoryEntry => ({ kind: 'config', row })
const policyEntry = (row: PolicyHistoryRow): HistoryEntry => ({ kind: 'policy', row })

/** Where an entry stands in every list of the history. */
export const placeOf = ({ kind, row }: HistoryEntry): string =>
  kind === 'policy' ? `${row.at} ${row.seq}` : `${row.at} ${row.cluster} ${row.revision}`

type Place = {
  readonly at: number
  readonly seq?: number
  readonly of?: { readonly cluster: string; readonly revision: number }
}

function placeIn(text: string): Place {
  const [, at, seq, cluster = '', revision] = /^(\d{1,15}) (?:(\d{1,15})|(\S{1,63}) (\d{1,15}))$/.exec(text) ?? []
  if (at !== undefined && seq !== undefined) return { at: Number(at), seq: Number(seq) }
  if (at !== undefined) return { at: Number(at), of: { cluster, revision: Number(revision) } }
  const reason = 'not given by this list: start again without a cursor'
  throw new Problem('invalid', `cursor: ${reason}`, { violations: [{ path: 'cursor', reason }] })
}
