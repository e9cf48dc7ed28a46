import type { StreamState } from '#gateway/relay/stream-state.ts'
import { goalOf, settled } from '#gateway/relay/subscription.ts'
import { typeUrls } from '#mesh/model/resource.ts'

/** What one client has of one type. NACK: something was refused and is still set aside, or is being searched. */
export type TypeStatus = {
  readonly state: 'SYNCED' | 'STALE' | 'NACK'
  readonly names: number | '*'
  readonly held: number
  /** Versions that this client is not offered because it, or enough others, refused them. */
  readonly setAside: readonly { readonly name: string; readonly version: string; readonly owner?: string }[]
  readonly lastAckAt?: number
  /** Since when something is due or not acknowledged. */
  readonly since?: number
  readonly nack?: { readonly detail: string; readonly names: readonly string[]; readonly at: number }
}

/** How far a stream's client is behind, by short type name; only types that it subscribes to. */
export function typesOf(state: StreamState | undefined): Readonly<Record<string, TypeStatus>> {
  if (!state) return {}
  return Object.fromEntries(Object.keys(typeUrls).flatMap((short) => entryOf(state, short)))
}

/** How many types are due or not acknowledged: those that `typesOf` calls STALE. Counted for every stream, each second. */
export function staleIn(state: StreamState | undefined): number {
  if (!state) return 0
  let count = 0
  for (const [short, type] of shorts) {
    const s = state.subscriptions.get(type)
    const isInStep = !s || (s.own.size === 0 && s.outstanding === undefined && !s.owesAnswer)
    if (!isInStep && entryOf(state, short).some(([, { state }]) => state === 'STALE')) count += 1
  }
  return count
}

const shorts = Object.entries(typeUrls)

function entryOf(state: StreamState, short: string): [string, TypeStatus][] {
  const type = shorts.find(([key]) => key === short)?.[1]
  const s = type && state.subscriptions.get(type)
  if (!s) return []
  const setAside: { name: string; version: string; owner?: string }[] = []
  let due = 0
  for (const [name, held] of s.own) {
    if (settled(s, name, held)) continue
    const resource = s.base.get(name)
    const goal = goalOf(s, name, held, state.judge)
    if (goal && goal.version !== held.version) due += 1
    if (!resource || goal === resource) continue
    const { version, owner } = resource
    setAside.push({ name, version, ...(owner !== undefined && { owner }) })
  }
  const behind = s.outstanding !== undefined || s.owesAnswer || due > 0
  const since = s.outstanding?.sentAt ?? s.changedAt
  const known = s.wildcard ? s.base.size : s.names.size
  const refused = setAside.length > 0 || s.suspects.length > 0
  const status: TypeStatus = {
    state: refused ? 'NACK' : behind ? 'STALE' : 'SYNCED',
    names: s.wildcard ? '*' : s.names.size,
    held: Math.max(0, known - s.own.size),
    setAside,
    ...(s.lastAckAt !== undefined && { lastAckAt: s.lastAckAt }),
    ...(behind && since !== undefined && { since }),
    ...(refused && s.nack && { nack: s.nack }),
  }
  return [[short, status]]
}
