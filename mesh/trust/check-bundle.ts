import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type BundleLink, digestOf, signedText, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import { type Certificate, parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import type { SignatureAlgorithm } from '#mesh/trust/oid.ts'
import { isSignedBy } from '#mesh/trust/public-key.ts'

/**
 * What a relay believes of the past: the last bundle that it verified, and the control-plane CAs in force after it. One
 * that has seen none yet: `seq` 0, `digest` empty, `keys` those that it joined with.
 */
export type Pin = { readonly seq: number; readonly digest: string; readonly keys: readonly Certificate[] }

export type BundleFault = {
  readonly fault: 'RolledBack' | 'Forked' | 'BadSignature' | 'BrokenChain' | 'Misfit'
  readonly detail: string
}

/** How many links back the chain has no gap. Before that, only those stay that change the control-plane CAs. */
export const linksKept = 64
const linksMax = 4 * linksKept

/** The links that a centre keeps of a history: the newest 64, and all that change the control-plane CAs. In order. */
export function keptLinks(links: readonly BundleLink[]): readonly BundleLink[] {
  const inOrder = links.toSorted((a, b) => a.seq - b.seq)
  const newest = inOrder.at(-1)?.seq ?? 0
  return inOrder.filter(({ seq, controlPlane }) => seq > newest - linksKept || controlPlane !== undefined)
}

/** The name of a control-plane CA in a link: SHA-256 (hex) over its DER. */
export const signerOf = (certificate: Pick<Certificate, 'der'>): string => sha256Hex(certificate.der)

/**
 * Whether a relay that stands at `pin` may take `bundle`; where it may, the pin from then on. Never throws.
 *
 * The links lead from the pin to the bundle: each names the digest before it and is signed by a control-plane CA in force
 * before it; `controlPlane` says which are in force after it. So whoever can write the centre's store, or swaps what is
 * delivered, but has no such key, can neither make a bundle nor bring an older one back. A pin older than the kept links
 * goes over those that change the CAs: what lies between them is gone, and changed nobody's right to sign. A relay that
 * has only just joined begins at the oldest link that was signed by a CA it joined with.
 */
export function checkBundle(
  pin: Pin,
  { bundle, links }: { readonly bundle: TrustBundle; readonly links: readonly BundleLink[] },
): { readonly pin: Pin } | BundleFault {
  try {
    const digest = digestOf(bundle)
    const stale = staleFault(pin, bundle, digest)
    if (stale) return stale
    if (bundle.seq === pin.seq) return { pin }
    const news = links.filter(({ seq }) => seq > pin.seq).toSorted((a, b) => a.seq - b.seq)
    const misfit = misfitOf(bundle, digest, { links, news })
    if (misfit) return misfit
    const begin = pin.seq === 0 ? news.findIndex((link) => pin.keys.some((key) => signerOf(key) === link.signer)) : 0
    const walk = begin < 0 ? [] : news.slice(begin)
    const gap = gapBefore(news, Math.max(pin.seq, bundle.seq - linksKept))
    if (gap !== undefined) return broken(`link ${gap} of the chain to bundle ${bundle.seq} is missing`)
    if (walk.length === 0) return broken('no link was signed by a control-plane CA that this relay joined with')
    const after = follow(pin, bundle, walk)
    if ('fault' in after) return after
    const said = bundle.controlPlane.map(({ pem }, i) => parseCertificate(pem, `controlPlane[${i}]`))
    for (const [i, { pem }] of bundle.roots.entries()) parseCertificates(pem, `roots[${i}]`)
    if (after.listed && !sameSet(after.keys, said))
      return unfit('its control-plane CAs are not those that its links lead to')
    return { pin: { seq: bundle.seq, digest, keys: said } }
  } catch (cause) {
    return unfit(cause instanceof Problem ? cause.message : 'it cannot be read')
  }
}

function staleFault(pin: Pin, { seq }: TrustBundle, digest: string): BundleFault | undefined {
  if (seq < pin.seq)
    return {
      fault: 'RolledBack',
      detail:
        `the centre delivers trust bundle ${seq}, and ${pin.seq} is in force here: its store is older than what it once ` +
        'said. What is in force stays; the centre takes up the newer one from this relay, or restore a newer backup',
    }
  if (seq === pin.seq && digest !== pin.digest)
    return forked(`trust bundle ${seq} says something else (${digest}) than when it was taken (${pin.digest})`)
  return undefined
}

/** Everything about the links that no signature is needed for. */
function misfitOf(
  bundle: TrustBundle,
  digest: string,
  { links, news }: { readonly links: readonly BundleLink[]; readonly news: readonly BundleLink[] },
): BundleFault | undefined {
  if (links.length > linksMax) return unfit(`it comes with ${links.length} links; at most ${linksMax}`)
  const twice = news.find((link, i) => news[i + 1]?.seq === link.seq)
  if (twice) return unfit(`link ${twice.seq} is there twice`)
  const last = news.at(-1)
  if (last?.seq !== bundle.seq) return unfit(`its last link is ${last?.seq ?? 'missing'}, not ${bundle.seq}`)
  if (last.digest !== digest) return unfit('its digest is not the one that its link names')
  return last.at === bundle.at ? undefined : unfit('it was made at another time than its link says')
}

/** The first number after `from` that no link has. */
function gapBefore(links: readonly BundleLink[], from: number): number | undefined {
  const recent = links.filter(({ seq }) => seq > from)
  const at = recent.findIndex(({ seq }, i) => seq !== from + 1 + i)
  return at < 0 ? undefined : from + 1 + at
}

/** The keys after the last link; `listed` unless no link on the way said which they are. */
function follow(
  pin: Pin,
  { mesh }: TrustBundle,
  walk: readonly BundleLink[],
): { readonly keys: readonly Certificate[]; readonly listed: boolean } | BundleFault {
  let { keys, seq, digest } = pin
  let listed = pin.seq > 0
  for (const link of walk) {
    const isNext = link.seq === seq + 1
    if (isNext && link.prev !== digest)
      return seq === pin.seq
        ? forked(`link ${link.seq} follows another bundle ${seq} than the one in force here`)
        : broken(`link ${link.seq} does not follow link ${seq}`)
    const by = keys.find((key) => signerOf(key) === link.signer)
    if (!by) return badSignature(`link ${link.seq} was signed by no control-plane CA that was in force before it`)
    if (!isSigned(signedText(mesh, link), link.signature, by))
      return badSignature(`the signature of link ${link.seq} was not made by its signer`)
    if (link.controlPlane) {
      keys = link.controlPlane.map((pem, i) => parseCertificate(pem, `link ${link.seq} controlPlane[${i}]`))
      listed = true
    }
    seq = link.seq
    digest = link.digest
  }
  return { keys, listed }
}

function isSigned(text: string, signature: string, { publicKey }: Certificate): boolean {
  const bytes = Buffer.from(signature, 'base64')
  const algorithm: SignatureAlgorithm = publicKey.kind === 'P-384' ? 'ecdsa-sha384' : 'ecdsa-sha256'
  const signed = { data: Buffer.from(text), signature: bytes }
  return bytes.toString('base64') === signature && isSignedBy(publicKey.key, algorithm, signed)
}

function sameSet(a: readonly Certificate[], b: readonly Certificate[]): boolean {
  const names = (list: readonly Certificate[]): string => list.map(signerOf).toSorted().join()
  return names(a) === names(b)
}

const forked = (reason: string): BundleFault => ({
  fault: 'Forked',
  detail: `${reason}: two centres, or two copies of one store, sign for this mesh; what is in force stays. Stop one of them`,
})
const broken = (reason: string): BundleFault => ({
  fault: 'BrokenChain',
  detail: `the chain of trust bundles is broken: ${reason}; what is in force stays. Let the cluster join anew if it lasts`,
})
const badSignature = (reason: string): BundleFault => ({
  fault: 'BadSignature',
  detail: `${reason}: somebody other than the centre made it, or changed it on its way; what is in force stays`,
})
const unfit = (reason: string): BundleFault => ({
  fault: 'Misfit',
  detail: `the delivered trust bundle does not fit its links: ${reason}; what is in force stays`,
})
