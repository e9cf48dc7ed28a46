import { readFileSync } from 'node:fs'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'

/**
 * A small thing that a relay which starts again had better know, as last saved; undefined where there is none. The file
 * counts only whole: its first line is the SHA-256 of the rest. A damaged one counts as none, and `warn` says so.
 */
export function loadKept<T>(path: string, parse: (body: unknown) => T, warn: (text: string) => void): T | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    const end = text.indexOf('\n')
    const body = text.slice(end + 1)
    if (end !== 64 || sha256Hex(body) !== text.slice(0, end)) throw new Error('its checksum does not match')
    return parse(JSON.parse(body))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') warn(`${path} is not used: ${message}`)
    return undefined
  }
}

/** Saves atomically. A disk that takes nothing is said, and costs only what can be learnt again. */
export function saveKept(path: string, value: object, warn: (text: string) => void): void {
  const body = `${JSON.stringify(value)}\n`
  try {
    replaceFile(path, `${sha256Hex(body)}\n${body}`, 0o600)
  } catch (error) {
    warn(`${path} could not be saved: ${(error as Error).message}`)
  }
}
