import { renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Certified, CertifiedKey } from '#gateway/identity/certified-key.ts'
import { openIssuingKey, openServingKey, planRenewal, renewIfDue } from '#gateway/identity/issuing-key.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Home } from '#mesh/model/view.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { issuingCaNames, relayServingNames } from '#mesh/trust/names.ts'
import type { SignAnswer, SignRequest } from '#mesh/wire/join.ts'

/** Both certificates of a relay: the cluster's issuing CA and the relay's own serving certificate. */
export type Certificates = {
  readonly issuing: CertifiedKey
  readonly serving: CertifiedKey
  /** True when both are there and neither has ended. */
  ready(): boolean
  /** What the relay listens with; undefined until ready. */
  listener(): { readonly cert: string; readonly key: string; readonly clientCas: string } | undefined
  /** Renews what is due. Gives whether anything changed. Throws what the centre or the check said; nothing is lost then. */
  renew(sign: (request: SignRequest) => Promise<SignAnswer>): Promise<boolean>
  /** For status and metrics; Unix ms. */
  expiry(): { readonly issuing?: number; readonly serving?: number }
}

export type CertificateParts = {
  readonly stateDir: string
  readonly home: Home
  readonly ips: readonly string[]
  readonly clock: () => Date
  readonly warn: (text: string) => void
}

/**
 * Opens both keys. A file that is damaged is set aside, and a new key is made and certified in its place. Throws
 * `conflict` for a key that others may have read: that is for a person to judge.
 */
export async function openCertificates({ stateDir, home, ips, clock, warn }: CertificateParts): Promise<Certificates> {
  const issuing = await openedOrNew(join(stateDir, 'issuing.key'), () => openIssuingKey(stateDir), warn)
  const serving = await openedOrNew(join(stateDir, 'serving.key'), () => openServingKey(stateDir), warn)
  const usable = (key: CertifiedKey): Certified | undefined => {
    const current = key.current()
    return current && planRenewal(current, clock()).standing !== 'ended' ? current : undefined
  }
  return {
    issuing,
    serving,
    ready: () => usable(issuing) !== undefined && usable(serving) !== undefined,
    listener: () => {
      const own = usable(serving)
      const authority = usable(issuing)
      if (!own || !authority) return undefined
      return {
        cert: own.chain.map(certificatePem).join(''),
        key: own.keyPem,
        clientCas: authority.roots.map(certificatePem).join(''),
      }
    },
    renew: async (sign) => {
      const before = [issuing.current(), serving.current()]
      // Each by itself: a refusal of the one must not let the other run out.
      const results = await Promise.allSettled([
        renewIfDue({
          key: issuing,
          names: issuingCaNames(home.mesh, home.trustDomain),
          clock,
          certify: (csr) => sign({ kind: 'issuing', csr }),
        }),
        renewIfDue({
          key: serving,
          names: relayServingNames(home.trustDomain, { asIstiod: false, ips }),
          clock,
          certify: (csr) => sign({ kind: 'relay-serving', csr, ips: [...ips] }),
        }),
      ])
      const failed = results.find((one) => one.status === 'rejected')
      if (failed) throw failed.reason
      return before[0] !== issuing.current() || before[1] !== serving.current()
    },
    expiry: () => {
      const ends = (key: CertifiedKey) => key.current()?.chain[0].notAfter.getTime()
      const [one, two] = [ends(issuing), ends(serving)]
      return { ...(one === undefined ? {} : { issuing: one }), ...(two === undefined ? {} : { serving: two }) }
    },
  }
}

async function openedOrNew(
  path: string,
  open: () => Promise<CertifiedKey>,
  warn: (text: string) => void,
): Promise<CertifiedKey> {
  try {
    return await open()
  } catch (error) {
    const damaged = error instanceof Problem && error.kind === 'conflict' && (statSync(path).mode & 0o077) === 0
    if (!damaged) throw error
    renameSync(path, `${path}.damaged`)
    warn(`${error.message} It was set aside as ${path}.damaged, and a new one is made.`)
    return open()
  }
}
