import { readFileSync } from 'node:fs'
import type { Clock } from '#gateway/proxy/keep-certificate.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { authorityDigest } from '#mesh/trust/authority-digest.ts'
import { type Certificate, certificatePem, parseCertificates } from '#mesh/trust/certificate.ts'

/** The control-plane CAs that Envoy is to believe its relay by, as the file says. */
export type ControlPlane = { readonly pem: string; readonly digest: string }

/** A rotation waits for every proxy, so a new CA in the file is seen soon; a read of 2 kB costs nothing. */
const lookMs = 2000

/** Throws `invalid`, or the system's error, where the file holds no certificates. */
export function readControlPlane(file: string): ControlPlane {
  const authorities = parseCertificates(readFileSync(file, 'utf8'), `the control-plane CA file ${file}`)
  return { pem: pemOf(authorities), digest: authorityDigest(authorities) }
}

const pemOf = (authorities: readonly Certificate[]): string => authorities.map(certificatePem).join('')

/**
 * Calls `onChange` whenever the file holds other CAs than before, until `signal` is aborted. A file that is missing or
 * damaged changes nothing: it is said once, and what was read before stays in force. Never rejects.
 */
export async function followControlPlane(parts: {
  readonly file: string
  readonly known: () => ControlPlane | undefined
  readonly onChange: (now: ControlPlane) => void
  readonly clock: Pick<Clock, 'wait'>
  readonly log: Pick<Log, 'info' | 'warn'>
  readonly signal: AbortSignal
}): Promise<void> {
  const { file, known, onChange, clock, log, signal } = parts
  let fault: string | undefined
  while (!signal.aborted) {
    await clock.wait(lookMs, signal)
    if (signal.aborted) return
    try {
      const now = readControlPlane(file)
      fault = undefined
      const before = known()
      if (before === undefined || now.digest === before.digest) continue
      onChange(now)
      log.info({ digest: now.digest }, 'other control-plane CAs: the relay is believed by these from now on')
    } catch (error) {
      const reason = (error as Error).message
      if (reason !== fault)
        log.warn({ file, reason }, 'the control-plane CA file is not used; what it held before stays')
      fault = reason
    }
  }
}
