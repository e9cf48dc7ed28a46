import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { Answers } from '#gateway/resolve/name-resolver.ts'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { answerFault } from '#mesh/model/gateway-address.ts'

/** What a relay that starts again must know before it asks: where names led, and who held what two clusters led to. */
export type KeptAnswers = { readonly answers: Answers; readonly holders: ReadonlyMap<string, string> }

const nothing: KeptAnswers = { answers: new Map(), holders: new Map() }

/** As last saved; nothing where there is none. A damaged file counts as none, `warn` says so, and the DNS is asked. */
export function loadAnswers(path: string, warn: (text: string) => void): KeptAnswers {
  try {
    const text = readFileSync(path, 'utf8')
    const end = text.indexOf('\n')
    const body = text.slice(end + 1)
    if (end !== 64 || sha256Hex(body) !== text.slice(0, end)) throw new Error('its checksum does not match')
    return parseAnswers(body)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') warn(`${path} is not used, the names of gateways are asked anew: ${message}`)
    return nothing
  }
}

/** Saves atomically. Throws the system's error; the file on disk stays whole. */
export function saveAnswers(path: string, { answers, holders }: KeptAnswers): void {
  const body = `${JSON.stringify({ version: 1, answers: [...answers], holders: [...holders] })}\n`
  replaceFile(path, `${sha256Hex(body)}\n${body}`, 0o600)
}

function parseAnswers(body: string): KeptAnswers {
  const { version, answers, holders } = JSON.parse(body) as {
    readonly version: number
    readonly answers: readonly [string, readonly string[]][]
    readonly holders: readonly [string, string][]
  }
  if (version !== 1) throw new Error(`it is of version ${version}, this relay reads version 1`)
  const good = (address: string): boolean => isIP(address) !== 0 && answerFault(address, true) === undefined
  return { answers: new Map(answers.map(([name, all]) => [name, all.filter(good)])), holders: new Map(holders) }
}
