import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'

/** How one file is looked at and read; what the system refuses is thrown. */
export type Disk = {
  readonly look: (file: string) => Promise<BigIntStats>
  /** At most `bytesMax`, or to the end where that is undefined, and what the file looked like afterwards. */
  readonly read: (file: string, bounds: ReadBounds) => Promise<{ readonly bytes: Buffer; readonly after: BigIntStats }>
}

export type ReadBounds = { readonly bytesMax: number; readonly known: number | undefined }

/** Waits for a file system that takes its time, as one over a network may. */
export const patientDisk: Disk = {
  look: (file) => stat(file, { bigint: true }),
  read: async (path, bounds) => {
    const file = await open(path, 'r')
    try {
      const buffer = bufferFor(bounds, bounds.known ?? (await file.stat()).size)
      let length = 0
      for (let read = -1; read !== 0 && length < enough(bounds, buffer); length += read)
        read = (await file.read(buffer, length, buffer.length - length, null)).bytesRead
      return { bytes: buffer.subarray(0, length), after: await file.stat({ bigint: true }) }
    } finally {
      await file.close()
    }
  },
}

/**
 * Has its answer before anything else gets the processor, for a few files that a signal named: each of the five steps
 * would wait behind all that a thousand proxies have just said. A file system that answers late sends no signals.
 */
export const promptDisk: Disk = {
  look: async (file) => statSync(file, { bigint: true }),
  read: async (path, bounds) => {
    // A pipe that has come in the file's place is not waited for.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const buffer = bufferFor(bounds, bounds.known ?? fstatSync(file).size)
      let length = 0
      for (let read = -1; read !== 0 && length < enough(bounds, buffer); length += read)
        read = readSync(file, buffer, length, buffer.length - length, null)
      return { bytes: buffer.subarray(0, length), after: fstatSync(file, { bigint: true }) }
    } finally {
      closeSync(file)
    }
  },
}

/** One byte more than the bound shows that a file is past it. */
const bufferFor = ({ bytesMax }: ReadBounds, size: number): Buffer => Buffer.alloc(Math.min(size, bytesMax) + 1)

/** With the size that it is known to have a file is not read past that: one that grew looks different. */
const enough = ({ known }: ReadBounds, buffer: Buffer): number =>
  known !== undefined && known < buffer.length ? known : buffer.length
