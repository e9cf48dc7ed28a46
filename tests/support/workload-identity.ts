import type { ConnectionOptions } from 'node:tls'
import { requestCertificate } from '#gateway/proxy/request-certificate.ts'
import { csrOf, keyInHand } from '#tests/support/authorities.ts'

/** What a TLS client shows to be a workload. */
export type WorkloadIdentity = Required<Pick<ConnectionOptions, 'key'>> & { readonly cert: string }

/** Which relay is asked, whom to believe that it is the one, and the token to show. */
export type RelayCaller = Parameters<typeof requestCertificate>[0]

/** A certificate as `isthmus proxy` gets it: the real call to a real relay, by a projected token. */
export async function workloadIdentity(from: RelayCaller): Promise<WorkloadIdentity> {
  const key = keyInHand()
  const chain = await requestCertificate(from, await csrOf(key))
  return { key: key.keyPem, cert: chain.slice(0, 2).join('') }
}
