import { labelFault, type TrustDomain } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/** A workload's name: `spiffe://<trustDomain>/ns/<namespace>/sa/<serviceAccount>`, as Istio writes it. */
export type SpiffeId = {
  readonly trustDomain: TrustDomain
  readonly namespace: string
  readonly serviceAccount: string
}

/**
 * Why `text` cannot be a trust domain; undefined where it can. Labels of a-z, 0-9 and inner hyphens, at most 63 each and
 * 255 in all, the last one not all digits: Envoy (1.40) or Go refuses every leaf of a constrained CA outside this set,
 * and compares bytes, so capitals are refused and never folded. Source: SPIFFE ID §2.1, and measured.
 */
export function trustDomainFault(text: string): string | undefined {
  if (text.length > 255) return `has ${text.length} characters; at most 255`
  const labels = text.split('.')
  const fault = labels.map((label) => labelFault(label)).find((found) => found !== undefined)
  if (fault) return `has a label that ${fault}`
  if (/^[0-9]+$/.test(labels.at(-1) ?? '')) return 'ends in a label of digits only'
  return undefined
}

export function parseTrustDomain(text: string): TrustDomain {
  const fault = trustDomainFault(text)
  if (fault) throw invalid(`trust domain "${clip(text)}" ${fault}`, fault)
  return text as TrustDomain
}

/** Kubernetes: a namespace is one label; a service account is labels joined by dots, at most 253 characters. */
const isAccount = (text: string): boolean =>
  text.length <= 253 && text.split('.').every((label) => labelFault(label) === undefined)

/**
 * Reads `spiffe://<td>/ns/<ns>/sa/<sa>`. Bytes are compared, nothing is normalised: no capitals, no percent-encoding, no
 * user, port, query, fragment or trailing slash. Throws `invalid` for everything else.
 */
export function parseSpiffeId(text: string): SpiffeId {
  const [, domain, namespace, serviceAccount] = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(text) ?? []
  if (text.length > 2048 || domain === undefined || namespace === undefined || serviceAccount === undefined) {
    throw invalid(`"${clip(text)}" is not spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, 'form')
  }
  return spiffeId(domain, namespace, serviceAccount)
}

/** The id of a service account; throws `invalid` where a part is not a Kubernetes name. */
export function spiffeId(trustDomain: string, namespace: string, serviceAccount: string): SpiffeId {
  const fault = labelFault(namespace)
  if (fault) throw invalid(`namespace "${clip(namespace)}" ${fault}`, fault)
  if (!isAccount(serviceAccount)) {
    throw invalid(`service account "${clip(serviceAccount)}" is not a Kubernetes name`, 'service account')
  }
  return { trustDomain: parseTrustDomain(trustDomain), namespace, serviceAccount }
}

export const formatSpiffeId = (id: SpiffeId): string =>
  `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`

const clip = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text)
const invalid = (detail: string, reason: string): Problem =>
  new Problem('invalid', detail, { violations: [{ path: 'spiffeId', reason }] })
