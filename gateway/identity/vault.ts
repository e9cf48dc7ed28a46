import { createHash } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Problem } from '#mesh/model/problem.ts'

/** Where one secret text is kept: all of it or nothing. A file here; a Kubernetes Secret fits behind it as well. */
export interface Vault {
  /** For messages: where the secret lies. */
  readonly place: string
  /** What was saved last; undefined when nothing ever was. Throws when it is there but cannot be trusted. */
  load(): Promise<string | undefined>
  /** Saved and durable when it resolves; a crash before that leaves the old text. */
  save(text: string): Promise<void>
}

const bytesMax = 256 * 1024

/**
 * A file of mode 0600 whose first line is the SHA-256 of the rest, and a copy of it beside it. `load` throws `conflict`
 * when others may read it (`extra.exposed`), and when it is cut off, changed or unreadable: a key that others saw, or half
 * a key, is no key.
 */
export const fileVault = (path: string): Vault => ({
  place: path,
  load: () => loadFile(path),
  save: async (text) => {
    const whole = `${digestOf(text)}\n${text}`
    await saveFile(copyOf(path), whole)
    await saveFile(path, whole)
  },
})

/** The same text a second time: a file that is damaged is put back from it. */
export const copyOf = (path: string): string => `${path}.1`

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

async function loadFile(path: string): Promise<string | undefined> {
  const file = await openExisting(path)
  if (!file) return undefined
  try {
    const stat = await file.stat()
    const { mode, size } = stat
    if (!stat.isFile()) throw refused(path, 'it is no file', 'delete it')
    if ((mode & 0o077) !== 0) {
      const found = (mode & 0o777).toString(8)
      throw refused(
        path,
        `its mode is ${found}: others may have read it`,
        `chmod 600 ${path} if nobody did, else delete it`,
        { exposed: true },
      )
    }
    if (size > bytesMax) throw refused(path, `it has ${size} bytes; at most ${bytesMax}`, 'delete it')
    const text = await readWhole(file, path)
    const end = text.indexOf('\n')
    if (end !== 64 || digestOf(text.slice(end + 1)) !== text.slice(0, end)) {
      throw refused(path, 'it is cut off or damaged', 'put back an undamaged copy, or delete it')
    }
    return text.slice(end + 1)
  } finally {
    await file.close()
  }
}

async function readWhole(file: FileHandle, path: string): Promise<string> {
  try {
    return await file.readFile('utf8')
  } catch (cause) {
    throw refused(path, `it cannot be read (${(cause as Error).message})`, 'put back an undamaged copy, or delete it')
  }
}

async function openExisting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw refused(path, `it cannot be opened (${String(cause)})`, 'put back an undamaged copy, or delete it')
  }
}

async function saveFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.new`
  try {
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.chmod(0o600)
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    const directory = await open(dirname(path), 'r')
    await directory.sync().finally(() => directory.close())
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw new Problem('unavailable', `the key file ${path} cannot be written: ${String(cause)}; the old one is kept`, {
      cause,
    })
  }
}

const refused = (path: string, reason: string, fix: string, extra: Problem['extra'] = {}): Problem =>
  new Problem('conflict', `the key file ${path} is not used: ${reason}. ${fix}: a new key is then made and certified`, {
    extra,
  })
