import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import type { DurableChange } from '#control/store/durable.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * One record. `n` is contiguous: record n holds what the n-th durable transaction changed. Records with `base` open the
 * file and together hold all rows as they stood after transaction n; `schema` is the newest migration by then.
 */
export type JournalRecord = {
  readonly n: number
  readonly base?: true
  readonly schema?: string
  readonly changes: readonly DurableChange[]
}

/** What a file holds, where its last whole record ends, and how many bytes of a torn one follow. */
export type JournalContent = { readonly records: readonly JournalRecord[]; readonly end: number; readonly torn: number }

const magic = Buffer.from('isthmus-journal/1\n')
/** Length of the payload, CRC-32 of that length, CRC-32 of the payload: a flipped length is not taken for a torn end. */
const headBytes = 12
/** What `probe` writes: should the machine die just then, it is a torn end. */
const zeros = Buffer.alloc(4096)

/**
 * Reads a journal; undefined when there is none. A last record that was cut short is left out (its transaction was never
 * acknowledged). Throws `conflict` naming file and offset when anything else does not fit its checksum.
 */
export function readJournal(file: string): JournalContent | undefined {
  const bytes = readIfThere(file)
  if (!bytes) return undefined
  if (bytes.length < magic.length && magic.subarray(0, bytes.length).equals(bytes))
    return { records: [], end: 0, torn: bytes.length }
  if (!bytes.subarray(0, magic.length).equals(magic)) throw foreign(file, bytes)
  const records: JournalRecord[] = []
  let at = magic.length
  while (at < bytes.length) {
    const payload = payloadAt(bytes, at)
    if (payload === 'torn') break
    if (payload === 'damaged') throw damaged(file, at)
    records.push(JSON.parse(payload.toString('utf8')) as JournalRecord)
    at += headBytes + payload.length
  }
  return { records, end: at, torn: bytes.length - at }
}

function payloadAt(bytes: Buffer, at: number): Buffer | 'torn' | 'damaged' {
  const rest = bytes.subarray(at)
  if (rest.length < headBytes || rest.every((byte) => byte === 0)) return 'torn'
  if (crc32(rest.subarray(0, 4)) !== rest.readUInt32BE(4)) return 'damaged'
  const end = headBytes + rest.readUInt32BE(0)
  if (end > rest.length) return 'torn'
  const payload = rest.subarray(headBytes, end)
  if (crc32(payload) === rest.readUInt32BE(8)) return payload
  // The last record may have its length and not its bytes: the machine died between the two.
  return end === rest.length ? 'torn' : 'damaged'
}

/** A journal that is open for appending. */
export type JournalFile = {
  readonly bytes: number
  /** Resolves when the record is on disk. Throws `unavailable`, with the file as it was before, when it is not. */
  append(record: JournalRecord): Promise<void>
  /** Writes a block beyond the end and takes it away again. Throws `unavailable` where there is no room for it. */
  probe(): Promise<void>
  close(): Promise<void>
}

export async function openJournalFile(file: string, end: number): Promise<JournalFile> {
  const handle = await open(file, 'r+')
  let at = end
  let clean = false
  await cut()
  return {
    get bytes() {
      return at
    },
    append: async (record) => {
      try {
        if (!clean) await cut()
        clean = false
        const bytes = encoded(record)
        await writeAll(handle, bytes, at)
        await handle.datasync()
        at += bytes.length
        clean = true
      } catch (cause) {
        await cut().catch(() => undefined)
        throw new Problem(
          'unavailable',
          `the journal ${file} takes no writes (is the disk full?): what was asked may be stored or not, look before you repeat it`,
          {
            cause,
          },
        )
      }
    },
    probe: async () => {
      try {
        clean = false
        await writeAll(handle, zeros, at)
        await cut()
      } catch (cause) {
        await cut().catch(() => undefined)
        throw new Problem('unavailable', `the journal ${file} takes no writes: free space on its disk`, { cause })
      }
    },
    close: () => handle.close(),
  }

  async function cut(): Promise<void> {
    await handle.truncate(at)
    clean = true
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten
}

/** Replaces the file by one that holds these records: written beside it, synced, renamed, the directory synced. */
export function replaceJournal(file: string, records: Iterable<JournalRecord>): number {
  const fresh = `${file}.new`
  rmSync(fresh, { force: true })
  const bytes = Buffer.concat([magic, ...[...records].map(encoded)])
  writeFileSync(fresh, bytes, { mode: 0o600, flush: true })
  renameSync(fresh, file)
  syncDirectory(dirname(file))
  return bytes.length
}

function syncDirectory(dir: string): void {
  const fd = openSync(dir, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function encoded(record: JournalRecord): Buffer {
  const payload = Buffer.from(JSON.stringify(record))
  const head = Buffer.alloc(headBytes)
  head.writeUInt32BE(payload.length, 0)
  head.writeUInt32BE(crc32(head.subarray(0, 4)), 4)
  head.writeUInt32BE(crc32(payload), 8)
  return Buffer.concat([head, payload])
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

const damaged = (file: string, at: number): Problem =>
  new Problem(
    'conflict',
    `the journal ${file} is damaged at byte ${at}: restore it from a backup; or, if the directory "database" beside it ` +
      'is intact, move the journal away, and it is written anew from the database',
    { extra: { offset: at } },
  )

function foreign(file: string, bytes: Buffer): Problem {
  const first = /^isthmus-journal\/\d{1,4}/.exec(bytes.subarray(0, 24).toString('latin1'))?.[0]
  return first === undefined
    ? damaged(file, 0)
    : new Problem('conflict', `the journal ${file} has format ${first}, and this isthmus knows isthmus-journal/1`)
}
