import { join } from 'node:path'
import { z } from 'zod'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import type { Membership } from '#gateway/uplink/membership.ts'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import { authoritiesIn } from '#gateway/wanted-authority.ts'
import { hashOf, type Json } from '#mesh/model/canonical.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import { type BundleLink, digestOf, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import { type Certificate, certificatePem, parseCertificate } from '#mesh/trust/certificate.ts'
import { type BundleFault, checkBundle, type Pin, signerOf } from '#mesh/trust/check-bundle.ts'
import { bundleSchema, linkSchema, parseTrustStream } from '#mesh/wire/bundle.ts'

/** Why a delivered bundle is not in force. `Unreadable`: it could not even be checked. */
export type TrustFault = { readonly reason: BundleFault['fault'] | 'Unreadable'; readonly detail: string }

/** Whom the mesh trusts, as far as this relay verified it. */
export type TrustKeeper = {
  /** Takes the items of stream `trust/<mesh>`; gives whether the bundle in force is another one. A fault keeps the one before. */
  take(items: ReadonlyMap<string, Json>): boolean
  bundle(): TrustBundle | undefined
  /** Of the bundle in force; 0 and empty while there is none. */
  pin(): Pick<Pin, 'seq' | 'digest'>
  fault(): TrustFault | undefined
  /** With the fault `RolledBack`: what is in force here, signed by the centre itself. */
  proof(): { readonly bundle: TrustBundle; readonly link: BundleLink } | undefined
  /** The control-plane CAs to believe, PEM; empty where the relay does not know who it is. */
  controlPlane(): string
  /** The same, as SHA-256 of their DER. */
  pinned(): readonly string[]
  conditions(): readonly Condition[]
  /** When the authorities that are active end; Unix ms. */
  expiry(): { readonly root?: number; readonly 'control-plane'?: number }
  /** How often a bundle was refused since the start, by reason. */
  faultCounts(): Readonly<Partial<Record<TrustFault['reason'], number>>>
}

export type TrustKeeperParts = {
  readonly stateDir: string
  /** Undefined where it is lost: what was verified before stays in force, and nothing new is taken. */
  readonly membership: Pick<Membership, 'mesh' | 'clusterId' | 'controlPlaneCa' | 'time'> | undefined
  readonly log: { info(facts: object, text: string): void; warn(facts: object, text: string): void }
}

/** Read by proxies: `isthmus proxy --ca-file`. */
export const controlPlaneFile = (stateDir: string): string => join(stateDir, 'control-plane-ca.pem')

const keptSchema = z.object({
  version: z.literal(1),
  /** The membership that the chain began with. */
  anchor: z.string(),
  keys: z.array(z.string()).min(1).max(8),
  bundle: bundleSchema,
  link: linkSchema,
})
type Kept = z.infer<typeof keptSchema>
type Held = { readonly pin: Pin; readonly bundle: TrustBundle; readonly link: BundleLink }

/**
 * Opens what was kept before anyone is called: `trust.json` and the copy that is written before it, of which the later
 * one counts. A relay that lost both begins at the control-plane CA it joined with. `control-plane-ca.pem` is written at
 * once and with every change.
 */
