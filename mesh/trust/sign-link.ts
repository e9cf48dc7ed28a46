import { type BundleLink, digestOf, signedText, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import { signerOf } from '#mesh/trust/check-bundle.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** A control-plane CA and its key. */
export type LinkSigner = { readonly certificate: Certificate; readonly signer: Pick<Signer, 'sign'> }

/**
 * The link from `before` (absent: none yet) to `after`, signed by the control-plane CA that was active before: whoever
 * takes over is named by the one it takes over from. Throws what the signer throws.
 */
export async function signLink(
  before: TrustBundle | undefined,
  after: TrustBundle,
  by: LinkSigner,
): Promise<BundleLink> {
  const list = after.controlPlane.map(({ pem }) => pem)
  const old = before?.controlPlane.map(({ pem }) => pem)
  const said = {
    seq: after.seq,
    prev: before ? digestOf(before) : '',
    digest: digestOf(after),
    at: after.at,
    signer: signerOf(by.certificate),
    ...(old?.join() === list.join() ? {} : { controlPlane: list }),
  }
  const signature = await by.signer.sign(Buffer.from(signedText(after.mesh, said)))
  return { ...said, signature: Buffer.from(signature).toString('base64') }
}
