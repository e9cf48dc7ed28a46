import type { HintEvents } from '#gateway/uplink/hints.ts'
import type { AccessToken } from '#gateway/uplink/session.ts'
import type { Log } from '#gateway/uplink/standing.ts'

type Connection = { close(): void }

export type HintLineParts = {
  readonly token: () => Promise<AccessToken>
  readonly open: (token: string, events: HintEvents) => Connection
  readonly forget: (token: string) => void
  readonly onHint: HintEvents['onHint']
  /** A frame was lost, or may have been. */
  readonly onGap: () => void
  readonly now: () => number
  readonly log: Log
}

/** One connection for hints, kept while the centre answers. Nothing depends on it: the heads check repairs. */
export type HintLine = {
  /** Asked again and again while the centre answers: opens where there is none, and one to follow it in time. */
  keep(): void
  /** The centre is away: what is open may be dead without a word. */
  drop(): void
  isOpen(): boolean
  stop(): void
}

export const hintTimes = {
  life: 50 * 60_000,
  lifeMin: 60_000,
  /** Before its token ends. */
  beforeEnd: 5 * 60_000,
  retryMin: 1000,
  retryMax: 30_000,
} as const

type Held = { readonly connection: Connection; readonly renewAt: number }

/** The next connection is opened before the one before it is closed: hints come doubled for a moment, never not at all. */
export function openHintLine(parts: HintLineParts): HintLine {
  const { now, log } = parts
  let current: Held | undefined
  let opening: Connection | 'asking' | undefined
  let failures = 0
  let notBefore = Number.NEGATIVE_INFINITY
  let stopped = false
  // Raised by drop and stop: what was begun before then counts no more.
  let round = 0

  return {
    keep: () => {
      if (stopped || opening || now() < notBefore || (current && now() < current.renewAt)) return
      opening = 'asking'
      void open(++round)
    },
    drop,
    isOpen: () => current !== undefined,
    stop: () => {
      stopped = true
      drop()
    },
  }

  async function open(mine: number): Promise<void> {
    let held: AccessToken
    try {
      held = await parts.token()
    } catch {
      if (mine === round) opening = undefined
      return
    }
    if (mine !== round) return
    const connection: Connection = parts.open(held.token, {
      onOpen: () => {
        if (mine === round) take(connection, held)
      },
      onHint: parts.onHint,
      onGap: parts.onGap,
      onClose: ({ reason, refused }) => {
        if (refused) parts.forget(held.token)
        if (current?.connection === connection) current = undefined
        else if (opening === connection) opening = undefined
        else return
        failed(reason)
      },
    })
    opening = connection
  }

  function take(connection: Connection, { expiresAt }: AccessToken): void {
    const before = current
    const life = hintTimes.life * (0.9 + Math.random() * 0.2)
    const end = Math.max(expiresAt - hintTimes.beforeEnd, now() + hintTimes.lifeMin)
    current = { connection, renewAt: Math.min(now() + life, end) }
    opening = undefined
    before?.connection.close()
    if (failures > 1) log.info({ failures }, 'hints come again')
    failures = 0
    // What happened between the last frame of the old connection and the first of this one.
    if (before) parts.onGap()
  }

  function failed(reason: string): void {
    failures++
    notBefore =
      now() + Math.min(hintTimes.retryMax, hintTimes.retryMin * 2 ** (failures - 1)) * (0.5 + Math.random() / 2)
    if (failures === 2) log.warn({ reason }, 'no hints come; changes are found by asking')
  }

  function drop(): void {
    round++
    current?.connection.close()
    if (typeof opening === 'object') opening.close()
    current = undefined
    opening = undefined
    failures = 0
    notBefore = Number.NEGATIVE_INFINITY
  }
}
