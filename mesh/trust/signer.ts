import type { SignatureAlgorithm } from '#mesh/trust/oid.ts'

/** A key that signs and is never seen: a sealed file, a key service, or the cluster's own issuing key. */
export interface Signer {
  readonly algorithm: SignatureAlgorithm
  /** SubjectPublicKeyInfo, DER. Always the same bytes for one signer. */
  publicKeySpki(): Promise<Uint8Array>
  /** Signature over `tbs` as X.509 wants it (ECDSA: a DER sequence of r and s). The signer hashes. */
  sign(tbs: Uint8Array): Promise<Uint8Array>
}
