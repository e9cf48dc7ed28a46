import { join } from 'node:path'
import type { Certified, CertifiedKey } from '#gateway/identity/certified-key.ts'
import type { CertificateServiceParts, Given } from '#gateway/identity/csr.ts'
import { type IssuedLeaf, type LogHead, openIssuanceLog } from '#gateway/identity/issuance-log.ts'
import { type CurrentAuthority, leavesInUse } from '#gateway/identity/leaves.ts'
import type { Look } from '#gateway/identity/look.ts'
import { usedKeys } from '#gateway/identity/used-keys.ts'
import type { Refusals } from '#gateway/refusals.ts'
import { authorityOver, isBefore, madeAt, type Wanted, wholeSecond } from '#gateway/wanted-authority.ts'
import { signerOf } from '#mesh/trust/check-bundle.ts'
import type { TrustReport } from '#mesh/wire/trust-report.ts'

/** What this relay's own CA gave out: its log, which leaves are in use, and what proxies say of theirs. */
export type Issued = Required<Pick<CertificateServiceParts, 'checkKey' | 'onIssued'>> & {
  /** Hears a proxy; gives before when its leaf must have been issued to be renewed (Unix ms), 0 = it stays. */
  looked(look: Look): number
  /** By which control-plane CAs the proxy of a pod believes this relay; undefined while it never said. */
  controlPlaneOf(pod: string): string | undefined
  leaves(exists: (pod: string) => boolean): TrustReport['leaves']
  head(): LogHead
  close(): void
}

export type IssuedParts = {
  readonly stateDir: string
  readonly trustDomain: string
  readonly issuing: Pick<CertifiedKey, 'current'>
  readonly wanted: () => Wanted
  readonly clock: () => Date
  readonly warn: (text: string) => void
  readonly refusals: Pick<Refusals, 'told'>
  /** A proxy said something, or got a certificate. */
  readonly onNews: () => void
}

const podsMax = 20_000

export function openIssued(parts: IssuedParts): Issued {
  const { issuing, wanted, clock, onNews } = parts
  const now = () => clock().getTime()
  const log = openIssuanceLog({ path: join(parts.stateDir, 'issued.log'), warn: parts.warn })
  const leaves = leavesInUse(log.loaded, now)
  const keys = usedKeys(clock)
  for (const { keySha256, pod, holder, at } of log.loaded) keys.add(keySha256, pod || `id ${holder}`, at)
  const controlPlanes = new Map<string, string>()
  const rootOf = rootsOver(wanted)

  /** Leaves are held against the issuing CA as it is: until that is renewed, a new leaf would be no better. */
  const current = (): CurrentAuthority | undefined => {
    const certified = issuing.current()
    const root = certified && rootOf(certified)
    if (!certified || root === undefined) return undefined
    const { issuingBefore } = wanted()
    const isRenewed = issuingBefore !== undefined && !isBefore(certified.chain[0], issuingBefore)
    return { root, trustDomain: parts.trustDomain, ...(isRenewed ? { issuingBefore: wholeSecond(issuingBefore) } : {}) }
  }

  return {
    checkKey: keys.check,
    onIssued: (given) => {
      const leaf = leafOf(given)
      log.append(leaf)
      leaves.issued(leaf)
      keys.add(leaf.keySha256, given.asker, leaf.at)
      onNews()
    },
    looked: ({ pod, serial, controlPlaneDigest, refusals }) => {
      if (pod === '') return 0
      parts.refusals.told(pod, refusals)
      leaves.looked(pod, serial)
      controlPlanes.delete(pod)
      controlPlanes.set(pod, controlPlaneDigest)
      if (controlPlanes.size > podsMax)
        for (const oldest of controlPlanes.keys()) if (controlPlanes.delete(oldest)) break
      onNews()
      const authority = current()
      // By this relay's clock, which dated the leaf: no other clock comes into it.
      return authority && leaves.isOld(pod, serial, authority) ? now() + 1000 : 0
    },
    controlPlaneOf: (pod) => controlPlanes.get(pod),
    leaves: (exists) => {
      const authority = current()
      return authority ? leaves.old(exists, authority) : { old: 0, oldestNotAfter: 0 }
    },
    head: log.head,
    close: log.close,
  }

  function leafOf({ certificate, authority, keySha256, holder, pod }: Given): IssuedLeaf {
    return {
      ...{ at: now(), serial: Buffer.from(certificate.serial).toString('hex'), keySha256, pod },
      holder: `${holder.namespace}/${holder.serviceAccount}`,
      notAfter: certificate.notAfter.getTime(),
      root: rootOf(authority) ?? '',
      caMadeAt: madeAt(authority.chain[0]),
      trustDomain: parts.trustDomain,
    }
  }
}

/** The root over an issuing CA, looked for once. */
function rootsOver(wanted: () => Wanted): (certified: Certified) => string | undefined {
  const known = new WeakMap<Certified, string>()
  return (certified) => {
    const before = known.get(certified)
    if (before !== undefined) return before
    const root = authorityOver(certified, wanted().bundle)
    const name = root && signerOf(root)
    if (name !== undefined) known.set(certified, name)
    return name
  }
}
