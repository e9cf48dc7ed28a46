import { mayUse } from '#mesh/compile/consumers.ts'
import type { Market, Offer } from '#mesh/compile/offer.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'

/**
 * That an export is narrowed to some clusters of a trust domain and others of it are let in all the same: callers are told
 * apart by their trust domain, and one domain is one caller.
 */
export function unconfinedOf({ members, names }: Market, { member, export: { key }, consumers }: Offer): Condition[] {
  if (consumers === 'everybody') return []
  const others = names.filter((name) => name !== member.name)
  const isConsumer = (name: (typeof names)[number]): boolean => mayUse(name, member.name, consumers)
  const domainOf = (name: (typeof names)[number]) => members.get(name)?.trustDomain
  const admitted = new Set([member.trustDomain, ...others.filter(isConsumer).map(domainOf)])
  const shutOut = others.filter(
    (name) => members.get(name)?.shared && !isConsumer(name) && admitted.has(domainOf(name)),
  )
  const [first] = shutOut
  if (first === undefined) return []
  const listed = `${shutOut.slice(0, 5).join(', ')}${shutOut.length > 5 ? `, and ${shutOut.length - 5} more` : ''}`
  return [
    {
      type: 'Unconfined',
      reason: 'SharedTrustDomain',
      message:
        `it is not exported to ${listed}, whose workloads are let in all the same: they share the trust domain ` +
        `${domainOf(first)} with its own or with clusters that may call it. Only trust domains of their own keep them apart`,
      object: `service ${key}`,
    },
  ]
}
