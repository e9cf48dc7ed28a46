import type { KeyObject } from 'node:crypto'
import type { Bus } from '#control/bus.ts'
import type { Caller } from '#control/caller.ts'
import { callerText, centreCaller } from '#control/caller.ts'
import type { SignerMeasures } from '#control/keys/measured-signer.ts'
import type { KeyRing } from '#control/keys/open-signer.ts'
import { newId } from '#control/new-id.ts'
import { appendAudit } from '#control/store/audit.ts'
import type { AuthorityRow } from '#control/store/authorities.ts'
import type { Database, Log, Tx } from '#control/store/database.ts'
import { appendOutbox } from '#control/store/outbox.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { MeshName } from '#mesh/model/id.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** A CA key of the centre with its certificate. */
export type Authority = {
  readonly id: string
  /** 1-based, among the authorities of its kind. */
  readonly number: number
  readonly certificate: Certificate
  readonly signer: Signer
  /** The certificates above it, where it is below a root of the user's own: that root last. */
  readonly chain: readonly Certificate[]
  /** PEM of what members accept for it: its own certificate, or the user's root. */
  readonly trusted: readonly string[]
}

/** The keys that the centre works with; see `openCentre`. Authorities come and go while it runs: ask each time. */
export type CentreKeys = {
  active(kind: AuthorityRow['kind']): Promise<Authority>
  signerOf(row: Pick<AuthorityRow, 'kind' | 'keyRef' | 'certificate'>): Promise<Signer>
  /** Signs access tokens. */
  readonly token: { readonly signer: Signer; readonly publicKey: KeyObject; readonly kid: string }
  /** Secrets that a repeated request has to get again are derived from this, never stored. */
  readonly secret: Uint8Array
  /** Where new keys are made. */
  readonly ring: KeyRing
}

/** What the flows tell about themselves; a door turns it into metrics. */
export type Measures = SignerMeasures & {
  /** Time from the change that asked for it until the config was published. */
  published(ms: number): void
  compiled(clusters: number): void
}

/** Everything that a flow needs beside its arguments. */
export type Centre = {
  readonly db: Database
  /** Tells the processes of one centre apart: one of them publishes at a time. */
  readonly instance: string
  readonly mesh: MeshName
  /** The URL that relays dial, without a trailing slash: audience of assertions, issuer of tokens. */
  readonly url: string
  /** Unix ms. */
  readonly now: () => number
  readonly random: (bytes: number) => Uint8Array
  readonly keys: CentreKeys
  /** Addresses and names of the centre itself: no relay is certified for one. */
  readonly reservedIps: readonly string[]
  readonly bus: Bus
  readonly log: Log
  readonly measures: Measures
}

/** One line of the audit log, in the transaction of what it tells. */
export async function audited(
  centre: Centre,
  tx: Tx,
  caller: Caller | typeof centreCaller,
  what: { readonly action: string; readonly object: string; readonly detail?: Json },
): Promise<void> {
  const at = centre.now()
  await appendAudit(tx, {
    mesh: centre.mesh,
    id: newId(at),
    at,
    caller: caller === centreCaller ? centreCaller : callerText(caller),
    action: what.action,
    object: what.object.slice(0, 300),
    detail: canonicalJson(what.detail ?? {}),
  })
}

/** Asks, in the transaction of a change, that configs be compiled anew. Wake the bus once it is committed. */
export async function askPublish(
  centre: Centre,
  tx: Tx,
  why: { readonly cause: string; readonly author: string },
): Promise<void> {
  const at = centre.now()
  const body = canonicalJson({ cause: why.cause.slice(0, 500), author: why.author.slice(0, 200) })
  await appendOutbox(tx, { mesh: centre.mesh, id: newId(at), kind: 'publish', body, at })
}
