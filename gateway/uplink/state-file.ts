import { existsSync, linkSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { setAside } from '#gateway/set-aside.ts'
import type { Received, ReceivedStream } from '#gateway/uplink/received.ts'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'

/** Why a state file was not used; the relay says it and goes on with the older one, or with nothing known. */
export type StateFault = { readonly path: string; readonly reason: string }

/**
 * The received streams as last saved at `path`, or as saved before that where the newest file is damaged. A file counts
 * only whole: its first line is the SHA-256 of the rest; another one is set aside. Nothing readable gives an empty map, which means unknown.
 */
export function loadReceived(path: string): { readonly received: Received; readonly faults: readonly StateFault[] } {
  const faults: StateFault[] = []
  for (const candidate of [path, `${path}.1`]) {
    if (!existsSync(candidate)) continue
    try {
      const text = readFileSync(candidate, 'utf8')
      const end = text.indexOf('\n')
      if (end !== 64 || sha256Hex(text.slice(end + 1)) !== text.slice(0, end))
        throw new Error('its checksum does not match')
      return { received: parseReceived(text.slice(end + 1)), faults }
    } catch (cause) {
      faults.push({ path: candidate, reason: `${(cause as Error).message}; ${setAside(candidate)}` })
    }
  }
  return { received: new Map(), faults }
}

/**
 * Saves atomically and keeps the generation before it. At no moment is there nothing at `path`: a crash between the two
 * renames would otherwise bring back an older state than was served. Gives the size. Throws the system's
 * error; the files on disk stay whole.
 */
export function saveReceived(path: string, received: Received): number {
  const streams = [...received].map(([stream, { epoch, rev, root, items }]) => ({
    stream,
    epoch,
    rev,
    root,
    items: [...items],
  }))
  const body = `${JSON.stringify({ version: 1, streams })}\n`
  if (existsSync(path)) {
    const second = `${path}.1.new`
    rmSync(second, { force: true })
    linkSync(path, second)
    renameSync(second, `${path}.1`)
  }
  replaceFile(path, `${sha256Hex(body)}\n${body}`, 0o600)
  return body.length
}

function parseReceived(body: string): Received {
  const value = JSON.parse(body) as {
    version: number
    streams: { stream: string; epoch: string; rev: number; root: string; items: [string, Json][] }[]
  }
  if (value.version !== 1) throw new Error(`it is of version ${value.version}, this relay reads version 1`)
  return new Map(
    value.streams.map(({ stream, epoch, rev, root, items }): [string, ReceivedStream] => [
      stream,
      { epoch, rev, root, items: new Map(items) },
    ]),
  )
}
