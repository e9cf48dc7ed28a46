import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applied, type ReceivedStream } from '#gateway/uplink/received.ts'
import { hashOf, type Json } from '#mesh/model/canonical.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { rootOf } from '#mesh/wire/root.ts'

/** A centre's stream as a log of writes: what any reader must end up with. */
type Write = { readonly key: string; readonly value: number | null }

function stateAt(log: readonly Write[], rev: number): Map<string, Json> {
  const state = new Map<string, Json>()
  for (const { key, value } of log.slice(0, rev)) {
    if (value === null) state.delete(key)
    else state.set(key, { value })
  }
  return state
}

function deltaOf(log: readonly Write[], from: number, to: number): StreamDelta {
  const after = stateAt(log, to)
  const keys = [...new Set(log.slice(from, to).map(({ key }) => key))]
  return {
    ...{ stream: 'ep/a/all', epoch: 'e1', from, to, mode: 'delta', root: rootAt(log, to) },
    items: keys.map((k) => ({ k, v: (after.get(k) ?? null) as Record<string, unknown> | null })),
  }
}

const snapshotOf = (log: readonly Write[], to: number, epoch = 'e1'): StreamDelta => ({
  ...{ stream: 'ep/a/all', epoch, from: 0, to, mode: 'snapshot', root: rootAt(log, to) },
  items: [...stateAt(log, to)].map(([k, v]) => ({ k, v: v as Record<string, unknown> })),
})

const rootAt = (log: readonly Write[], rev: number) => rootOf([...stateAt(log, rev)].map(([k, v]) => [k, hashOf(v)]))

const writes = fc.array(
  fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.option(fc.nat(3), { nil: null }) }),
  { minLength: 1, maxLength: 20 },
)

describe('a received stream', () => {
  it('lost, doubled and reordered deltas never give a state that the centre never had', () => {
    fc.assert(
      fc.property(writes, fc.array(fc.tuple(fc.nat(20), fc.nat(20), fc.boolean()), { maxLength: 30 }), (log, steps) => {
        let stream: ReceivedStream | undefined
        for (const [x, y, whole] of steps) {
          const [from, to] = [Math.min(x, y, log.length), Math.min(Math.max(x, y), log.length)]
          const before = stream?.rev ?? 0
          stream = applied(stream, whole ? snapshotOf(log, to) : deltaOf(log, from, to)) ?? stream
          if (!stream) continue
          expect(stream.rev).toBeGreaterThanOrEqual(before)
          expect(new Map(stream.items)).toEqual(stateAt(log, stream.rev))
        }
      }),
    )
  })

  it('a delta with a gap, or for another epoch, is not applied', () => {
    const log = [1, 2, 3].map((value) => ({ key: 'a', value }))
    const first = applied(undefined, snapshotOf(log, 1))
    expect(applied(first, deltaOf(log, 2, 3))).toBeUndefined()
    expect(applied(first, { ...deltaOf(log, 1, 2), epoch: 'e2' })).toBeUndefined()
    expect(applied(undefined, deltaOf(log, 0, 1))).toBeUndefined()
  })

  it('another epoch replaces the whole, also when it is shorter', () => {
    const log = [1, 2, 3].map((value) => ({ key: `k${value}`, value }))
    const old = applied(undefined, snapshotOf(log, 3))
    const after = applied(old, snapshotOf(log, 1, 'e2'))
    expect(after?.rev).toBe(1)
    expect([...(after?.items.keys() ?? [])]).toEqual(['k1'])
  })

  it('a root that differs is a conflict and applies nothing', () => {
    const log = [{ key: 'a', value: 1 }]
    expect(() => applied(undefined, { ...snapshotOf(log, 1), root: '1'.repeat(64) })).toThrow(/root differs/)
  })

  it('an unchanged item keeps its identity over a snapshot', () => {
    const log = [
      { key: 'a', value: 1 },
      { key: 'b', value: 1 },
    ]
    const one = applied(undefined, snapshotOf(log, 1))
    const two = applied(one, snapshotOf(log, 2))
    expect(two?.items.get('a')).toBe(one?.items.get('a'))
  })
})
