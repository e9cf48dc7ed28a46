import type { BundleLink, TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'

/** What a relay believes of its mesh's bundles: `seq` 0 and the control-plane CA it joined under before it heard of any. */
export type Pin = { readonly seq: number; readonly digest: string; readonly keys: readonly Certificate[] }

export type BundleFault = {
  readonly fault: 'RolledBack' | 'Forked' | 'BadSignature' | 'BrokenChain' | 'Misfit'
  readonly detail: string
}

/** The pin that `said` leads to, or why it is not believed. */
export function checkBundle(
  _pin: Pin,
  _said: { readonly bundle: TrustBundle; readonly links: readonly BundleLink[] },
): { readonly pin: Pin } | BundleFault {
  return { fault: 'BrokenChain', detail: 'bundles cannot be verified yet' }
}
