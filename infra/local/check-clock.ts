import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { caFileOf } from './centre.ts'
import type { SandboxPlan } from './plan.ts'

/**
 * Throws where the fleet in the directory was made by a clock that was ahead of what this machine's says now: nobody would
 * take a certificate of it, and a start would wait for that in silence.
 */
export function refuseEarlierClock(plan: SandboxPlan, now: number): void {
  const begin = existsSync(caFileOf(plan)) ? beginOf(readFileSync(caFileOf(plan))) : undefined
  if (begin === undefined || begin <= now) return
  const time = (ms: number) => new Date(ms).toISOString().replace(/\.\d+/, '')
  throw new Error(
    `the certificates of the fleet in ${plan.dir} begin at ${time(begin)}, and the clock of this machine says ${time(now)}: ` +
      'set it right (NTP), wait until then, or begin anew with --fresh',
  )
}

/** Unix ms; undefined for what is no certificate, which others tell about. */
function beginOf(pem: Buffer): number | undefined {
  try {
    return new X509Certificate(pem).validFromDate.getTime()
  } catch {
    return undefined
  }
}