export function openTrustKeeper({ stateDir, membership, log }: TrustKeeperParts): TrustKeeper {
  const path = join(stateDir, 'trust.json')
  const warn = (text: string) => log.warn({}, text)
  const anchor = membership && anchorOf(membership)
  let held = newest([path, `${path}.1`].map((place) => loadHeld(place, anchor, warn)))
  const joinedWith = membership ? [parseCertificate(membership.controlPlaneCa, 'control-plane CA')] : []
  let fault: TrustFault | undefined
  let shown: string | undefined
  const faultCounts: Partial<Record<TrustFault['reason'], number>> = {}
  showControlPlane()

  return {
    take: (items) => {
      if (!membership || anchor === undefined) return false
      const after = judged(items, membership.mesh)
      if (after === undefined) return false
      if ('reason' in after) {
        if (fault?.reason !== after.reason || fault.detail !== after.detail)
          log.warn({ ...after }, 'the trust bundle from the centre is refused; the one before stays in force')
        faultCounts[after.reason] = (faultCounts[after.reason] ?? 0) + 1
        fault = after
        return false
      }
      fault = undefined
      if (after.pin.seq === pinNow().seq) return false
      held = after
      save(path, { ...after, anchor }, warn)
      showControlPlane()
      log.info({ seq: after.pin.seq, digest: after.pin.digest }, 'another trust bundle is in force')
      return true
    },
    bundle: () => held?.bundle,
    pin: () => ({ seq: pinNow().seq, digest: pinNow().digest }),
    fault: () => fault,
    proof: () => (held && fault?.reason === 'RolledBack' ? { bundle: held.bundle, link: held.link } : undefined),
    controlPlane,
    pinned: () => pinNow().keys.map(signerOf),
    expiry: () => {
      const [root, controlPlaneEnd] = [endOf(held?.bundle.roots), endOf(held?.bundle.controlPlane)]
      return {
        ...(root === undefined ? {} : { root }),
        ...(controlPlaneEnd === undefined ? {} : { 'control-plane': controlPlaneEnd }),
      }
    },
    faultCounts: () => ({ ...faultCounts }),
    conditions: () =>
      fault
        ? [{ type: 'BundleRefused', reason: fault.reason, message: fault.detail, object: `mesh ${membership?.mesh}` }]
        : [],
  }

  function pinNow(): Pin {
    return held?.pin ?? { seq: 0, digest: '', keys: joinedWith }
  }

  function controlPlane(): string {
    return pinNow().keys.map(certificatePem).join('')
  }

  /** Undefined where the centre is an older one, which names no bundle. */
  function judged(items: ReadonlyMap<string, Json>, mesh: string): Held | TrustFault | undefined {
    try {
      const { bundle, links } = parseTrustStream(items)
      if (!bundle) return undefined
      if (bundle.mesh !== mesh) return { reason: 'Misfit', detail: `it is of mesh "${bundle.mesh}", not ${mesh}` }
      const checked = checkBundle(pinNow(), { bundle, links })
      if ('fault' in checked) return { reason: checked.fault, detail: checked.detail }
      const link = links.find(({ seq }) => seq === bundle.seq) ?? held?.link
      return link && { pin: checked.pin, bundle, link }
    } catch (error) {
      return { reason: 'Unreadable', detail: (error as Error).message }
    }
  }

  function showControlPlane(): void {
    const pem = controlPlane()
    if (pem === '' || pem === shown) return
    try {
      replaceFile(controlPlaneFile(stateDir), pem, 0o644)
      shown = pem
    } catch (error) {
      warn(`${controlPlaneFile(stateDir)} could not be written: ${(error as Error).message}`)
    }
  }
}

/** The first end among those that are active. */
function endOf(roots: TrustBundle['roots'] | undefined): number | undefined {
  const active = authoritiesIn(roots?.filter(({ state }) => state === 'active') ?? [])
  return active.length === 0 ? undefined : Math.min(...active.map(({ notAfter }) => notAfter.getTime()))
}

/** A cluster that joined anew begins a chain of its own: its new token vouches for the centre as it is then. */
const anchorOf = ({ mesh, clusterId, controlPlaneCa, time }: NonNullable<TrustKeeperParts['membership']>): string =>
  hashOf({ mesh, clusterId, controlPlaneCa, time })

const newest = (all: readonly (Held | undefined)[]): Held | undefined =>
  all.reduce((best, one) => (one && one.pin.seq > (best?.pin.seq ?? 0) ? one : best), undefined)

function loadHeld(place: string, anchor: string | undefined, warn: (text: string) => void): Held | undefined {
  return loadKept(place, (body) => heldOf(keptSchema.parse(body), anchor), warn)
}

function heldOf({ anchor, keys, bundle, link }: Kept, wanted: string | undefined): Held | undefined {
  if (wanted !== undefined && anchor !== wanted) return undefined
  const certificates: Certificate[] = keys.map((pem, i) => parseCertificate(pem, `keys[${i}]`))
  return { pin: { seq: bundle.seq, digest: digestOf(bundle), keys: certificates }, bundle, link }
}

/** The copy first: at every moment one of the two is whole, and no older than what was said to be in force. */
function save(path: string, { pin, bundle, link, anchor }: Held & { anchor: string }, warn: (text: string) => void) {
  const keys = pin.keys.map(certificatePem)
  for (const place of [`${path}.1`, path]) saveKept(place, { version: 1, anchor, keys, bundle, link }, warn)
}
