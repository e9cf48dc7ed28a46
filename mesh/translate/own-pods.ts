import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { MutualTlsMode } from '#mesh/model/pod.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import { compareText, isAddress } from '#mesh/translate/encode.ts'
import type { Memo } from '#mesh/translate/memo.ts'
import { mutualTlsModeOf } from '#mesh/translate/peer-authentication.ts'

/** One pod of the own cluster behind one service port. */
export type OwnPod = {
  readonly endpoint: Endpoint
  /** The port on the pod. */
  readonly port: number
  /** True where it takes mutual TLS: only then is it reached through a gateway, and called with a certificate. */
  readonly meshed: boolean
}

/** The pods behind one port of an own service, ready or not, in the order of their addresses. */
export function ownPodsOf(view: View, key: ServiceKey, port: ServicePort): readonly OwnPod[] {
  const endpoints = view.own.endpoints.get(key) ?? []
  return endpoints
    .flatMap((endpoint) => {
      const number = endpoint.ports[port.name]
      if (number === undefined || !isAddress(endpoint.address)) return []
      const meshed = endpoint.meshed && modeOf(view, endpoint, number) !== 'DISABLE'
      return [{ endpoint, port: number, meshed }]
    })
    .toSorted((a, b) => compareText(a.endpoint.address, b.endpoint.address) || a.port - b.port)
}

/** The endpoints of the own headless Services: the same list as long as they are the same. */
export function headlessPods({ own }: View, memo: Memo): readonly (readonly Endpoint[] | undefined)[] {
  const headless = memo.list('headless', [own.services], () => [...own.services.values()].filter((s) => s.headless))
  return memo.list('headless pods', [headless, own.endpoints], () => headless.map(({ key }) => own.endpoints.get(key)))
}

/** What `ownPodsOf` reads beside the service itself: to be among the inputs of whatever is kept of it. */
export function ownPodInputs(view: View, key: ServiceKey): readonly unknown[] {
  const policies = view.own.peerAuthentications
  const disables = policies.some((p) => p.mode === 'DISABLE' || Object.values(p.ports).includes('DISABLE'))
  return [view.own.endpoints.get(key), disables ? policies : undefined, disables ? view.own.pods : undefined]
}

function modeOf(view: View, endpoint: Endpoint, port: number): MutualTlsMode {
  const pod = view.own.pods.get(endpoint.pod)
  const namespace = pod?.namespace ?? endpoint.pod.split('/')[0] ?? ''
  return mutualTlsModeOf(view.own.peerAuthentications, { namespace, labels: pod?.labels ?? {} }, port)
}

/** The service accounts of a service's own pods, ready or not, sorted: who may answer for it here. */
export const accountsOf = (view: View, key: ServiceKey): readonly string[] =>
  [...new Set((view.own.endpoints.get(key) ?? []).map((e) => e.serviceAccount).filter(Boolean))].sort()
