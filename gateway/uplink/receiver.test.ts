import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Received } from '#gateway/uplink/received.ts'
import { openReceivedStore } from '#gateway/uplink/received-store.ts'
import { openReceiver } from '#gateway/uplink/receiver.ts'
import { hashOf, type Json } from '#mesh/model/canonical.ts'
import type { PullAnswer, PullRequest, StreamDelta, StreamItem } from '#mesh/wire/pull.ts'
import { rootOf } from '#mesh/wire/root.ts'
import type { Head } from '#mesh/wire/sync.ts'

const stream = 'ep/a/all'
const quiet = { info: () => undefined, warn: () => undefined }

/** A centre with one stream: a log of writes that can be cut back to an older copy, in a new epoch. */
class OneStream {
  epoch = 1
  log: { readonly key: string; readonly value: number | null }[] = []
  corrupt = false
  pulls = 0
  proto: string | undefined

  state(rev = this.log.length): Map<string, Json> {
    const state = new Map<string, Json>()
    for (const { key, value } of this.log.slice(0, rev)) value === null ? state.delete(key) : state.set(key, { value })
    return state
  }
  delta(from: number, mode: StreamDelta['mode'] = 'delta'): StreamDelta {
    const state = this.state()
    const keys = mode === 'delta' ? [...new Set(this.log.slice(from).map(({ key }) => key))] : [...state.keys()]
    const items = keys.map((k): StreamItem => ({ k, v: (state.get(k) ?? null) as StreamItem['v'] }))
    const root = this.corrupt ? 'f'.repeat(64) : rootOf([...state].map(([k, v]) => [k, hashOf(v)]))
    return {
      stream,
      epoch: `e${this.epoch}`,
      from: mode === 'delta' ? from : 0,
      to: this.log.length,
      mode,
      items,
      root,
    }
  }
  head(): Head {
    return [stream, `e${this.epoch}`, this.log.length]
  }
  answer({ have }: PullRequest): PullAnswer {
    this.pulls++
    const [, epoch, rev = 0] = have.find(([name]) => name === stream) ?? []
    const fits = epoch === `e${this.epoch}` && rev <= this.log.length
    const same = fits && rev === this.log.length
    const streams = same ? [] : [fits ? this.delta(rev) : this.delta(0, 'snapshot')]
    return { streams, gone: [], time: 1, ...(this.proto === undefined ? {} : { proto: this.proto }) }
  }
}

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'receiver-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function receiverOf(centre: { answer(request: PullRequest): PullAnswer }, told: Received[] = []) {
  const store = openReceivedStore(join(dir, 'received.json'), quiet)
  const warned: string[] = []
  const state = { otherEpochs: 0, reachable: true, warned }
  const receiver = openReceiver({
    call: async (_, body, schema) => {
      if (!state.reachable) throw new Error('away')
      return schema.parse(JSON.parse(JSON.stringify(centre.answer(body as PullRequest))))
    },
    ...{ store, signal: new AbortController().signal, lasting: new Set(['cfg/b']) },
    log: { ...quiet, warn: (_, text) => void warned.push(text) },
    onReceived: (received) => told.push(received),
    onOtherEpoch: () => {
      state.otherEpochs++
    },
  })
  return { receiver, store, state }
}

const items = (received: Received) => new Map(received.get(stream)?.items)

type Step =
  | { readonly do: 'write'; readonly key: string; readonly value: number | null }
  | { readonly do: 'hint'; readonly old: number }
  | { readonly do: 'pull' | 'restore' | 'part' | 'meet' | 'restart' }
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      key: fc.constantFrom('a', 'b', 'c'),
      value: fc.option(fc.nat(9), { nil: null }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hint' as const), old: fc.nat(30) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('pull' as const, 'restore' as const, 'part' as const, 'meet' as const, 'restart' as const),
    }),
  },
)

