import type { CallCentre } from '#gateway/uplink/call-centre.ts'
import { applied, joined, type Received } from '#gateway/uplink/received.ts'
import type { ReceivedStore } from '#gateway/uplink/received-store.ts'
import { single } from '#gateway/uplink/single.ts'
import type { Log } from '#gateway/uplink/standing.ts'
import { Problem } from '#mesh/model/problem.ts'
import { pullAnswerSchema, type StreamDelta } from '#mesh/wire/pull.ts'
import type { Head } from '#mesh/wire/sync.ts'
import { checkVersion, meshSyncText } from '#mesh/wire/version.ts'

export type ReceiverParts = {
  readonly call: CallCentre
  readonly store: ReceivedStore
  readonly log: Log
  readonly signal: AbortSignal
  /** Streams that a member always has: never forgotten and never emptied, whoever says so. A cluster that was removed serves on. */
  readonly lasting: ReadonlySet<string>
  /** After every change, with the streams that moved. */
  readonly onReceived: (received: Received, changed: readonly string[]) => void
  /** A stream came back in another epoch: the centre's store is not the one that it was. */
  readonly onOtherEpoch: () => void
}

/** The way down: config and summaries, by pull, and by hints where these fit exactly. */
export type Receiver = {
  received(): Received
  /** Resolves when a pull that began after this call has brought everything. */
  pull(): Promise<void>
  /** Heads that the centre named: pulls where one of them is ahead. */
  heads(heads: readonly Head[]): void
  /** Deltas that came with a hint, and its heads. */
  hint(heads: readonly Head[], deltas: readonly StreamDelta[]): void
  /** Something may have been missed. */
  ask(): void
  /** How often a stream did not add up to the centre's root. */
  mismatches(): number
}

export function openReceiver({ call, store, log, signal, lasting, onReceived, onOtherEpoch }: ReceiverParts): Receiver {
  let received = store.loaded
  let mismatches = 0
  const pulling = single(pullAll)

  return {
    received: () => received,
    pull: () => pulling.done(),
    heads: (heads) => {
      if (heads.some(isAhead)) pulling.run()
    },
    hint: (heads, deltas) => {
      take({ deltas: deltas.filter(extends_), gone: [] })
      if (heads.some(isAhead)) pulling.run()
    },
    ask: () => pulling.run(),
    mismatches: () => mismatches,
  }

  async function pullAll(): Promise<void> {
    const pages = new Map<string, StreamDelta>()
    for (let next: Readonly<Record<string, string>> = {}; ; ) {
      const have = [...received].map(([name, { epoch, rev }]): Head => [name, epoch, rev])
      const roots = [...received.values()].map(({ root }) => root.slice(0, 8))
      const more = Object.keys(next).length > 0 ? { next } : {}
      const answer = await call('/v1/pull', { proto: meshSyncText, have, roots, ...more }, pullAnswerSchema)
      if (signal.aborted) return
      if (answer.proto !== undefined) checkVersion(answer.proto, 'centre')
      const whole: StreamDelta[] = []
      const after: Record<string, string> = {}
      for (const page of answer.streams) {
        const sofar = joined(pages.get(page.stream), page)
        if (page.next === undefined) whole.push(sofar)
        else after[page.stream] = page.next
        pages.set(page.stream, sofar)
      }
      for (const { stream } of whole) pages.delete(stream)
      const still = answer.streams.some((page) => page.items.length > 0 || page.next !== next[page.stream])
      take({ deltas: whole, gone: answer.gone })
      if (Object.keys(after).length === 0) return
      if (!still) throw new Problem('unavailable', 'the centre repeats a page of a stream: it is pulled anew')
      next = after
    }
  }

  /**
   * Applies what fits, keeps it, and tells. What does not fit is left to the next pull; a wrong root makes the stream
   * come whole.
   */
  function take({ deltas, gone }: { readonly deltas: readonly StreamDelta[]; readonly gone: readonly string[] }): void {
    const after = new Map(received)
    const taken: StreamDelta[] = []
    const otherEpoch: string[] = []
    for (const delta of deltas) {
      const before = after.get(delta.stream)
      try {
        const stream = applied(before, delta)
        if (!stream || (stream.items.size === 0 && before && lasting.has(delta.stream))) continue
        after.set(delta.stream, stream)
        taken.push(delta)
        if (before !== undefined && before.epoch !== '' && before.epoch !== delta.epoch) otherEpoch.push(delta.stream)
      } catch (error) {
        mismatches++
        log.warn({ stream: delta.stream, err: (error as Error).message }, 'stream is read again, whole')
        // Served as before; only its position is forgotten, so that the next pull brings a snapshot.
        if (before) after.set(delta.stream, { ...before, epoch: '', rev: 0 })
      }
    }
    const left = gone.filter((name) => !lasting.has(name) && after.delete(name))
    received = after
    if (taken.length + left.length === 0) return
    store.keep({ deltas: taken, gone: left }, received)
    tell([...taken.map((delta) => delta.stream), ...left])
    if (otherEpoch.length === 0) return
    log.warn(
      { streams: otherEpoch },
      'the centre’s store is another one than before (restored, or anew): all is told again',
    )
    onOtherEpoch()
  }

  function tell(changed: readonly string[]): void {
    try {
      onReceived(received, changed)
    } catch (error) {
      log.warn({ changed, err: (error as Error).message }, 'what was received could not be taken into use')
    }
  }

  function isAhead([name, epoch, rev]: Head): boolean {
    const held = received.get(name)
    return held === undefined || held.epoch !== epoch || held.rev < rev
  }

  /**
   * A hint may be late or doubled, so it never brings a stream, nor an epoch: it could be one that has ended. Only what
   * continues the stream that is held counts; everything else is asked for.
   */
  function extends_(delta: StreamDelta): boolean {
    return delta.mode === 'delta' && received.get(delta.stream)?.epoch === delta.epoch
  }
}
