import { type Behaviour, behaviour } from '#tests/bench/load/behaviour.ts'
import { type Connection, type Deafness, type Dial, openConnection } from '#tests/bench/load/connection.ts'
import type { Mode, Response } from '#tests/bench/load/response.ts'
import { framed, textField, unframer } from '#tests/bench/load/wire.ts'

/**
 * How a client treats what it is sent. A bare one asks for nothing: it measures the floor. A deaf one gives no credit, a
 * paused one does not read its socket; a refusing one says no to everything, a greedy one asks for 50,000 names.
 */
export type Manners = 'honest' | 'bare' | 'deaf' | 'paused' | 'refusing' | 'restless' | 'greedy'

/** A message that was read, and whose it is. */
export type Arrival = {
  readonly at: bigint
  readonly bytes: number
  /** Handles and answers it, as long as its connection is open. */
  readonly take: (read: (pieces: readonly Buffer[]) => Response) => Response | undefined
}

export type LoadProxy = {
  /** Everything that listeners and clusters refer to has arrived. */
  readonly inSync: () => boolean
  readonly open: () => void
  /** Destroys the connection; what was held stays, so that the next `open` asks with its versions. */
  readonly drop: () => void
  /** A bare client answers each message with so many bytes. */
  readonly answer: (bytes: number) => void
}

const greedyNames = 50_000

/** One proxy on a connection of its own. */
export function loadProxy(
  dial: Dial,
  node: Buffer,
  given: {
    readonly manners: Manners
    readonly mode: Mode
    /** In the moment the last byte of a message is read. */
    readonly onArrival: (arrival: Arrival) => void
    readonly onSent: (bytes: number) => void
    readonly onEnd: () => void
  },
): LoadProxy {
  const { manners, mode } = given
  let connection: Connection | undefined
  let answerBytes = 0
  const send = (frame: Buffer) => {
    given.onSent(frame.length)
    connection?.write(frame)
  }
  const proxy: Behaviour = behaviour({ mode, node, refuses: manners === 'refusing', send })
  const deafness: Deafness = manners === 'deaf' ? 'window' : manners === 'paused' ? 'socket' : undefined

  const begin = () => {
    if (manners === 'bare') return
    if (manners === 'greedy') return proxy.grab(Array.from({ length: greedyNames }, (_, n) => greedyName(n)))
    if (deafness) return proxy.grab([])
    proxy.begin()
  }
  return {
    open: () => {
      const opened = openConnection(dial, {
        ...{ mode, deafness },
        onPiece: unframer((pieces, bytes) => {
          const take: Arrival['take'] = (read) => {
            if (connection !== opened) return undefined
            if (manners === 'bare') {
              if (answerBytes > 0) send(answerOf(answerBytes))
              return undefined
            }
            const response = read(pieces)
            proxy.take(response)
            return response
          }
          given.onArrival({ at: process.hrtime.bigint(), bytes, take })
        }),
        onEnd: () => {
          if (connection === opened) given.onEnd()
        },
      })
      connection = opened
      begin()
    },
    drop: () => {
      const old = connection
      connection = undefined
      old?.destroy()
    },
    inSync: () => connection !== undefined && proxy.inSync(),
    answer: (bytes) => {
      answerBytes = bytes
    },
  }
}

const greedyName = (n: number) => `outbound|80||greedy-${n}.svc.cluster.local`

/** A message of so many bytes on the wire, for a server that drops it. */
function answerOf(bytes: number): Buffer {
  if (answerFrame.length !== bytes) answerFrame = framed(textField(1, 'x'.repeat(Math.max(1, bytes - 7))))
  return answerFrame
}
let answerFrame: Buffer = Buffer.alloc(0)