describe('a receiver', () => {
  it('whatever hints are lost, doubled and late, and whenever it is killed, holds a state that the centre had, and never an older one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        rmSync(dir, { recursive: true, force: true })
        dir = mkdtempSync(join(tmpdir(), 'receiver-'))
        const centre = new OneStream()
        const hints: { heads: Head[]; deltas: StreamDelta[] }[] = []
        const states = new Map<string, Map<string, Json>>()
        const note = () => states.set(`e${centre.epoch} ${centre.log.length}`, centre.state())
        note()
        let open = receiverOf(centre)
        let best = { epoch: 0, rev: 0 }
        const look = () => {
          const held = open.receiver.received().get(stream)
          if (!held || held.epoch === '') return
          expect(new Map(held.items)).toEqual(states.get(`${held.epoch} ${held.rev}`))
          const at = { epoch: Number(held.epoch.slice(1)), rev: held.rev }
          expect(at.epoch > best.epoch || (at.epoch === best.epoch && at.rev >= best.rev)).toBe(true)
          best = at
        }
        for (const one of steps) {
          if (one.do === 'write') {
            centre.log.push({ key: one.key, value: one.value })
            note()
            hints.push({ heads: [centre.head()], deltas: [centre.delta(centre.log.length - 1)] })
          } else if (one.do === 'hint') {
            const hint = hints[one.old % Math.max(1, hints.length)]
            if (hint) open.receiver.hint(hint.heads, hint.deltas)
          } else if (one.do === 'restore') {
            centre.epoch++
            centre.log = centre.log.slice(0, Math.ceil(centre.log.length / 2))
            note()
          } else if (one.do === 'part') open.state.reachable = false
          else if (one.do === 'meet') open.state.reachable = true
          else if (one.do === 'pull') await open.receiver.pull().catch(() => undefined)
          else open = receiverOf(centre)
          await new Promise(setImmediate)
          look()
        }
        open.state.reachable = true
        await open.receiver.pull()
        look()
        expect(items(open.receiver.received())).toEqual(centre.state())
      }),
      { numRuns: 60 },
    )
  })

  it('a hint never brings a stream back that is not held, nor an epoch that has ended', async () => {
    const centre = new OneStream()
    centre.log.push({ key: 'a', value: 1 })
    const first = centre.delta(0, 'snapshot')
    const { receiver, state } = receiverOf(centre)
    state.reachable = false
    receiver.hint([centre.head()], [first])
    expect(receiver.received().size).toBe(0)
    state.reachable = true
    centre.epoch = 2
    await receiver.pull()
    receiver.hint([], [first])
    expect(receiver.received().get(stream)?.epoch).toBe('e2')
  })

  it('a wrong root changes nothing that is served, is counted, and the stream comes whole as soon as it adds up', async () => {
    const centre = new OneStream()
    centre.log.push({ key: 'a', value: 1 })
    const told: Received[] = []
    const { receiver } = receiverOf(centre, told)
    await receiver.pull()
    centre.log.push({ key: 'a', value: 2 })
    centre.corrupt = true
    for (let n = 0; n < 3; n++) await receiver.pull()
    expect(items(receiver.received())).toEqual(new Map([['a', { value: 1 }]]))
    expect([receiver.mismatches(), told.length, centre.pulls]).toEqual([3, 1, 4])
    centre.corrupt = false
    await receiver.pull()
    expect(items(receiver.received())).toEqual(new Map([['a', { value: 2 }]]))
  })

  it('another epoch is told once, so that the own report is checked at once', async () => {
    const centre = new OneStream()
    centre.log.push({ key: 'a', value: 1 })
    const { receiver, state } = receiverOf(centre)
    await receiver.pull()
    expect(state.otherEpochs).toBe(0)
    centre.epoch++
    await receiver.pull()
    await receiver.pull()
    expect(state.otherEpochs).toBe(1)
    expect(state.warned).toEqual([expect.stringContaining('the centre’s store is another one than before')])
  })

  it('a centre two minor versions newer is not believed: both versions are named, and which to upgrade', async () => {
    const centre = new OneStream()
    centre.log.push({ key: 'a', value: 1 })
    const { receiver } = receiverOf(centre)
    centre.proto = 'mesh-sync/1.2'
    await receiver.pull()
    centre.proto = 'mesh-sync/1.3'
    centre.log.push({ key: 'a', value: 2 })
    await expect(receiver.pull()).rejects.toThrow(
      'the centre speaks mesh-sync/1.3, this relay speaks mesh-sync/1.1: upgrade the relay first',
    )
    expect(items(receiver.received())).toEqual(new Map([['a', { value: 1 }]]))
  })

  it('a snapshot in pages that changes meanwhile adds up: the last word on a key counts', async () => {
    const page = (list: StreamItem[], next?: string): PullAnswer => ({
      streams: [
        {
          ...{ stream, epoch: 'e1', from: 0, to: 3, mode: 'snapshot', items: list },
          root: rootOf([['b', hashOf({ value: 2 })]]),
          ...(next === undefined ? {} : { next }),
        },
      ],
      gone: [],
      time: 1,
    })
    const answers = [
      page([{ k: 'a', v: { value: 1 } }], 'n1'),
      page([{ k: 'b', v: { value: 1 } }], 'n2'),
      page([
        { k: 'a', v: null },
        { k: 'b', v: { value: 2 } },
      ]),
    ]
    const { receiver } = receiverOf({ answer: () => answers.shift() ?? { streams: [], gone: [], time: 1 } })
    await receiver.pull()
    expect(items(receiver.received())).toEqual(new Map([['b', { value: 2 }]]))
    expect(receiver.mismatches()).toBe(0)
  })

  it('a centre that begins anew between two pages: nothing of the epoch before is mixed in', async () => {
    const base = { stream, from: 0, to: 1, mode: 'snapshot' as const }
    const answers: PullAnswer[] = [
      {
        streams: [{ ...base, epoch: 'e1', items: [{ k: 'old', v: {} }], next: 'n', root: 'f'.repeat(64) }],
        gone: [],
        time: 1,
      },
      {
        streams: [{ ...base, epoch: 'e2', items: [{ k: 'new', v: {} }], root: rootOf([['new', hashOf({})]]) }],
        gone: [],
        time: 1,
      },
    ]
    const { receiver } = receiverOf({ answer: () => answers.shift() ?? { streams: [], gone: [], time: 1 } })
    await receiver.pull()
    expect([...items(receiver.received()).keys()]).toEqual(['new'])
  })

  it('the own config is neither emptied nor forgotten, whoever says so; the summaries of others are', async () => {
    const one = (name: string, list: StreamItem[], to: number, mode: StreamDelta['mode']): StreamDelta => ({
      ...{ stream: name, epoch: 'e1', from: mode === 'delta' ? to - 1 : 0, to, mode, items: list },
      root: rootOf(list.filter(({ v }) => v !== null).map(({ k }) => [k, hashOf({})])),
    })
    const full = [{ k: 'self', v: {} }]
    const none = [{ k: 'self', v: null }]
    const answers: PullAnswer[] = [
      { streams: ['cfg/b', stream, 'ep/c/all'].map((name) => one(name, full, 1, 'snapshot')), gone: [], time: 1 },
      { streams: ['cfg/b', stream].map((name) => one(name, none, 2, 'delta')), gone: ['cfg/b', 'ep/c/all'], time: 1 },
    ]
    const { receiver } = receiverOf({ answer: () => answers.shift() ?? { streams: [], gone: [], time: 1 } })
    await receiver.pull()
    await receiver.pull()
    const sizes = [...receiver.received()].map(([name, { items }]) => [name, items.size])
    expect(Object.fromEntries(sizes)).toEqual({ 'cfg/b': 1, [stream]: 0 })
  })

  it('a centre that repeats the same page for ever is left after one repetition', async () => {
    const endless: PullAnswer = {
      streams: [{ stream, epoch: 'e1', from: 0, to: 1, mode: 'snapshot', items: [], next: 'n', root: '0'.repeat(64) }],
      gone: [],
      time: 1,
    }
    let asked = 0
    const { receiver } = receiverOf({
      answer: () => {
        asked++
        return endless
      },
    })
    await expect(receiver.pull()).rejects.toThrow(/repeats a page/)
    expect(asked).toBe(2)
  })
})
