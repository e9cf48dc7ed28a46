import { Problem } from '#mesh/model/problem.ts'
import { parseSpiffeId } from '#mesh/trust/spiffe-id.ts'

/** What the ADS server says of a caller's proof. */
type Peer = { readonly certificateUris: readonly string[]; readonly bearerToken: string | undefined }
type Identity = { readonly trustDomain: string; readonly namespace: string; readonly serviceAccount: string }
type VerifyToken = (token: string) => Promise<{ readonly namespace: string; readonly serviceAccount: string }>

/**
 * Who calls: by projected token where one is shown, else by the client certificate that TLS verified, which must be of
 * this cluster's own trust domain. Throws `unauthenticated`, one bland sentence with the reason as its cause.
 */
export function authenticator(trustDomain: string, verify: VerifyToken): (peer: Peer) => Promise<Identity> {
  const refuse = (cause: string) => new Problem('unauthenticated', 'authentication failure', { cause })
  return async ({ bearerToken, certificateUris }) => {
    if (bearerToken !== undefined) {
      const { namespace, serviceAccount } = await verify(bearerToken)
      return { trustDomain, namespace, serviceAccount }
    }
    const [uri, ...more] = certificateUris
    if (uri === undefined || more.length > 0) throw refuse('neither a token nor a client certificate with one URI')
    const id = parseSpiffeId(uri)
    if (id.trustDomain !== trustDomain) throw refuse(`the certificate is of ${id.trustDomain}`)
    return { trustDomain, namespace: id.namespace, serviceAccount: id.serviceAccount }
  }
}
