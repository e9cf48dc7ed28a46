import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { type Identity, identityOf } from '#gateway/proxy/check-certificate.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { assembleCsr, buildCsrTbs } from '#mesh/trust/csr.ts'

/** Time and chance, injected so that a day's life is tested in a moment. */
export type Clock = {
  readonly now: () => Date
  /** Resolves after `ms`, or as soon as `signal` is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** From 0 to 1. */
  readonly random: () => number
}

/** A renewal before its time, which the relay asks for. */
export type Forced = {
  /** When the certificate with this serial number is to be renewed; undefined = in its time. */
  readonly at: (serial: string) => Date | undefined
  /** Calls back once when that has changed; the result takes the listener away. */
  readonly onChange: (listener: () => void) => () => void
}

export type Keeping = {
  /** The identity to ask for; another one after the cluster got another trust domain. */
  readonly uri: () => string
  /** One request; rejects with a Problem. */
  readonly request: (csr: string) => Promise<readonly string[]>
  /** Called with every new identity, the first included; what it throws counts as a failed attempt. */
  readonly use: (identity: Identity) => void
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  readonly forced?: Forced
  readonly count?: (result: 'issued' | 'failed') => void
}

/** Life is counted from `since`, when it came: a back-dated notBefore is no life. */
type Held = Identity & { readonly since: Date }

const retryMsMin = 200
const retryMsMax = 15_000
/** Wall clocks jump (suspend, NTP), timers do not follow: so the due time is looked at again this often. */
const lookMsMax = 60_000

/**
 * Gets a certificate and keeps it fresh until `signal` is aborted: a new key for every request, renewed at a random
 * moment between 50 and 70 % of its life so that a fleet started together does not ask together. A failure keeps the old
 * one and is tried again for ever, at most 15 s apart; below 50, 25 and 10 % of life left it warns once each.
 * Never rejects.
 */
export async function keepCertificate(keeping: Keeping): Promise<void> {
  const { clock, signal } = keeping
  let held: Held | undefined
  while (!signal.aborted) {
    const fresh = await obtain(keeping, held)
    if (!fresh) return
    held = { ...fresh, since: clock.now() }
    const due = renewAt(fresh, held.since, clock.random())
    keeping.log.info({ serial: fresh.serial, notAfter: fresh.notAfter, renewAt: due }, 'certificate in use')
    for (let left = 1; left > 0 && !signal.aborted; ) {
      const forced = keeping.forced?.at(fresh.serial)
      left = Math.min(due.getTime(), forced?.getTime() ?? Infinity) - clock.now().getTime()
      if (left > 0) await waitOrForced(keeping, Math.min(left, lookMsMax))
      else if (forced && forced < due)
        keeping.log.info({ serial: fresh.serial }, 'the relay asks for a new certificate')
    }
  }
}

async function waitOrForced({ clock, signal, forced }: Keeping, ms: number): Promise<void> {
  const waking = new AbortController()
  const wake = () => waking.abort()
  signal.addEventListener('abort', wake)
  const leave = forced?.onChange(wake)
  await clock.wait(ms, waking.signal)
  leave?.()
  signal.removeEventListener('abort', wake)
}

/** Between 50 and 70 % of what is left of the life at `now`: a back-dated notBefore does not count. */
export const renewAt = (identity: Identity, now: Date, random: number): Date =>
  new Date(now.getTime() + (identity.notAfter.getTime() - now.getTime()) * (0.5 + 0.2 * random))

async function obtain(keeping: Keeping, held: Held | undefined): Promise<Identity | undefined> {
  const { clock, log, signal, uri } = keeping
  const warn = held ? warnerOf(held, keeping) : undefined
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const answer = await keeping.request(csrOf(keys))
      const identity = identityOf(answer, { uri: uri(), keys, now: clock.now() })
      keeping.use(identity)
      keeping.count?.('issued')
      return identity
    } catch (error) {
      keeping.count?.('failed')
      const retryMs = Math.round(
        Math.min(retryMsMax, retryMsMin * 2 ** Math.min(attempt, 16)) * (0.5 + clock.random() / 2),
      )
      const reason = error instanceof Error ? error.message : String(error)
      log.warn(
        { err: error, retryMs },
        `no certificate${held ? ' renewed, the old one stays in use' : ' yet'}: ${reason}`,
      )
      warn?.()
      await clock.wait(retryMs, signal)
    }
  }
  return undefined
}

/** The request names nobody: the token beside it does. */
function csrOf({ publicKey, privateKey }: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }): string {
  const tbs = buildCsrTbs(publicKey.export({ type: 'spki', format: 'der' }))
  return assembleCsr(tbs, 'ecdsa-sha256', sign('sha256', tbs, privateKey))
}

/** Warns once below each threshold of life left, and once when the certificate has ended. */
function warnerOf(held: Held, { clock, log }: Keeping): () => void {
  const life = held.notAfter.getTime() - held.since.getTime()
  const thresholds = [50, 25, 10, 0]
  return () => {
    const left = (100 * (held.notAfter.getTime() - clock.now().getTime())) / life
    const passed = thresholds.filter((threshold) => left <= threshold)
    if (passed.length === 0) return
    thresholds.splice(0, passed.length)
    const facts = { serial: held.serial, notAfter: held.notAfter, leftPercent: Math.max(0, Math.round(left)) }
    if (left <= 0) log.error(facts, 'the certificate has ended: other proxies refuse this one until the relay answers')
    else log.warn(facts, `less than ${passed.at(-1)} % of the certificate’s life is left and it could not be renewed`)
  }
}
