import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { applied, type Received } from '#gateway/uplink/received.ts'
import { openReceivedStore, storeTimes } from '#gateway/uplink/received-store.ts'
import { saveReceived } from '#gateway/uplink/state-file.ts'
import { hashOf } from '#mesh/model/canonical.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { rootOf } from '#mesh/wire/root.ts'

const stream = 'cfg/a'
let dir = ''
let path = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'store-'))
  path = join(dir, 'received.json')
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(dir, { recursive: true, force: true })
})

const warned: string[] = []
const log = {
  info: () => undefined,
  warn: (facts: object, text: string) => warned.push(`${text} ${JSON.stringify(facts)}`),
}

/** Revision `to` of a stream that holds its revision in one item. */
const step = (to: number): StreamDelta => {
  const body = { n: to }
  const mode = to === 1 ? 'snapshot' : 'delta'
  return {
    ...{ stream, epoch: 'e1', from: to - 1, to, mode, items: [{ k: 'self', v: body }] },
    root: rootOf([['self', hashOf(body)]]),
  }
}

/** Keeps revisions `from` to `to`; gives what is held then. */
function keep(store: ReturnType<typeof openReceivedStore>, from: number, to: number): Received {
  let held: Received = store.loaded
  for (let rev = from; rev <= to; rev++) {
    const after = applied(held.get(stream), step(rev))
    if (after) held = new Map(held).set(stream, after)
    store.keep({ deltas: [step(rev)], gone: [] }, held)
  }
  return held
}
const revision = (received: Received) => received.get(stream)?.rev ?? 0

describe('what was received, on disk', () => {
  it('a kill right after a step was taken: the next start has it', () => {
    const held = keep(openReceivedStore(path, log), 1, 7)
    const next = openReceivedStore(path, log)
    expect(next.loaded).toEqual(held)
    expect(next.faults()).toEqual([])
  })

  it('a kill in the middle of a write, at any byte: all steps before it, and no fault', () => {
    keep(openReceivedStore(path, log), 1, 5)
    const whole = readFileSync(`${path}.log`)
    const ends = [...whole.keys()].filter((at) => whole[at] === 10)
    for (let at = 0; at < whole.length; at += 13) {
      writeFileSync(`${path}.log`, whole.subarray(0, at))
      const next = openReceivedStore(path, log)
      expect(revision(next.loaded)).toBe(ends.filter((end) => end < at).length)
      expect(next.faults()).toEqual([])
    }
  })

  it('a torn line, a step behind it, a start: never back behind what was served', () => {
    keep(openReceivedStore(path, log), 1, 3)
    const whole = readFileSync(`${path}.log`)
    writeFileSync(`${path}.log`, whole.subarray(0, whole.length - 20))
    const next = openReceivedStore(path, log)
    expect(revision(next.loaded)).toBe(2)
    keep(next, 3, 3)
    expect(revision(openReceivedStore(path, log).loaded)).toBe(3)
  })

  it('any byte changed, in either file: never a state that was not there, and the fault is named', () => {
    const first = keep(openReceivedStore(path, log), 1, 3)
    saveReceived(path, first)
    const store = openReceivedStore(path, log)
    writeFileSync(`${path}.log`, '')
    keep(store, 4, 6)
    store.close()
    const files = [path, `${path}.log`].map((file) => [file, readFileSync(file)] as const)
    fc.assert(
      fc.property(fc.nat(1), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, at, flip) => {
        for (const [file, bytes] of files) writeFileSync(file, bytes)
        const [file, bytes] = files[which] ?? files[0] ?? ['', Buffer.alloc(0)]
        const damaged = Buffer.from(bytes)
        const place = at % damaged.length
        damaged[place] = (damaged[place] ?? 0) ^ flip
        writeFileSync(file, damaged)
        const { loaded, faults } = openReceivedStore(path, log)
        const rev = revision(loaded)
        expect(loaded.get(stream)?.items.get('self') ?? { n: 0 }).toEqual({ n: rev })
        expect(rev === 6 || faults().length > 0 || place === damaged.length - 1).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  it('damage is gone with the first step after it: everything is saved whole', () => {
    keep(openReceivedStore(path, log), 1, 3)
    const text = readFileSync(`${path}.log`, 'utf8')
    writeFileSync(`${path}.log`, text.replace('"n":3', '"n":9'))
    const store = openReceivedStore(path, log)
    expect([revision(store.loaded), store.faults().length]).toEqual([2, 1])
    keep(store, 3, 3)
    expect(store.faults()).toEqual([])
    expect(revision(openReceivedStore(path, log).loaded)).toBe(3)
  })

  it('a disk that takes nothing: nothing is thrown, it is said once, and saved as soon as it does', () => {
    vi.useFakeTimers()
    warned.length = 0
    keep(openReceivedStore(path, log), 1, 2)
    const store = openReceivedStore(path, log)
    renameSync(dir, `${dir}-away`)
    keep(store, 3, 4)
    vi.advanceTimersByTime(5 * storeTimes.retryMs)
    expect(store.faults()).toMatchObject([{ path, reason: expect.stringContaining('not saved: ENOENT') }])
    expect(warned).toHaveLength(1)
    renameSync(`${dir}-away`, dir)
    vi.advanceTimersByTime(storeTimes.retryMs)
    expect(store.faults()).toEqual([])
    expect(revision(openReceivedStore(path, log).loaded)).toBe(4)
  })

  it('the log is bounded: past a megabyte it is begun anew, and one generation stays beside the whole', () => {
    const store = openReceivedStore(path, log)
    const held = keep(store, 1, 9000)
    expect(readFileSync(`${path}.log`).length).toBeLessThan(1_100_000)
    expect(openReceivedStore(path, log).loaded).toEqual(held)
    store.close()
    expect(readdirSync(dir).sort()).toEqual(['received.json', 'received.json.1', 'received.json.log'])
    expect(existsSync(`${path}.new`)).toBe(false)
  })
})
