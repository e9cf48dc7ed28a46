import type { Probed } from '#gateway/health/ask-over-tls.ts'

/** Something that is asked again and again; `id` says that it is the same as before. */
export type Asked = {
  readonly id: string
  /** The prober's own where absent. */
  readonly everyMs?: number
  readonly ask: () => Promise<Probed | undefined>
}

export type ProberParts = {
  readonly everyMs: number
  readonly onResult: (id: string, probed: Probed) => void
  /** 0..1. */
  readonly random?: () => number
  readonly inFlightMax?: number
  readonly tickMs?: number
}

export type Prober = {
  /** What is to be asked from now on. */
  want(all: readonly Asked[]): void
  stop(): void
}

/** So long between two ticks: this process stood still, and what was under way says nothing. */
const stallMs = 2000

/**
 * Asks each of many once in `everyMs`, a tenth more or less, so that something that comes and goes is not always met in
 * the same state; spread over the period, a bounded number at a time, one question to each.
 */
export function openProber(parts: ProberParts): Prober {
  const { everyMs, onResult, random = Math.random, inFlightMax = 64 } = parts
  const { tickMs = Math.min(100, everyMs / 4) } = parts
  type One = { asked: Asked; dueAt: number; busy: boolean }
  const known = new Map<string, One>()
  let inFlight = 0
  let life = 0
  let tickedAt = performance.now()
  const timer = setInterval(tick, tickMs).unref()

  return {
    want: (all) => {
      const wanted = new Map(all.map((asked) => [asked.id, asked]))
      for (const id of known.keys()) if (!wanted.has(id)) known.delete(id)
      for (const [id, asked] of wanted) {
        const one = known.get(id)
        if (one) one.asked = asked
        else known.set(id, { asked, dueAt: performance.now() + random() * (asked.everyMs ?? everyMs), busy: false })
      }
    },
    stop: () => {
      clearInterval(timer)
      known.clear()
      life += 1
    },
  }

  function tick(): void {
    const now = performance.now()
    if (now - tickedAt > stallMs) life += 1
    tickedAt = now
    const due = [...known].filter(([, one]) => !one.busy && one.dueAt <= now)
    for (const [id, one] of due.toSorted(([, a], [, b]) => a.dueAt - b.dueAt)) {
      if (inFlight >= inFlightMax) return
      // Sparing: what waited for its turn is not asked twice in a hurry.
      one.dueAt = now + (one.asked.everyMs ?? everyMs) * (0.9 + random() * 0.2)
      one.busy = true
      inFlight += 1
      const begun = life
      one.asked
        .ask()
        .then(
          (probed) => {
            if (probed && begun === life && known.get(id) === one) onResult(id, probed)
          },
          () => undefined,
        )
        .finally(() => {
          inFlight -= 1
          one.busy = false
        })
    }
  }
}
