import { sayTcp, type Target } from '#tests/support/protocol-client.ts'

/** One directed pair of clusters: where the caller's application dials, and the pod that answers. */
export type Pair = {
  readonly name: string
  readonly target: Target
  readonly answers: string
}

export type Refusal = { readonly pair: string; readonly atMs: number; readonly why: string }

export type HandshakeCounts = {
  /** Connections begun, and those on which the callee answered a line that was sent. */
  readonly begun: number
  readonly answered: number
  readonly failed: number
  /** The first failures, and how many there were of each pair. */
  readonly first: readonly Refusal[]
  readonly failedOf: ReadonlyMap<string, number>
  /** Of each pair, when the youngest connection that was answered was begun, by `performance.now()`. */
  readonly answeredAt: ReadonlyMap<string, number>
}

export type HandshakeLoad = {
  counts(): HandshakeCounts
  /** What was begun since that moment, all of it ended: failures after `since` and connections begun meanwhile. */
  settled(): Promise<HandshakeCounts>
  /** Connections a second since the load began, but for time in which nobody ran. */
  rate(): number
  stop(): Promise<HandshakeCounts>
}

const tickMs = 10
/** A machine that stood still is not made up for all at once. */
const burstMax = 20
const keptMax = 30
/** What was not answered while we ran for this long, counted in ticks: time in which nobody ran is nobody's fault. */
const silentTicks = 3000
const standstillMs = 1000

/**
 * New connections at a steady rate, in turn over all pairs, each with one full handshake at the border and one answered
 * line: neither proxy pools TCP or keeps sessions. A connection fails where the line does not come back, or from another pod.
 */
export function startHandshakes(pairs: readonly Pair[], perSecond: number): HandshakeLoad {
  const first: Refusal[] = []
  const failedOf = new Map<string, number>()
  const answeredAt = new Map<string, number>()
  const open = new Set<Promise<void>>()
  /** In the order in which they fall due. */
  const silent: { readonly lastTick: number; readonly say: () => void }[] = []
  const started = performance.now()
  let [begun, answered, failed] = [0, 0, 0]
  let [given, tick] = [0, 0]
  let [ranMs, lookedAt] = [0, started]
  let stopped = false

  const dial = (pair: Pair, number: number): void => {
    const begunAt = performance.now()
    const atMs = Math.round(begunAt - started)
    const line = `${pair.name} ${number}`
    const lastTick = tick + silentTicks
    const silence = new Promise<never>((_, reject) => {
      silent.push({ lastTick, say: () => reject(new Error('nothing came back')) })
    })
    const one = Promise.race([sayTcp(pair.target, line, 0), silence])
      .then(({ greeting, echo }) => {
        if (greeting.pod !== pair.answers) throw new Error(`${greeting.pod} answered`)
        if (echo !== line) throw new Error(`"${echo}" came back`)
        answered++
        answeredAt.set(pair.name, Math.max(begunAt, answeredAt.get(pair.name) ?? 0))
      })
      .catch((fault: Error) => {
        failed++
        failedOf.set(pair.name, (failedOf.get(pair.name) ?? 0) + 1)
        if (first.length < keptMax) first.push({ pair: pair.name, atMs, why: fault.message })
      })
      .finally(() => open.delete(one))
    open.add(one)
  }
  const timer = setInterval(() => {
    tick++
    ranMs += Math.min(standstillMs, performance.now() - lookedAt)
    lookedAt = performance.now()
    while (silent[0] && silent[0].lastTick < tick) silent.shift()?.say()
    if (stopped) return
    const owed = Math.floor(((performance.now() - started) * perSecond) / 1000) - given
    given += owed
    for (let n = 0; n < Math.min(owed, burstMax); n++) {
      const pair = pairs[begun % pairs.length]
      if (pair) dial(pair, begun++)
    }
  }, tickMs)
  const counts = (): HandshakeCounts => ({
    begun,
    answered,
    failed,
    first: [...first],
    failedOf: new Map(failedOf),
    answeredAt: new Map(answeredAt),
  })
  const settled = async () => {
    await Promise.all([...open])
    return counts()
  }
  return {
    ...{ counts, settled },
    rate: () => (begun * 1000) / ranMs,
    stop: async () => {
      stopped = true
      const ended = await settled()
      clearInterval(timer)
      return ended
    },
  }
}
