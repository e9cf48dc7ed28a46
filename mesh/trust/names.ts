import type { MeshName, TrustDomain } from '#mesh/model/id.ts'
import { formatSpiffeId, type SpiffeId, spiffeId } from '#mesh/trust/spiffe-id.ts'

/** The names of one certificate. What is absent must be absent from the certificate too. */
export type CertificateNames = {
  readonly subject?: { readonly organization: string; readonly commonName: string }
  readonly uri?: string
  readonly dns?: readonly string[]
  readonly ips?: readonly string[]
}

/**
 * `number` tells a mesh's roots apart (1-based). Validators that pick an issuer by name alone would otherwise try the
 * wrong one of two roots during a rotation.
 */
export const rootNames = (mesh: MeshName, number: number): CertificateNames => ({
  subject: { organization: mesh, commonName: `root ${number} of ${mesh}` },
})

export const controlPlaneCaNames = (mesh: MeshName, number: number): CertificateNames => ({
  subject: { organization: mesh, commonName: `control plane ${number} of ${mesh}` },
})

export const issuingCaNames = (mesh: MeshName, trustDomain: TrustDomain): CertificateNames => ({
  subject: { organization: mesh, commonName: trustDomain },
  uri: `spiffe://${trustDomain}`,
})

/** Of the CA that an istiod is given: told apart from the cluster's own, which vouches for the same trust domain. */
export const istiodCaNames = (mesh: MeshName, trustDomain: TrustDomain): CertificateNames => ({
  subject: { organization: mesh, commonName: `istiod of ${trustDomain}` },
  uri: `spiffe://${trustDomain}`,
})

/** Workload, gateway and relay-client: the id and nothing else. */
export const identityNames = (id: SpiffeId): CertificateNames => ({ uri: formatSpiffeId(id) })

/** The id of a cluster's relay, in its serving certificate and in the leaf it probes gateways with. */
export const relayId = (trustDomain: TrustDomain): SpiffeId => spiffeId(trustDomain, 'isthmus-system', 'relay')

const relayHost = 'relay.isthmus-system.svc'
export const istiodHost = 'istiod.istio-system.svc'
/** The DNS names that a relay may ask to be certified for. */
export const relayHosts: readonly string[] = [relayHost, istiodHost]

/**
 * A relay's serving certificate. The id is there so that a proxy can demand the relay of its own cluster: every relay
 * of a mesh answers to the same DNS name. `asIstiod`: it also stands where Istio's agents look for istiod.
 */
export const relayServingNames = (
  trustDomain: TrustDomain,
  { asIstiod, ips }: { readonly asIstiod: boolean; readonly ips: readonly string[] },
): CertificateNames => ({
  uri: formatSpiffeId(relayId(trustDomain)),
  dns: [relayHost, ...(asIstiod ? [istiodHost] : [])],
  ips,
})

export const centreServingNames = (dns: readonly string[], ips: readonly string[]): CertificateNames => ({ dns, ips })
