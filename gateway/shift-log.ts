import type { Shift } from '#mesh/model/traffic.ts'

/** The moves of this cluster's callers: what the centre is still to be told, and the last ones for whoever looks here. */
export type ShiftLog = {
  add(shift: Omit<Shift, 'seq'>): void
  untold(): readonly Shift[]
  /** All up to this one were taken. */
  taken(seq: number): void
  recent(): readonly Shift[]
  seq(): number
  counts(): readonly { readonly cluster: string; readonly kind: Shift['kind']; readonly count: number }[]
}

/** Of what nobody took the oldest is forgotten first: a centre that is away for a month is told of the last moves. */
const untoldMax = 500
const recentMax = 20

export function openShiftLog(kept: { readonly seq: number; readonly untold: readonly Shift[] }): ShiftLog {
  let { seq } = kept
  let untold = kept.untold
  let recent: readonly Shift[] = []
  const counts = new Map<string, { cluster: string; kind: Shift['kind']; count: number }>()
  return {
    add: (said) => {
      seq += 1
      const shift = { seq, ...said }
      untold = [...untold, shift].slice(-untoldMax)
      recent = [...recent, shift].slice(-recentMax)
      const { cluster, kind } = said
      const count = counts.get(`${cluster} ${kind}`)?.count ?? 0
      counts.set(`${cluster} ${kind}`, { cluster, kind, count: count + 1 })
    },
    untold: () => untold,
    taken: (upTo) => {
      untold = untold.filter((shift) => shift.seq > upTo)
    },
    recent: () => recent,
    seq: () => seq,
    counts: () => [...counts.values()],
  }
}
