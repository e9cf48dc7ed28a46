import type { Self } from '#gateway/self.ts'
import { type Membership, saveMembership } from '#gateway/uplink/membership.ts'
import type { TrustFacts } from '#mesh/model/cluster-config.ts'

/** A trust domain that a cluster is given while it is a member: the one before was revoked. */
export type Generation = { readonly trustDomain: string; readonly generation: number }

/** The cluster's next trust domain, as its config says; undefined where it is the one that the relay serves. */
export function laterGeneration(self: Self, trust: TrustFacts | undefined): Generation | undefined {
  if (!('membership' in self) || trust?.generation === undefined) return undefined
  const { trustDomain, generation } = trust
  if (generation <= self.membership.generation || trustDomain === self.membership.trustDomain) return undefined
  return { trustDomain, generation }
}

/**
 * Writes down who the relay is from now on; everything that depends on it is then to be opened anew. Killed before it is
 * through, the relay starts as who it was, and finds the same in its config. Throws `unavailable` where nothing can be written.
 */
export const adoptGeneration = (stateDir: string, membership: Membership, next: Generation): void =>
  saveMembership(stateDir, { ...membership, ...next })
