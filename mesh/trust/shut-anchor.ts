import type { TrustDomain } from '#mesh/model/id.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import {
  childrenOf,
  type Der,
  decode,
  encode,
  isTag,
  itemsOf,
  octets,
  octetsOf,
  oid,
  oidOf,
  onlyOf,
  sequence,
  tagged,
  yes,
} from '#mesh/trust/der.ts'
import { buildGeneralName } from '#mesh/trust/general-name.ts'
import { oids } from '#mesh/trust/oid.ts'

/**
 * A foreign root as an anchor that can speak for its own trust domain and for nothing else: the same certificate with a
 * critical name constraint that permits URIs of that domain alone, whatever its owner signs below it. So a leaf with a
 * second URI, of one of our domains, is refused by every validator that follows RFC 5280. What constraints it has itself
 * stay, but for permitted URIs.
 *
 * Its signature fits no more, and is not looked at: of an anchor a validator takes the name, the key and the constraints
 * (RFC 5280 §6.1.1, RFC 5914), and that Envoy, OpenSSL and Go do so is tested. It is for validators alone: whoever is to be
 * shown or given the root gets the root. Throws `invalid` where it is no certificate of ours to read.
 */
export function shutAnchor(root: Certificate, trustDomain: TrustDomain): Uint8Array {
  const what = 'foreign root'
  const [tbs, ...signature] = itemsOf(decode(root.der, what), what)
  const fields = itemsOf(tbs, what)
  const list = fields.find((field) => isTag(field, 3))
  const extensions = list ? itemsOf(onlyOf(list, what), what) : []
  const isOurs = (extension: Der): boolean => oidOf(itemsOf(extension, what)[0], what) === oids.nameConstraints
  const before = extensions.find(isOurs)
  const constraints = shutInto(before && octetsOf(itemsOf(before, what).at(-1), what), trustDomain)
  const next = [...extensions.filter((one) => !isOurs(one)), constraints]
  const shut = [...fields.filter((field) => field !== list), tagged(3, [sequence(...next)])]
  return encode(sequence(sequence(...shut), ...signature))
}

function shutInto(before: Uint8Array | undefined, trustDomain: TrustDomain): Der {
  const what = 'nameConstraints'
  const parts = before ? itemsOf(decode(before, what), what) : []
  const subtreesOf = (tag: number): readonly Der[] => {
    const part = parts.find((one) => isTag(one, tag))
    return part ? childrenOf(part, what) : []
  }
  const permitted = subtreesOf(0).filter((subtree) => !isTag(itemsOf(subtree, what)[0], uriTag))
  const own = sequence(buildGeneralName({ kind: 'uri', text: trustDomain }))
  const excluded = subtreesOf(1)
  const all = [tagged(0, [own, ...permitted]), ...(excluded.length > 0 ? [tagged(1, [...excluded])] : [])]
  return sequence(oid(oids.nameConstraints), yes(), octets(encode(sequence(...all))))
}

/** Of a GeneralName (RFC 5280 §4.2.1.6). */
const uriTag = 6
