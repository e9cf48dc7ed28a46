import { gunzipSync } from 'node:zlib'
import WebSocket from 'ws'
import { z } from 'zod'
import { type Hint, hintSchema } from '#mesh/wire/hint.ts'
import { type StreamDelta, streamDeltaSchema } from '#mesh/wire/pull.ts'
import { meshSyncText } from '#mesh/wire/version.ts'

/** What a hint connection tells: a usable hint (its delta unpacked), that something was missed, or its end. */
export type HintEvents = {
  readonly onOpen: () => void
  readonly onHint: (hint: Hint, delta: readonly StreamDelta[]) => void
  /** A frame was lost or not understood: pull. */
  readonly onGap: () => void
  /** Called once, however it ended; not after `close`. `refused`: the centre does not take the token. */
  readonly onClose: (end: { readonly reason: string; readonly refused: boolean }) => void
}

const frameBytesMax = 64 * 1024
const deltaBytesMax = 4 * 1024 * 1024
const silenceMsMax = 60_000
/** The centre's close code for a token that has ended or is void. */
const voidToken = 4401

/** Opens one WebSocket for hints. Nothing depends on it: whatever happens to it, the heads check repairs. */
export function openHints(
  target: { readonly url: string; readonly ca?: string; readonly token: string },
  events: HintEvents,
): { close(): void } {
  const url = new URL('/v1/watch', target.url)
  url.protocol = 'wss:'
  const socket = new WebSocket(url, {
    headers: { authorization: `Bearer ${target.token}` },
    maxPayload: frameBytesMax,
    handshakeTimeout: 10_000,
    ...(target.ca ? { ca: target.ca } : {}),
  })
  let next: number | undefined
  let heard = Date.now()
  let closed = false
  const watchdog = setInterval(() => {
    if (Date.now() - heard > silenceMsMax) socket.terminate()
    else if (socket.readyState === WebSocket.OPEN) socket.ping()
  }, silenceMsMax / 3)
  watchdog.unref()

  socket.on('open', () => {
    if (closed) return
    socket.send(JSON.stringify({ proto: meshSyncText }))
    events.onOpen()
  })
  socket.on('pong', () => {
    heard = Date.now()
  })
  socket.on('message', (data) => {
    if (closed) return
    heard = Date.now()
    const frame = parseFrame(data.toString())
    if (!frame) return events.onGap()
    const missed = next !== undefined && frame.hint.n !== next
    next = frame.hint.n + 1
    events.onHint(frame.hint, frame.delta)
    if (missed) events.onGap()
  })
  const end = (reason: string, refused: boolean) => {
    if (closed) return
    closed = true
    clearInterval(watchdog)
    socket.terminate()
    events.onClose({ reason, refused })
  }
  socket.on('error', (error) => end(error.message, / 40[13]$/.test(error.message)))
  socket.on('close', (code, reason) => end(`closed ${code} ${reason.toString()}`.trim(), code === voidToken))
  return {
    close: () => {
      closed = true
      clearInterval(watchdog)
      socket.close(1000)
      socket.terminate()
    },
  }
}

function parseFrame(text: string): { hint: Hint; delta: readonly StreamDelta[] } | undefined {
  try {
    const hint = hintSchema.parse(JSON.parse(text))
    if (hint.delta === undefined) return { hint, delta: [] }
    const plain = gunzipSync(Buffer.from(hint.delta, 'base64'), { maxOutputLength: deltaBytesMax })
    return { hint, delta: z.array(streamDeltaSchema).parse(JSON.parse(plain.toString('utf8'))) }
  } catch {
    return undefined
  }
}
