import { refusal } from '#cli/failure.ts'
import { readBounded } from '#cli/read-bounded.ts'
import { fileFault } from '#mesh/model/file-fault.ts'

const fileBytesMax = 16 * 1024 * 1024

/** A file, or standard input as `-`, as text. Throws `invalid`. */
export function readManifest(path: string): string {
  const bytes = read(path)
  if (bytes.length > fileBytesMax)
    throw refusal({
      ...{ kind: 'invalid', on: path, mend: 'split the file' },
      why: `it has more than ${fileBytesMax} bytes, which is the most that is taken`,
    })
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes)
  } catch (cause) {
    const why = 'this is not UTF-8 text (UTF-16 perhaps)'
    throw refusal({ kind: 'invalid', why, on: path, mend: 'save it as UTF-8', cause })
  }
}

function read(path: string): Buffer {
  try {
    return readBounded(path === '-' ? 0 : path, fileBytesMax)
  } catch (cause) {
    const why = `it cannot be read: ${fileFault(cause)}`
    const mend = 'give -f <file>, a YAML or JSON file, or - for standard input'
    throw refusal({ kind: 'invalid', why, on: path, mend, cause })
  }
}
