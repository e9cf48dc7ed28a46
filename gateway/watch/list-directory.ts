import type { BigIntStats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Disk, patientDisk } from '#gateway/watch/disk.ts'
import { type ParsedFile, parseFile, unclearFile } from '#gateway/watch/parse-file.ts'

/** What a file looks like from outside: equal looks with time between them are the same content. */
export type Look = { readonly mark: string; readonly changedMs: number; readonly size: number }

export type Listing = {
  /** Paths relative to the directory. */
  readonly files: ReadonlyMap<string, Look>
  /** Inode by path: a directory that was replaced is another one. */
  readonly directories: ReadonlyMap<string, string>
  /** Places that could not be listed (a file, a directory, `.` for all): what is under them is unknown. */
  readonly unknown: ReadonlyMap<string, string>
}

export const limits = { fileBytes: 1024 * 1024, files: 5000, depth: 8 } as const
/** A busy relay's event loop turns slowly: as many as may answer within one turn. */
const looksAtOnce = 1024

/**
 * Every `.yaml` and `.yml` file under `dir`. Names that begin with a dot are left out: half-written files and the
 * inside of mounted ConfigMaps. Links to files are followed, links to directories are not. Never throws.
 */
export async function listDirectory(dir: string): Promise<Listing> {
  const files = new Map<string, Look>()
  const directories = new Map<string, string>()
  const unknown = new Map<string, string>()
  const found: string[] = []
  const visit = async (path: string, depth: number): Promise<void> => {
    if (depth > limits.depth) return void unknown.set(path, `is nested more than ${limits.depth} directories deep`)
    let entries: { readonly name: string; isDirectory(): boolean }[]
    try {
      entries = await readdir(join(dir, path), { withFileTypes: true })
      const { dev, ino } = await stat(join(dir, path))
      directories.set(path, `${dev}:${ino}`)
    } catch (error) {
      return void unknown.set(path, `cannot be listed (${codeOf(error)})`)
    }
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.name.startsWith('.')) continue
      const inner = path === '.' ? entry.name : `${path}/${entry.name}`
      if (entry.isDirectory()) await visit(inner, depth + 1)
      else if (/\.ya?ml$/.test(entry.name)) found.push(inner)
    }
  }
  const lookAt = async (path: string): Promise<void> => {
    const look = await lookAtFile(join(dir, path), patientDisk)
    if (look === 'none' || look === 'other') return
    if ('fault' in look) unknown.set(path, look.fault)
    else files.set(path, look)
  }
  await visit('.', 0)
  for (const path of found.slice(limits.files)) unknown.set(path, `is past the bound of ${limits.files} files`)
  const within = found.slice(0, limits.files)
  for (let i = 0; i < within.length; i += looksAtOnce) await Promise.all(within.slice(i, i + looksAtOnce).map(lookAt))
  return { files, directories, unknown }
}

/**
 * The same listing as before, but for these paths. Undefined where only a look at the whole can tell: something else
 * than a file was touched, or the inside of a mounted ConfigMap, to which all its files are links.
 */
export async function lookAgain(
  dir: string,
  known: Listing,
  { paths, disk }: { readonly paths: Iterable<string>; readonly disk: Disk },
): Promise<Listing | undefined> {
  const files = new Map(known.files)
  for (const path of paths) {
    const name = path.slice(path.lastIndexOf('/') + 1)
    if (name.startsWith('.') && !name.startsWith('..')) continue
    const look =
      name.startsWith('..') || known.directories.has(path) ? 'other' : await lookAtFile(join(dir, path), disk)
    if (look === 'none') files.delete(path)
    else if (look === 'other' || 'fault' in look || (!files.has(path) && files.size >= limits.files)) return undefined
    else if (/\.ya?ml$/.test(name)) files.set(path, look)
  }
  return { ...known, files }
}

async function lookAtFile(file: string, disk: Disk): Promise<Look | 'none' | 'other' | { readonly fault: string }> {
  try {
    const seen = await disk.look(file)
    return seen.isFile() ? lookOf(seen) : 'other'
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? 'none' : { fault: `cannot be looked at (${codeOf(error)})` }
  }
}

/** The inode tells a rename, ctime a write that keeps the mtime. */
const lookOf = (s: BigIntStats): Look => ({
  mark: [s.dev, s.ino, s.size, s.mtimeNs, s.ctimeNs].join(':'),
  changedMs: Number(s.ctimeNs / 1_000_000n),
  size: Number(s.size),
})

/**
 * Reads one file as it was looked at: 'moved' where it is gone or was written to meanwhile, so that half of a write is
 * never taken for the whole (with no `look`: as it is). What cannot be read is an unclear file with the reason.
 */
export async function readObjects(
  dir: string,
  path: string,
  { look, disk }: { readonly look?: Look | undefined; readonly disk: Disk },
): Promise<ParsedFile | 'moved'> {
  try {
    const { bytes, after } = await disk.read(join(dir, path), { bytesMax: limits.fileBytes, known: look?.size })
    if (look && lookOf(after).mark !== look.mark) return 'moved'
    if (bytes.length > limits.fileBytes)
      return unclearFile(path, `is larger than ${limits.fileBytes} bytes: split it into several files`)
    const text = textOf(bytes)
    return 'fault' in text ? unclearFile(path, text.fault) : parseAgain(join(dir, path), path, text.text)
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? 'moved' : unclearFile(path, `cannot be read (${codeOf(error)})`)
  }
}

/** A file that changed a moment ago is read twice, since two writes may look alike: the same text is not parsed again. */
const recent = new Map<string, { readonly text: string; readonly parsed: ParsedFile }>()
const recentMax = 32
const recentTextMax = 64 << 10

function parseAgain(file: string, path: string, text: string): ParsedFile {
  const known = recent.get(file)
  const parsed = known?.text === text ? known.parsed : parseFile(path, text)
  recent.delete(file)
  if (text.length <= recentTextMax) recent.set(file, { text, parsed })
  const [oldest] = recent.keys()
  if (oldest !== undefined && recent.size > recentMax) recent.delete(oldest)
  return parsed
}

function textOf(bytes: Buffer): { readonly text: string } | { readonly fault: string } {
  const [a, b] = bytes
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) return { fault: 'is UTF-16: save it as UTF-8' }
  if (bytes.includes(0)) return { fault: 'holds NUL bytes: it is no text, or is not UTF-8' }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch {
    return { fault: 'is not UTF-8' }
  }
}

const codeOf = (error: unknown): string =>
  String((error as { code?: unknown } | undefined)?.code ?? error).slice(0, 200)
