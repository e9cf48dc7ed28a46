import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs'
import { z } from 'zod'
import { setAside } from '#gateway/set-aside.ts'
import { applied, type Received, type ReceivedStream } from '#gateway/uplink/received.ts'
import type { StateFault } from '#gateway/uplink/state-file.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type StreamDelta, streamDeltaSchema } from '#mesh/wire/pull.ts'

/** What was taken at once: deltas and snapshots of streams, and streams that are not for this cluster any more. */
export type Step = { readonly deltas: readonly StreamDelta[]; readonly gone: readonly string[] }

const stepSchema = z.object({ deltas: z.array(streamDeltaSchema), gone: z.array(z.string()) })

/** Steps on disk, one a line: its SHA-256, a space, its JSON. */
export type ReceivedLog = {
  readonly bytes: () => number
  /** Handed to the system when it returns: the end of this process loses nothing. Throws the system's error. */
  append(step: Step): void
  /** On the disk when it returns. */
  flush(): void
  /** Begins anew, after the state was saved whole. */
  clear(): void
  close(): void
}

export function openReceivedLog(path: string): ReceivedLog {
  const file = openSync(path, 'a', 0o600)
  let bytes = fstatSync(file).size
  return {
    bytes: () => bytes,
    append: (step) => {
      const body = JSON.stringify(step)
      const line = Buffer.from(`${sha256Hex(body)} ${body}\n`)
      for (let at = 0; at < line.length; ) at += writeSync(file, line, at)
      bytes += line.length
    },
    flush: () => fdatasyncSync(file),
    clear: () => {
      ftruncateSync(file, 0)
      bytes = 0
    },
    close: () => closeSync(file),
  }
}

/**
 * `from` with the steps of the log at `path`, in order. Steps that are older than `from` change nothing. A damaged line
 * is left out; what then does not fit is left out too, by its revision and its root, and is pulled again later. `torn`:
 * the last line has no end, so nothing may be appended behind it.
 */
export function replayLog(
  path: string,
  from: Received,
): { readonly received: Received; readonly faults: readonly StateFault[]; readonly torn: boolean } {
  if (!existsSync(path)) return { received: from, faults: [], torn: false }
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const reason = `${(cause as Error).message}; ${setAside(path)}`
    return { received: from, faults: [{ path, reason }], torn: true }
  }
  const after = new Map(from)
  const faults: StateFault[] = []
  const lines = text.split('\n')
  // The last line was being written when the process ended: nobody was served from it.
  const torn = lines.pop() !== ''
  for (const [at, line] of lines.entries())
    try {
      take(after, parseStep(line))
    } catch (cause) {
      faults.push({ path, reason: `line ${at + 1} is left out: ${(cause as Error).message}` })
    }
  // The log itself stays until the state is saved whole: its good lines are nowhere else.
  const [first] = faults
  if (first) faults[0] = { path, reason: `${first.reason}; ${setAside(path, 'keep')}` }
  return { received: after, faults: faults.slice(0, 5), torn }
}

function take(after: Map<string, ReceivedStream>, step: Step): void {
  for (const delta of step.deltas) {
    const stream = applied(after.get(delta.stream), delta)
    if (stream) after.set(delta.stream, stream)
  }
  for (const name of step.gone) after.delete(name)
}

function parseStep(line: string): Step {
  if (line[64] !== ' ' || sha256Hex(line.slice(65)) !== line.slice(0, 64))
    throw new Problem('invalid', 'its checksum does not match')
  return stepSchema.parse(JSON.parse(line.slice(65)))
}
