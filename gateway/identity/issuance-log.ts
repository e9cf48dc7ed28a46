import { closeSync, existsSync, fsync, openSync, readFileSync, renameSync, truncateSync, writeSync } from 'node:fs'
import { setAside } from '#gateway/set-aside.ts'
import { canonicalJson, sha256Hex } from '#mesh/model/canonical.ts'

/** One certificate that this cluster's CA gave out. Times are Unix ms, hashes and serial numbers hex. */
export type IssuedLeaf = {
  readonly at: number
  readonly serial: string
  readonly keySha256: string
  /** `<namespace>/<service account>` */
  readonly holder: string
  /** `<namespace>/<pod>`; empty where a certificate, not a token, said who asked. */
  readonly pod: string
  readonly notAfter: number
  /** The root above the issuing CA, and when that CA was made. */
  readonly root: string
  readonly caMadeAt: number
  readonly trustDomain: string
}

export type LogHead = { readonly seq: number; readonly hash: string }

/** An append-only log in which each entry's hash covers the one before: what was told once cannot be told otherwise. */
export type IssuanceLog = {
  append(leaf: IssuedLeaf): LogHead
  /** As far as it is on the disk for good. */
  head(): LogHead
  /** Those read at the start, in order; for whoever remembers leaves. */
  readonly loaded: readonly IssuedLeaf[]
  close(): void
}

export type IssuanceLogParts = {
  readonly path: string
  /** Both segments together: a thousand proxies write 1,700 a day, and 40,000 are read in half a second. */
  readonly linesMax?: number
  readonly warn: (text: string) => void
}

const texts = ['serial', 'keySha256', 'holder', 'pod', 'root', 'trustDomain'] as const
const times = ['at', 'notAfter', 'caMadeAt'] as const
type Line = LogHead & { readonly leaf: IssuedLeaf }

export const logTimes = { writeMs: 50, syncMs: 1000 } as const
/** What waits while the disk takes nothing. */
const waitingMax = 10_000

const start: LogHead = { seq: 0, hash: '' }
const hashAfter = ({ hash }: LogHead, seq: number, leaf: IssuedLeaf): string =>
  sha256Hex(`${hash}${canonicalJson({ seq, ...leaf })}`)
const firstLine = (after: LogHead): string => `${JSON.stringify({ version: 1, ...after })}\n`

/**
 * Opens the log at `path`, whose older half is at `path.1`. A tail that was cut off is dropped and said, and so is all
 * that comes after an entry which does not follow the one before. Writing is put off by a moment, so that a burst costs
 * one write; a certificate is not held back for a disk that takes nothing, which is said.
 */
export function openIssuanceLog({ path, linesMax = 40_000, warn }: IssuanceLogParts): IssuanceLog {
  const older = readSegment(`${path}.1`, undefined, warn)
  const newer = readSegment(path, older?.head, warn)
  let written = newer?.head ?? older?.head ?? start
  let last = written
  let durable = written
  let lines = newer?.leaves.length ?? 0
  let waiting: { readonly seq: number; readonly text: string }[] = []
  let file: number | undefined
  let syncing = false
  let fault: string | undefined
  let writeTimer: NodeJS.Timeout | undefined
  const syncTimer = setInterval(sync, logTimes.syncMs).unref()

  return {
    loaded: [...(older?.leaves ?? []), ...(newer?.leaves ?? [])],
    append: (leaf) => {
      const seq = last.seq + 1
      const hash = hashAfter(last, seq, leaf)
      last = { seq, hash }
      waiting.push({ seq, text: `${JSON.stringify({ seq, hash, leaf })}\n` })
      writeTimer ??= setTimeout(write, logTimes.writeMs).unref()
      return last
    },
    head: () => durable,
    close: () => {
      clearInterval(syncTimer)
      write()
      if (file !== undefined) closeSync(file)
      file = undefined
    },
  }

  function write(): void {
    clearTimeout(writeTimer)
    writeTimer = undefined
    if (waiting.length === 0) return
    try {
      if (lines >= linesMax / 2) turnOver()
      file ??= openSegment()
      const text = waiting.map((one) => one.text).join('')
      if (text !== '') writeSync(file, text)
      lines += waiting.length
      waiting = []
      written = last
      if (fault !== undefined) warn(`${path} is written again`)
      fault = undefined
    } catch (error) {
      failed(error as Error)
    }
  }

  /** A write that failed may have left half a line: the segment is read again at its next opening. */
  function failed({ message }: Error): void {
    if (fault !== message) warn(`${path} takes nothing (${message}): certificates are issued all the same`)
    fault = message
    if (file !== undefined) closeSync(file)
    file = undefined
    if (waiting.length > waitingMax) {
      warn(`${path}: ${waiting.length} entries are lost; the log begins anew behind them`)
      waiting = []
      lines = linesMax
      written = last
    }
  }

  function turnOver(): void {
    if (file !== undefined) closeSync(file)
    file = undefined
    if (existsSync(path)) renameSync(path, `${path}.1`)
    lines = 0
  }

  /** After a write that failed the file may hold some of what waits, and half a line of it. */
  function openSegment(): number {
    const known = readSegment(path, undefined, warn)?.head
    waiting = waiting.filter(({ seq }) => seq > (known?.seq ?? 0))
    if (known && known.seq + 1 < (waiting[0]?.seq ?? 0)) turnOver()
    const isNew = !existsSync(path)
    const fd = openSync(path, 'a', 0o600)
    if (isNew) writeSync(fd, firstLine(written))
    return fd
  }

  function sync(): void {
    if (file === undefined || syncing || durable === written) return
    const upTo = written
    syncing = true
    fsync(file, (error) => {
      syncing = false
      if (!error) durable = upTo
    })
  }
}

