import type { Acknowledged, NackReport } from '#gateway/relay/hub.ts'
import type { AdsLimits } from '#gateway/relay/limits.ts'
import { type AdsOptions, type AdsServer, serveAds } from '#gateway/relay/server.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { ResourceSet } from '#mesh/model/resource.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { parseSpiffeId } from '#mesh/trust/spiffe-id.ts'
import type { AdsMode } from '#tests/support/ads-client.ts'
import { type Holder, make } from '#tests/support/authorities.ts'
import type { FakeCluster } from '#tests/support/fake-relay.ts'

export type TestRelay = {
  readonly server: AdsServer
  readonly set: (next: ResourceSet | undefined) => void
  readonly nacks: readonly NackReport[]
  readonly samples: readonly Acknowledged[]
}

export const serving = (pki: FakeCluster, holder: Holder = pki.serving) => ({
  cert: holder.pem + pki.controlPlane.pem,
  key: holder.key.keyPem,
  clientCas: pki.root.pem,
})

/** The ADS server alone: everyone is served `set`; a token is the SPIFFE ID it stands for. */
export async function startAdsRelay(
  pki: FakeCluster,
  first: ResourceSet | undefined,
  limits: Partial<AdsLimits> = {},
  more: Partial<AdsOptions> = {},
): Promise<TestRelay> {
  let current = first
  const nacks: NackReport[] = []
  const samples: Acknowledged[] = []
  const server = await serveAds({
    listen: [{ host: '127.0.0.1', port: 0 }],
    serving: serving(pki),
    resourcesFor: () => () => current,
    authenticate: async ({ certificateUris, bearerToken }) => {
      const uri = bearerToken ?? (certificateUris.length === 1 ? certificateUris[0] : undefined)
      const match = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(uri ?? '')
      const [, trustDomain = '', namespace = '', serviceAccount = ''] = match ?? []
      if (!match) throw new Problem('unauthenticated', 'authentication failure')
      return { trustDomain, namespace, serviceAccount }
    },
    log: { info: () => undefined, warn: () => undefined },
    onNack: (report) => nacks.push(report),
    onAcknowledged: (sample) => samples.push(sample),
    limits,
    ...more,
  })
  const set = (next: ResourceSet | undefined) => {
    current = next
    server.changed()
  }
  return { server, set, nacks, samples }
}

export const workload = (pki: FakeCluster, namespace: string, account: string): Promise<Holder> =>
  make({
    profile: 'workload',
    names: identityNames(parseSpiffeId(`spiffe://a.mesh1/ns/${namespace}/sa/${account}`)),
    by: pki.issuing,
  })

/** The node of a pod in namespace `shop`. */
export const nodeFor = (pod: string, account = 'web') => ({
  id: `sidecar~10.0.0.1~${pod}.shop~shop.svc.cluster.local`,
  cluster: 'web.shop',
  metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: account },
})

export const dialOf = (pki: FakeCluster, server: AdsServer, mode: AdsMode, holder: Holder | undefined) => ({
  port: server.port,
  mode,
  relayRoots: pki.controlPlane.pem,
  ...(holder && { certificate: { chainPem: holder.pem + pki.issuing.pem, keyPem: holder.key.keyPem } }),
})
