import { join } from 'node:path'
import {
  type Certification,
  type Certified,
  type CertifiedKey,
  openCertifiedKey,
} from '#gateway/identity/certified-key.ts'
import { fileVault, type Vault } from '#gateway/identity/vault.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import { dueAt, type Standing, standingAt } from '#mesh/trust/due.ts'
import type { CertificateNames } from '#mesh/trust/names.ts'
import { backdateSeconds } from '#mesh/trust/profile.ts'

/** The cluster's issuing key, kept in `directory/issuing.key`, or as `keptIn` says of that file. */
export const openIssuingKey = (directory: string, keptIn = (file: Vault) => file): Promise<CertifiedKey> =>
  openCertifiedKey(keptIn(fileVault(join(directory, 'issuing.key'))), 'issuing-ca')

/** The key of the relay's own server certificate, kept in `directory/serving.key`. */
export const openServingKey = (directory: string): Promise<CertifiedKey> =>
  openCertifiedKey(fileVault(join(directory, 'serving.key')), 'relay-serving')

/** Whether a certificate is to be renewed, and from when on. No certificate yet: at once. */
export type RenewalPlan = { readonly due: boolean; readonly at: Date; readonly standing: Standing | 'none' }

/**
 * Due at half of the life, give or take a tenth of it. The moment is taken from the serial number, which is random: the
 * same after every restart, spread over a fleet, and nothing to store.
 */
export function planRenewal(certified: Certified | undefined, now: Date): RenewalPlan {
  if (!certified) return { due: true, at: now, standing: 'none' }
  const { notBefore, notAfter, serial } = certified.chain[0]
  const at = dueAt(notBefore, notAfter, (serial.at(-1) ?? 0) / 256)
  return { due: now >= at, at, standing: standingAt(notBefore, notAfter, now) }
}

export type Renewal = {
  readonly key: CertifiedKey
  readonly names: CertificateNames
  readonly clock: () => Date
  /** Has the centre certify a request (PEM). The only step that leaves this machine. */
  readonly certify: (csr: string) => Promise<Certification>
  /** When this cluster became a member: what was certified before that may be of another centre. */
  readonly since?: Date | undefined
  /** Why the one in use is to go before its time; undefined = it need not. */
  readonly fault?: (current: Certified) => string | undefined
}

/**
 * Has the next key certified and takes it into use, due or not. A failure changes nothing and may be tried again: the
 * same key is asked for, so a lost answer costs no second key.
 */
export async function renew({ key, names, clock, certify }: Renewal): Promise<Certified> {
  const answer = await certify(await key.request(names.uri ?? ''))
  return await key.accept(answer, { names, now: clock() })
}

/**
 * `renew`, if it is due or not what is wanted now: of another trust domain, for other addresses, of a former membership,
 * or by `fault`.
 */
export async function renewIfDue(renewal: Renewal): Promise<Certified> {
  const { key, names, clock, since, fault } = renewal
  const current = key.current()
  const now = clock()
  const fits = current && checkCertificate(current.chain[0], key.profile, { names, now }).length === 0
  const former = current && since && current.chain[0].notBefore.getTime() + backdateSeconds * 1000 < since.getTime()
  const stays = fits && !former && fault?.(current) === undefined && !planRenewal(current, now).due
  return stays ? current : await renew(renewal)
}
