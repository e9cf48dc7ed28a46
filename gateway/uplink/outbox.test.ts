import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { newOutbox, nextBatch } from '#gateway/uplink/outbox.ts'
import { hashOf, type Json } from '#mesh/model/canonical.ts'
import { emptyRoot, rootOf } from '#mesh/wire/root.ts'

const stateArb = fc
  .dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.nat(3))
  .map((entries) => new Map<string, Json>(Object.entries(entries).map(([key, n]) => [key, { n }])))

describe('the outbox', () => {
  it('whatever changes and whichever answers are lost, the centre ends with what is wanted, and the root is right', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(stateArb, fc.boolean()), { minLength: 1, maxLength: 12 }), (steps) => {
        let outbox = newOutbox(1000, '0000000a')
        const centre = new Map<string, Json>()
        let applied = 0
        let unanswered: ReturnType<typeof nextBatch>
        const send = (wanted: ReadonlyMap<string, Json>, answered: boolean) => {
          unanswered ??= nextBatch(outbox, wanted, false)
          const batch = unanswered
          if (!batch) return false
          // The centre takes a batch once by its number; a batch of a number it has seen is answered and not applied again.
          if (batch.request.seq === applied + 1) {
            for (const { k, v } of batch.request.items) v === null ? centre.delete(k) : centre.set(k, v as Json)
            applied = batch.request.seq
            expect(batch.request.root).toBe(rootOf([...centre].map(([k, v]) => [k, hashOf(v)])))
          }
          if (answered) {
            outbox = batch.after
            unanswered = undefined
          }
          return answered
        }
        let last: ReadonlyMap<string, Json> = new Map()
        for (const [wanted, answered] of steps) {
          send(wanted, answered)
          last = wanted
        }
        for (let more = 0; more < 10 && send(last, true); more++);
        expect(centre).toEqual(new Map(last))
        expect(outbox.complete).toBe(true)
      }),
    )
  })

  it('five hundred items a batch, and only the last one of the first report is complete', () => {
    const wanted = new Map<string, Json>(Array.from({ length: 1200 }, (_, n) => [`k${n}`, { n }]))
    let outbox = newOutbox(1, '0000000a')
    const seen: [number, boolean][] = []
    for (let batch = nextBatch(outbox, wanted, false); batch; batch = nextBatch(outbox, wanted, false)) {
      seen.push([batch.request.items.length, batch.request.complete ?? false])
      outbox = batch.after
    }
    expect(seen).toEqual([
      [500, false],
      [500, false],
      [200, true],
    ])
  })

  it('an empty cluster still completes its first report; after that only heartbeats are empty', () => {
    const first = nextBatch(newOutbox(1, '0000000a'), new Map(), false)
    expect(first?.request).toMatchObject({ seq: 1, items: [], complete: true, root: emptyRoot })
    expect(nextBatch(first?.after ?? newOutbox(1, '0000000b'), new Map(), false)).toBeUndefined()
    expect(nextBatch(first?.after ?? newOutbox(1, '0000000b'), new Map(), true)?.request).toMatchObject({
      seq: 2,
      items: [],
    })
  })

  it('a new epoch sorts after the one before, also when the clock went back', () => {
    const before = newOutbox(2_000_000, '0000000a').epoch
    expect(newOutbox(1_000_000, '0000000b', before).epoch > before).toBe(true)
    expect(newOutbox(3_000_000, '0000000b', before).epoch > before).toBe(true)
  })
})
