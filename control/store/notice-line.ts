import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import type { Log } from '#control/store/database.ts'
import { sqlStateOf } from '#control/store/engine.ts'

/** Short texts between the processes that share a PostgreSQL server. Any of them may be lost. */
export type NoticeLine = {
  /** At most `noticeBytesMax`; dropped while there is no connection, or where too many wait. */
  send(text: string): void
  connected(): boolean
  close(): Promise<void>
}

/** PostgreSQL takes 8,000 bytes. */
export const noticeBytesMax = 7900

/** Milliseconds. */
export type NoticeTimes = {
  readonly retryMin: number
  readonly retryMax: number
  readonly beat: number
  readonly answerMax: number
}
const usual: NoticeTimes = { retryMin: 250, retryMax: 30_000, beat: 30_000, answerMax: 5000 }

const channel = 'isthmus'
const waitingMax = 1000
/** What engines without LISTEN answer: they have the word (CockroachDB) or do not know it (Aurora DSQL). */
const never = new Set(['0A000', '42601'])

/**
 * A connection of its own that listens and notifies, beside the pool. It comes back by itself, ever more slowly, and asks
 * now and then whether it is still there: a dead one says nothing. What is said while it is away is lost, so it may only
 * ever make something happen sooner. Where the engine has no LISTEN it says so once and stays silent.
 */
export function openNoticeLine(parts: {
  readonly url: string
  readonly onText: (text: string) => void
  readonly log: Log
  readonly times?: Partial<NoticeTimes>
}): NoticeLine {
  const times = { ...usual, ...parts.times }
  let client: pg.Client | undefined
  let ready = false
  let ended = false
  let since = 0
  let failures = 0
  let waiting = 0
  let retry: NodeJS.Timeout | undefined
  connect()
  const beat = setInterval(() => say('select 1', []), times.beat)
  beat.unref()

  return {
    send: (text) => say('select pg_notify($1, $2)', [channel, text]),
    connected: () => ready,
    close: async () => {
      ended = true
      clearTimeout(retry)
      clearInterval(beat)
      ready = false
      // A server that hangs does not hold up our end.
      await Promise.race([client?.end().catch(() => undefined), pause(1000, undefined, { ref: false })])
    },
  }

  function connect(): void {
    const made = new pg.Client({
      connectionString: parts.url,
      connectionTimeoutMillis: times.answerMax,
      query_timeout: times.answerMax,
      keepAlive: true,
      pipeline: true,
      application_name: 'isthmus-hints',
    })
    client = made
    made.on('notification', ({ payload }) => {
      if (client === made && payload) parts.onText(payload)
    })
    made.on('error', (fault) => lost(made, fault))
    made.on('end', () => lost(made, new Error('the server closed the connection')))
    made
      .connect()
      .then(() => made.query(`LISTEN ${channel}`))
      .then(() => {
        if (client !== made || ended) return
        if (failures > 0) parts.log.info({ failures }, 'processes of this centre hear each other again')
        ready = true
        since = performance.now()
        waiting = 0
      })
      .catch((fault: unknown) => lost(made, fault))
  }

  function lost(which: pg.Client, err: unknown): void {
    if (client !== which || ended) return
    // One that comes and goes counts as away.
    if (ready && performance.now() - since > times.answerMax) failures = 0
    client = undefined
    ready = false
    void which.end().catch(() => undefined)
    if (never.has(sqlStateOf(err) ?? '')) {
      parts.log.info({ err }, 'this database has no LISTEN: other processes of this centre find changes by looking')
      return
    }
    if (failures++ === 0)
      parts.log.warn({ err }, 'processes of this centre do not hear each other; each finds changes by looking')
    const ms = Math.min(times.retryMax, times.retryMin * 2 ** Math.min(failures - 1, 10)) * (0.5 + Math.random() / 2)
    retry = setTimeout(connect, ms)
    retry.unref()
  }

  function say(text: string, values: readonly string[]): void {
    const on = client
    if (!ready || !on || waiting >= waitingMax) return
    waiting++
    on.query(text, [...values]).then(
      () => {
        waiting--
      },
      (fault: unknown) => lost(on, fault),
    )
  }
}
