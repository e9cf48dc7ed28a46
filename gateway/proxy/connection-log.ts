import type { Readable, Writable } from 'node:stream'
import type { Refusal } from '#gateway/proxy/look.ts'

/** What Envoy's access log says of handshakes that failed, until the relay was told. */
export type ConnectionLog = {
  /** Hands what Envoy writes on, as it is, and reads along. */
  follow(from: Readable): void
  /** At most 16, the newest first. */
  refusals(): readonly Refusal[]
  /** The relay knows these: they are counted anew. */
  told(refusals: readonly Refusal[]): void
}

const kept = 64
const toldMax = 16
const lineMax = 8192
const textMax = 300

/**
 * Reads the lines that the relay's listeners and routes have Envoy write (`mesh/translate/http.ts`): whoever validates
 * knows why a handshake failed, and says it nowhere else. What is not such a line is only passed on. A reader of `to` that
 * is slow holds Envoy's log up and never costs memory.
 */
export function connectionLog(to: Writable, now: () => Date): ConnectionLog {
  const counts = new Map<string, Refusal>()
  const hear = (line: string) => {
    const found = refusalIn(line)
    if (!found) return
    const key = JSON.stringify(found)
    const count = (counts.get(key)?.count ?? 0) + 1
    counts.delete(key)
    counts.set(key, { ...found, at: now().getTime(), count })
    if (counts.size > kept) for (const oldest of counts.keys()) if (counts.delete(oldest)) break
  }
  return {
    follow: (from) => {
      let rest = ''
      from.on('data', (part: Buffer) => {
        if (!to.write(part)) {
          from.pause()
          to.once('drain', () => from.resume())
        }
        const lines = (rest + part.toString('utf8')).split('\n')
        rest = (lines.pop() ?? '').slice(0, lineMax)
        for (const line of lines) hear(line)
      })
      from.on('error', () => undefined)
    },
    refusals: () => [...counts.values()].toReversed().slice(0, toldMax),
    told: (refusals) => {
      for (const { at: _, count, ...rest } of refusals) {
        const key = JSON.stringify(rest)
        const left = (counts.get(key)?.count ?? 0) - count
        if (left > 0) counts.set(key, { ...rest, at: now().getTime(), count: left })
        else counts.delete(key)
      }
    },
  }
}

/** A connection that was refused here, or one that was refused to a call of ours. */
function refusalIn(line: string): Omit<Refusal, 'at' | 'count'> | undefined {
  if (!line.startsWith('{') || !line.includes('"cause":"') || line.length > lineMax) return undefined
  try {
    const { cause, local, peer, cluster, host } = JSON.parse(line) as Readonly<Record<string, unknown>>
    if (typeof cause !== 'string' || cause === '' || cause === '-') return undefined
    const text = (value: unknown) => (typeof value === 'string' ? value.slice(0, textMax) : '')
    if (typeof local === 'string') return { peer: text(peer), local: text(local), cause: text(cause) }
    return typeof cluster === 'string' ? { peer: text(host), local: text(cluster), cause: text(cause) } : undefined
  } catch {
    return undefined
  }
}
