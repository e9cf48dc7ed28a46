import { canonicalJson, hashOf, type Json } from '#mesh/model/canonical.ts'
import type { ClusterName, MeshName, TrustDomain } from '#mesh/model/id.ts'

/** An authority that is trusted: announced only, in use, or on its way out. Others are in no bundle. */
export type BundleRoot = { readonly pem: string; readonly state: 'published' | 'active' | 'tainted' }

/** A trust domain nobody may speak for any more: of a revoked cluster, or an earlier generation of one. */
export type RevokedDomain = {
  readonly trustDomain: TrustDomain
  readonly cluster: ClusterName
  readonly cut: number
  /** Unix ms by the centre's clock. */
  readonly at: number
  /** Only its issuer was revoked: the cluster goes on under its next trust domain. Absent: the whole cluster was. */
  readonly issuer?: true
}

/** A workload's SPIFFE id that nobody admits any more. */
export type DeniedId = { readonly id: string; readonly cut: number }

/** A trust domain of another mesh, and the roots (PEM) that may speak for it and for nothing else. */
export type ForeignDomain = { readonly trustDomain: TrustDomain; readonly roots: readonly string[] }

/** A foreign trust domain that nobody takes any more, and the cut that ends what its workloads had open. */
export type Unfederated = Pick<RevokedDomain, 'trustDomain' | 'cut' | 'at'>

/**
 * Whom a mesh trusts, as one value: what one `BundleLink` signs. `seq` counts from 1, one step with each change. `cut` is
 * the number of a revocation in the mesh: the higher, the later.
 */
export type TrustBundle = {
  readonly mesh: MeshName
  readonly seq: number
  /** Unix ms by the centre's clock. */
  readonly at: number
  readonly roots: readonly BundleRoot[]
  /** The CAs behind the serving certificates of the centre and of the relays. */
  readonly controlPlane: readonly BundleRoot[]
  readonly revoked: readonly RevokedDomain[]
  readonly denied: readonly DeniedId[]
  readonly foreign: readonly ForeignDomain[]
  /** Absent where there is none. */
  readonly unfederated?: readonly Unfederated[]
}

export const bundleLimits = {
  roots: 16,
  controlPlane: 8,
  revoked: 1000,
  denied: 1000,
  foreign: 64,
  unfederated: 1000,
  /** Roots of one foreign domain. */
  rootsEach: 16,
  /** Of its canonical JSON. */
  bytes: 262_144,
} as const

/** One step of the chain of bundles: what came before it, what came, and who says so. */
export type BundleLink = {
  readonly seq: number
  /** The digest of the bundle before; empty for the first. */
  readonly prev: string
  readonly digest: string
  /** Unix ms by the centre's clock. */
  readonly at: number
  /** SHA-256 (hex) of the DER of the control-plane CA that signed. */
  readonly signer: string
  /** Over `signedText`, base64. */
  readonly signature: string
  /** PEM of all control-plane CAs from here on; only where the list changed. */
  readonly controlPlane?: readonly string[]
}

/** SHA-256 (hex) over all that the bundle says, fields of a newer centre too. */
export const digestOf = (bundle: TrustBundle): string => hashOf(bundle as unknown as Json)

/** What the signature of a link covers: all of the link but itself, and the mesh, so that no other mesh's link fits. */
export function signedText(mesh: MeshName, link: Omit<BundleLink, 'signature'>): string {
  const { signature: _, ...said } = link as BundleLink
  return canonicalJson({ ...said, type: 'isthmus-bundle/1', mesh })
}
