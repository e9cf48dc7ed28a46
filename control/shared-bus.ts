import { z } from 'zod'
import type { Bus, Note } from '#control/bus.ts'
import type { StreamChange } from '#control/stream-change.ts'

/** How notes get to the other processes of a centre: short texts, any of which may be lost. */
export type SharedLine = { readonly textBytesMax: number; send(text: string): void }

export type SharedBus = Bus & {
  /** Takes in what another process said, or this one. */
  heard(text: string): void
}

const changeSchema = z.object({
  s: z.string().max(200),
  e: z.string().max(64),
  r: z.number().int().nonnegative(),
  /** Absent = every member. */
  to: z.array(z.string().max(63)).optional(),
})
const noteSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('streams'), changes: z.array(changeSchema), urgent: z.boolean().optional() }),
  z.object({ kind: z.literal('outbox') }),
  z.object({ kind: z.literal('trust'), clusterId: z.string().max(64) }),
  z.object({ kind: z.literal('load'), cluster: z.string().max(63) }),
  z.object({ kind: z.literal('cluster-void'), clusterId: z.string().max(64) }),
])
const textSchema = z.object({ mesh: z.string(), from: z.string(), note: noteSchema })

/**
 * The bus of a centre of several processes: `local`, and what is announced goes to the others as well. Deltas stay at
 * home: whoever hears from afar pulls. Nothing depends on it, since relays pull every three seconds and publishers look as
 * often; it makes a change through one process known at once to relays that hang on another.
 *
 * A change that fits no text with the names of its readers is left out: without them everybody would hear of the stream.
 * What others say is checked, and what is not understood (a newer process) is ignored.
 *
 * The first change is told at once, those of the next `windowMs` together, each stream once: a notification is a commit of
 * its own for the server, and would cost it as much as the change.
 */
export function sharedBus(
  local: Bus,
  self: { readonly mesh: string; readonly process: string },
  line: SharedLine,
): SharedBus {
  const latest = new Map<string, StreamChange>()
  let window: NodeJS.Timeout | undefined
  const head = JSON.stringify({ mesh: self.mesh, from: self.process }).slice(0, -1)
  const tell = (note: Note) => {
    for (const part of partsOf(note, line.textBytesMax - 200)) line.send(`${head},"note":${JSON.stringify(part)}}`)
  }
  const tellLatest = () => {
    window = undefined
    if (latest.size === 0) return
    tell({ kind: 'streams', changes: [...latest.values()] })
    latest.clear()
    window = setTimeout(tellLatest, windowMs).unref()
  }
  return {
    listen: local.listen,
    announce: (note) => {
      local.announce(note)
      if (note.kind !== 'streams' || note.urgent) return tell(note)
      for (const change of note.changes) latest.set(change.stream, change)
      if (window === undefined) tellLatest()
    },
    heard: (text) => {
      // What this process said itself comes back too, and is most of it.
      if (text.startsWith(head)) return
      const said = parseText(text)
      if (!said || said.mesh !== self.mesh || said.from === self.process) return
      local.announce(noteOf(said.note))
    },
  }
}

const windowMs = 20

type Sent = z.infer<typeof noteSchema>

function partsOf(note: Note, bytesMax: number): readonly Sent[] {
  if (note.kind !== 'streams') return [note]
  const parts: Sent[] = []
  let changes: z.infer<typeof changeSchema>[] = []
  let bytes = 0
  const flush = () => {
    if (changes.length > 0) parts.push({ kind: 'streams', changes, ...(note.urgent ? { urgent: true } : {}) })
    changes = []
    bytes = 0
  }
  for (const { stream, epoch, rev, readers } of note.changes) {
    const change = { s: stream, e: epoch, r: rev, ...(readers ? { to: [...readers] } : {}) }
    const size = Buffer.byteLength(JSON.stringify(change)) + 1
    if (size > bytesMax) continue
    if (bytes + size > bytesMax) flush()
    changes.push(change)
    bytes += size
  }
  flush()
  return parts
}

function noteOf(sent: Sent): Note {
  if (sent.kind !== 'streams') return sent
  const changes = sent.changes.map(
    ({ s, e, r, to }): StreamChange => ({ stream: s, epoch: e, rev: r, ...(to ? { readers: new Set(to) } : {}) }),
  )
  return { kind: 'streams', changes, ...(sent.urgent ? { urgent: true } : {}) }
}

function parseText(text: string): z.infer<typeof textSchema> | undefined {
  try {
    return textSchema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
