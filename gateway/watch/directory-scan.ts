import { type Disk, patientDisk, promptDisk } from '#gateway/watch/disk.ts'
import { type FileState, nextFileState } from '#gateway/watch/file-state.ts'
import { type Listing, type Look, listDirectory, lookAgain, readObjects } from '#gateway/watch/list-directory.ts'
import type { ParsedFile } from '#gateway/watch/parse-file.ts'
import type { RejectedObject } from '#mesh/model/view.ts'

/** All that is remembered of a directory between two scans. */
export type DirectoryState = {
  readonly files: ReadonlyMap<string, FileState>
  readonly directories: ReadonlyMap<string, string>
  /** What could not be listed; `at` is `.` where it is the directory itself. */
  readonly faults: readonly RejectedObject[]
  /** False where something is still to be looked at again soon. */
  readonly isSettled: boolean
  /** The look each file had when it was last read. */
  readonly looks: ReadonlyMap<string, Look>
  /** Files to be read again, whatever they look like: as they looked, and since when they are waited for. */
  readonly waiting: ReadonlyMap<string, { readonly mark: string; readonly sinceMs: number; readonly firstMs: number }>
}

export const emptyDirectory: DirectoryState = {
  files: new Map(),
  directories: new Map(),
  faults: [],
  isSettled: false,
  looks: new Map(),
  waiting: new Map(),
}

type Scan = {
  readonly dir: string
  readonly settleMs: number
  /** The wall clock, as files are stamped with. */
  readonly nowMs: number
  /** A clock that never jumps, for waiting. */
  readonly upMs: number
  /** What may have changed since the scan before; the whole directory where absent. */
  readonly touched?: ReadonlySet<string>
}

/** A file that never comes to rest is read as it is after this long. */
const patienceMs = 1000
/** Two writes within one tick of the file system's clock look alike: a file read that soon is read once more. */
const clockTickMs = 20
const goneMark = 'gone'

/** Looks at the directory once, reads what changed and can be believed, and gives the state after that (the same `files` where nothing did). */
export async function scanDirectory(before: DirectoryState, scan: Scan): Promise<DirectoryState> {
  const { listing, disk } = await listingAgain(before, scan)
  const next = {
    files: new Map(before.files),
    looks: new Map(before.looks),
    waiting: new Map<string, { mark: string; sinceMs: number; firstMs: number }>(),
  }
  for (const [path, look] of listing.files) {
    if (before.looks.get(path)?.mark === look.mark && !before.waiting.has(path)) continue
    const wait = waitFor(before, path, look.mark, scan)
    const isForced = scan.upMs - wait.firstMs >= patienceMs
    const isAtRest = isForced || scan.upMs - wait.sinceMs >= scan.settleMs || isOld(look, scan)
    const known = before.files.get(path)
    const parsed =
      isAtRest || isReplaced(before.looks.get(path), look)
        ? await readObjects(scan.dir, path, { look: isForced ? undefined : look, disk })
        : 'moved'
    if (parsed === 'moved' || !(isAtRest || keepsAll(known, parsed))) {
      next.waiting.set(path, wait)
      continue
    }
    next.files.set(path, nextFileState(known, parsed))
    next.looks.set(path, look)
    if (!isForced && scan.nowMs - look.changedMs <= clockTickMs) next.waiting.set(path, wait)
  }
  for (const path of before.files.keys()) {
    if (listing.files.has(path) || isUnknown(path, listing)) continue
    const wait = waitFor(before, path, goneMark, scan)
    if (scan.upMs - wait.sinceMs >= scan.settleMs) {
      next.files.delete(path)
      next.looks.delete(path)
    } else next.waiting.set(path, wait)
  }
  return {
    ...next,
    files: isSame(before.files, next.files) ? before.files : next.files,
    directories: listing.directories,
    faults: faultsOf(listing, before.files.size > 0),
    isSettled: next.waiting.size === 0,
  }
}

type Listed = { readonly listing: Listing; readonly disk: Disk }

/** So few files that were named are looked at at once. */
const promptMax = 8

/** What waits is looked at again too. Where something could not be listed only the whole directory says more. */
async function listingAgain(before: DirectoryState, { dir, touched }: Scan): Promise<Listed> {
  if (touched && before.faults.length === 0) {
    const known = { files: before.looks, directories: before.directories, unknown: new Map<string, string>() }
    const paths = new Set([...touched, ...before.waiting.keys()])
    const disk = paths.size <= promptMax ? promptDisk : patientDisk
    const listing = await lookAgain(dir, known, { paths, disk })
    if (listing) return { listing, disk }
  }
  return { listing: await listDirectory(dir), disk: patientDisk }
}

const isSame = (a: ReadonlyMap<string, FileState>, b: ReadonlyMap<string, FileState>): boolean =>
  a.size === b.size && [...a].every(([path, file]) => b.get(path) === file)

function waitFor(before: DirectoryState, path: string, mark: string, { upMs }: Scan) {
  const old = before.waiting.get(path)
  return { mark, sinceMs: old?.mark === mark ? old.sinceMs : upMs, firstMs: old?.firstMs ?? upMs }
}

const isOld = (look: Look, { nowMs, settleMs }: Scan): boolean => nowMs - look.changedMs > settleMs

/** Another inode under a known name: a rename put it there. An editor may also have made it anew, see `keepsAll`. */
const isReplaced = (old: Look | undefined, look: Look): boolean => old !== undefined && inodeOf(old) !== inodeOf(look)
const inodeOf = (look: Look): string => look.mark.split(':', 2).join(':')

/** A replaced file that still has every object is believed at once; one that lost some may be half written. */
function keepsAll(known: FileState | undefined, parsed: ParsedFile): boolean {
  const ids = new Set(parsed.objects.map((placed) => placed.id))
  return parsed.rejected.length === 0 && (known?.live ?? []).every((placed) => ids.has(placed.id))
}

const isUnknown = (path: string, listing: Listing): boolean =>
  [...listing.unknown.keys()].some((place) => place === '.' || path === place || path.startsWith(`${place}/`))

const faultsOf = (listing: Listing, isKept: boolean): RejectedObject[] =>
  [...listing.unknown].map(([at, reason]) => ({
    at,
    object: at === '.' ? 'directory' : 'file or directory',
    reason: isKept ? `${reason}: what was known of it stays as it was` : reason,
  }))