type Segment = { readonly head: LogHead; readonly leaves: readonly IssuedLeaf[] }

/** What a segment says as far as it can be believed; the rest is cut off the file. Undefined where there is none. */
function readSegment(path: string, before: LogHead | undefined, warn: (text: string) => void): Segment | undefined {
  if (!existsSync(path)) return undefined
  const text = readText(path)
  const leaves: IssuedLeaf[] = []
  let end = text.indexOf('\n') + 1
  const first = parseFirst(text.slice(0, end))
  if (!first) {
    warn(`${path} has no beginning that can be read: ${setAside(path)}, and another one begins`)
    return undefined
  }
  let head: LogHead = { seq: first.seq, hash: first.hash }
  if (before && before.hash !== head.hash)
    warn(`${path} does not follow ${path}.1: entries between ${before.seq} and ${head.seq} are missing`)
  while (end < text.length) {
    const next = text.indexOf('\n', end) + 1
    const line = next === 0 ? undefined : parseLine(text.slice(end, next))
    if (!line || line.seq !== head.seq + 1 || line.hash !== hashAfter(head, line.seq, line.leaf)) {
      if (next > 0) warn(`${path}: entry ${head.seq + 1} was changed; ${setAside(path, 'keep')}`)
      cut(path, Buffer.byteLength(text.slice(0, end)), `from entry ${head.seq + 1} on it cannot be believed`, warn)
      break
    }
    head = { seq: line.seq, hash: line.hash }
    leaves.push(line.leaf)
    end = next
  }
  return { head, leaves }
}

/** Empty, and so without a beginning, where it cannot be read. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function cut(path: string, bytes: number, reason: string, warn: (text: string) => void): void {
  warn(`${path}: ${reason}; it goes on from what is whole`)
  try {
    truncateSync(path, bytes)
  } catch (error) {
    warn(`${path} could not be mended: ${(error as Error).message}`)
  }
}

function parseFirst(text: string): LogHead | undefined {
  const first = parseObject(text)
  const { version, seq, hash } = first
  return version === 1 && typeof seq === 'number' && typeof hash === 'string' ? { seq, hash } : undefined
}

/** By hand: tens of thousands of them are read before the relay serves anybody. */
function parseLine(text: string): Line | undefined {
  const { seq, hash, leaf } = parseObject(text)
  if (typeof seq !== 'number' || typeof hash !== 'string' || typeof leaf !== 'object' || leaf === null) return undefined
  const fields = leaf as Readonly<Record<string, unknown>>
  const isWhole =
    texts.every((name) => typeof fields[name] === 'string') && times.every((name) => typeof fields[name] === 'number')
  return isWhole ? { seq, hash, leaf: leaf as IssuedLeaf } : undefined
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
