import { readFileSync, statSync } from 'node:fs'
import { Problem } from '#mesh/model/problem.ts'

/** Where a passphrase comes from. Never an argument: every user of the machine can read those. */
export type PassphraseSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'fd'; readonly fd: number }
  | { readonly kind: 'env'; readonly name: string }

const bytesMin = 16
const bytesMax = 1024

/**
 * Reads a setting: `file:/run/secrets/root`, `fd:3` or `env:ISTHMUS_PASSPHRASE`. Throws `invalid` for anything else, and
 * then quotes only the part before the colon: somebody may have written the passphrase itself there.
 */
export function parsePassphraseSource(setting: string): PassphraseSource {
  const colon = setting.indexOf(':')
  const [kind, value] = [setting.slice(0, Math.max(colon, 0)), setting.slice(colon + 1)]
  if (kind === 'file' && value.startsWith('/')) return { kind, path: value }
  if (kind === 'fd' && /^[0-9]{1,4}$/.test(value)) return { kind, fd: Number(value) }
  if (kind === 'env' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(value)) return { kind, name: value }
  throw new Problem(
    'invalid',
    'the passphrase setting must be file:<absolute path>, fd:<number> or env:<name>; the passphrase itself never goes there',
  )
}

/**
 * The passphrase, without the line end that editors add. A descriptor can be read once. Throws `invalid` when it is
 * absent, shorter than 16 bytes or longer than 1024, or in a file that others may read; never quotes it.
 */
export function readPassphrase(source: PassphraseSource, env: Readonly<Record<string, string | undefined>>): Buffer {
  const bytes = trimEnd(bytesFrom(source, env))
  if (bytes.length < bytesMin || bytes.length > bytesMax) {
    throw refused(
      source,
      `it has ${bytes.length} bytes; use ${bytesMin} to ${bytesMax}, say from: openssl rand -hex 32`,
    )
  }
  return bytes
}

function bytesFrom(source: PassphraseSource, env: Readonly<Record<string, string | undefined>>): Buffer {
  if (source.kind === 'env') {
    const text = env[source.name]
    if (text === undefined) throw refused(source, 'it is not set')
    return Buffer.from(text)
  }
  try {
    if (source.kind === 'fd') return readFileSync(source.fd)
    const mode = statSync(source.path).mode & 0o777
    if ((mode & 0o007) !== 0)
      throw refused(source, `its mode is ${mode.toString(8)}: everybody may read it; chmod 600 it`)
    return readFileSync(source.path)
  } catch (cause) {
    throw cause instanceof Problem ? cause : refused(source, 'it cannot be read', cause)
  }
}

const trimEnd = (bytes: Buffer): Buffer => {
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : undefined
  return bytes.subarray(0, end)
}

const placeOf = (source: PassphraseSource): string =>
  source.kind === 'file'
    ? `file ${source.path}`
    : source.kind === 'fd'
      ? `descriptor ${source.fd}`
      : `variable ${source.name}`

const refused = (source: PassphraseSource, reason: string, cause?: unknown): Problem =>
  new Problem('invalid', `the passphrase of ${placeOf(source)} is not used: ${reason}`, { cause })
