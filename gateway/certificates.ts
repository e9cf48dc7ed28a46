import { copyFileSync, existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { Certified, CertifiedKey } from '#gateway/identity/certified-key.ts'
import { openIssuingKey, openServingKey, planRenewal, renewIfDue } from '#gateway/identity/issuing-key.ts'
import { copyOf, type Vault } from '#gateway/identity/vault.ts'
import { setAside } from '#gateway/set-aside.ts'
import { issuingFault, servingFault, type Wanted } from '#gateway/wanted-authority.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Home } from '#mesh/model/view.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { issuingCaNames, relayServingNames } from '#mesh/trust/names.ts'
import type { SignAnswer, SignRequest } from '#mesh/wire/join.ts'

/** Both certificates of a relay: the cluster's issuing CA and the relay's own serving certificate. */
export type Certificates = {
  /** Without a current one where that is of another trust domain. */
  readonly issuing: CertifiedKey
  readonly serving: Pick<CertifiedKey, 'current'>
  /** What the relay listens with; undefined until both are there and neither has ended. */
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
  /** When this cluster became a member, by the centre's clock. */
  readonly since?: Date
  readonly clock: () => Date
  /** Authorities that both are to stand under: what stands under others is due at once. */
  readonly wanted?: () => Wanted
  readonly warn: (text: string) => void
  /** Where replicas share the issuing key: where it is kept beside the file, and whether this one has it certified. */
  readonly sharing?: { readonly keptIn: (file: Vault) => Vault; readonly leads: () => boolean } | undefined
}

/**
 * Opens both keys. A file that is damaged is set aside: its copy takes its place, or a new key is made and certified.
 * Throws `conflict` for a key that others may have read: that is for a person to judge.
 *
 * What is older than the membership, or does not name this cluster's trust domain and the addresses in the settings, is
 * due at once; an issuing CA of another trust domain (the cluster left the mesh and came back) is not used at all.
 */
export async function openCertificates(parts: CertificateParts): Promise<Certificates> {
  const { stateDir, home, ips, clock, warn, wanted = () => ({}) } = parts
  // Certificates tell whole seconds.
  const since = parts.since && new Date(Math.floor(parts.since.getTime() / 1000) * 1000)
  const { sharing } = parts
  const issuing = await opened(join(stateDir, 'issuing.key'), () => openIssuingKey(stateDir, sharing?.keptIn), warn)
  const serving = await opened(join(stateDir, 'serving.key'), () => openServingKey(stateDir), warn)
  const names = issuingCaNames(home.mesh, home.trustDomain)
  const own = (): Certified | undefined => {
    const current = issuing.current()
    return current?.chain[0].names.some((name) => name.kind === 'uri' && name.text === names.uri) ? current : undefined
  }
  const inTime = (current: Certified | undefined): Certified | undefined =>
    current && planRenewal(current, clock()).standing !== 'ended' ? current : undefined
  const forced = { issuing: oncePer(clock), serving: oncePer(clock) }
  return {
    issuing: { ...issuing, current: own },
    serving,
    listener: () => {
      const shown = inTime(serving.current())
      const authority = inTime(own())
      if (!shown || !authority) return undefined
      return {
        cert: shown.chain.map(certificatePem).join(''),
        key: shown.keyPem,
        clientCas: clientCasOf(authority, wanted()),
      }
    },
    renew: async (sign) => {
      const before = [issuing.current(), serving.current()]
      // Each by itself: a refusal of the one must not let the other run out.
      const results = await Promise.allSettled([
        renewIssuing(sign),
        renewIfDue({
          key: serving,
          names: relayServingNames(home.trustDomain, { asIstiod: false, ips }),
          ...{ clock, since },
          fault: (current) => forced.serving(current, servingFault(current, wanted())),
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

  async function renewIssuing(sign: (request: SignRequest) => Promise<SignAnswer>): Promise<void> {
    if (sharing) await issuing.reload()
    if (sharing && !sharing.leads()) {
      if (!own()) throw new Problem('unavailable', 'the replica that reports has no issuing CA certified yet')
      return
    }
    await renewIfDue({
      ...{ key: issuing, names, clock, since },
      fault: (current) => forced.issuing(current, issuingFault(current, wanted())),
      certify: (csr) => sign({ kind: 'issuing', csr }),
    })
  }
}

/** Whoever shows a leaf of this mesh is known at the port: those of the root before, and of the one to come. */
function clientCasOf({ roots }: Certified, { bundle }: Wanted): string {
  const all = [...roots.map(certificatePem), ...(bundle?.roots.map(({ pem }) => withEnd(pem)) ?? [])]
  return [...new Set(all)].join('')
}

const withEnd = (pem: string): string => (pem.endsWith('\n') ? pem : `${pem}\n`)

const forcedMs = 5 * 60_000

/**
 * Lets a fault through once for each certificate: where the next one has the same fault, the centre certifies as before,
 * and is not asked again before some minutes have passed.
 */
function oncePer(clock: () => Date): (current: Certified, fault: string | undefined) => string | undefined {
  let last: { readonly made: Certified; readonly fault: string; readonly at: number } | undefined
  return (current, fault) => {
    if (fault === undefined) return undefined
    const now = clock().getTime()
    if (last && last.fault === fault && last.made !== current && now - last.at < forcedMs) return undefined
    last = { made: current, fault, at: now }
    return fault
  }
}

async function opened(
  path: string,
  open: () => Promise<CertifiedKey>,
  warn: (text: string) => void,
): Promise<CertifiedKey> {
  const copy = copyOf(path)
  try {
    const key = await open()
    if (existsSync(path) && !existsSync(copy)) keepCopy(path, copy)
    return key
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'conflict' || error.extra['exposed'] === true) throw error
    const aside = setAside(path)
    const hasCopy = existsSync(copy)
    warn(`${error.message}; ${aside}, and ${hasCopy ? `${copy} takes its place` : 'a new one is made'}`)
    if (!hasCopy) return open()
    renameSync(copy, path)
    return opened(path, open, warn)
  }
}

function keepCopy(path: string, copy: string): void {
  try {
    copyFileSync(path, copy)
  } catch {
    // A disk that takes nothing: there is one with the next certificate.
  }
}
