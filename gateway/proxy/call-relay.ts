import { readFile } from 'node:fs/promises'
import { callUnary } from '#gateway/proxy/grpc.ts'
import type { RelayName } from '#gateway/proxy/relay-name.ts'
import type { ProxySettings } from '#gateway/proxy/settings.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseCertificates } from '#mesh/trust/certificate.ts'

/** How a proxy reaches its relay, and by what it knows it. */
export type RelayLine = Pick<ProxySettings, 'relay' | 'caFile' | 'tokenFile' | 'cluster'> & {
  readonly name: RelayName
}

export type RelayCall = {
  readonly path: string
  readonly body: Uint8Array
  /** What is asked, for messages: `certificate request`. */
  readonly what: string
  readonly answerBytesMax: number
}

/**
 * The relay's answer to one unary call. The CA and the token are read from their files for every call, because both are
 * replaced while this program runs.
 *
 * Throws `unavailable` when the relay cannot be reached, `forbidden` when it is not the expected one,
 * `unauthenticated` when it refuses the token, `invalid` for a broken file; each names the address or file.
 */
export async function callRelay(line: RelayLine, call: RelayCall): Promise<Uint8Array> {
  const ca = await readText(line.caFile, 'control-plane CA', '--ca-file')
  parseCertificates(ca, `the control-plane CA file ${line.caFile}`)
  const token = await readToken(line.tokenFile)
  try {
    return await callUnary({
      ...line.relay,
      path: call.path,
      headers: { authorization: `Bearer ${token}`, clusterid: line.cluster },
      body: call.body,
      tls: { ca },
      serverFault: line.name.fault,
      deadlineMs: 10_000,
      answerBytesMax: call.answerBytesMax,
    })
  } catch (cause) {
    throw named(cause, line, call.what)
  }
}

async function readText(file: string, what: string, flag: string): Promise<string> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? cause.code : 'it cannot be read'
    throw new Problem('unavailable', `there is no ${what} at ${file} (${reason}); mend the file, or ${flag}`, { cause })
  }
  if (text.length <= 1_048_576) return text
  throw new Problem('invalid', `the ${what} file ${file} is larger than 1 MiB; mend the file, or ${flag}`)
}

async function readToken(file: string): Promise<string> {
  const token = (await readText(file, 'token', '--token-file')).trim()
  if (/^[A-Za-z0-9._~+/=-]{1,16384}$/.test(token)) return token
  const reason = token === '' ? 'is empty' : 'holds something else than one token'
  throw new Problem('invalid', `the token file ${file} ${reason}; it must hold the projected service-account token`)
}

/** The same problem with the address, and what to look at. */
function named(cause: unknown, { relay, tokenFile, caFile }: RelayLine, what: string): Problem {
  const at = `the relay ${relay.host}:${relay.port}`
  if (!(cause instanceof Problem)) return new Problem('unavailable', `${at} answers something unreadable`, { cause })
  switch (cause.kind) {
    case 'unauthenticated':
      return new Problem(cause.kind, `${at} refuses the token in ${tokenFile}: ${cause.message}`, { cause })
    case 'forbidden':
      return new Problem(cause.kind, `${at}: ${cause.message}`, { cause })
    case 'unavailable':
      return new Problem(
        cause.kind,
        `${at} cannot be reached (${cause.message}; its CA is in ${caFile}); see that it runs there, or mend --relay`,
        { cause },
      )
    default:
      return new Problem(cause.kind, `${at} refuses the ${what}: ${cause.message}`, { cause })
  }
}
