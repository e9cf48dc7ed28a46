import type { WrongAnswer } from '#gateway/health/health.ts'
import type { SeenRefusal } from '#gateway/refusals.ts'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import type { AdsClient } from '#gateway/relay/server.ts'
import type { TrafficStatus } from '#gateway/traffic-sight.ts'
import type { ViewKeeper } from '#gateway/view-keeper.ts'
import { answersIn } from '#mesh/foresee/answers.ts'
import { explain } from '#mesh/foresee/explain.ts'
import { hostKey } from '#mesh/foresee/meant-name.ts'
import type { AskedCall } from '#mesh/foresee/path.ts'
import type { HeldType, JudgedCluster, RelaySeen, Seen } from '#mesh/foresee/seen.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Explanation } from '#mesh/model/explanation.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { Counted } from '#mesh/model/load.ts'
import { parseProxy } from '#mesh/translate/node.ts'

export type ExplainParts = {
  readonly keeper: Pick<ViewKeeper, 'view' | 'facts' | 'said'>
  readonly traffic: { status(): TrafficStatus }
  readonly wrong: () => readonly WrongAnswer[]
  /** Of other clusters' gateways. */
  readonly conditions: () => readonly Condition[]
  readonly refusals: () => readonly SeenRefusal[]
  /** What was measured last. */
  readonly lastWindow: () => Pick<Counted, 'rows' | 'windowMs'> | undefined
  /** Unix ms. */
  readonly issuingEnds: () => number | undefined
  /** Undefined while nobody is served. */
  readonly clients: () => readonly AdsClient[] | undefined
  /** Unix ms. */
  readonly now: () => number
}

/** What is asked at the status address: the caller's cluster is the relay's own. */
export type AskedHere = Omit<AskedCall, 'caller'> & { readonly namespace: string; readonly pod: string }

/** The path of one call of a pod of this cluster, as this relay and the pod's proxy have it. */
export function explainCall(parts: ExplainParts, { namespace, pod, ...call }: AskedHere): Explanation {
  const { keeper, now } = parts
  const view = keeper.view()
  const { revision } = keeper.facts()
  const { frozen } = parts.traffic.status()
  const issuingEnds = parts.issuingEnds()
  const { cluster } = view.home
  const window = parts.lastWindow()
  const key = hostKey(call.host, namespace)
  const seen: Seen = {
    ...{ view, now: now(), said: keeper.said(), relay: seenHere(parts, namespace, pod) },
    ...(revision === undefined ? {} : { revision }),
    ...(frozen ? { frozen } : {}),
    ...(window && key !== undefined ? { answers: answersIn(window, key) } : {}),
    ...(issuingEnds === undefined ? {} : { issuingEnds: new Map([[cluster, issuingEnds]]) }),
  }
  return explain(seen, { caller: { cluster, namespace, pod }, ...call })
}

function seenHere(parts: ExplainParts, namespace: string, pod: string): RelaySeen {
  const { keeper, traffic } = parts
  const { fault } = keeper.facts()
  const { isolated, clusters, services } = traffic.status()
  return {
    isolated,
    clusters: new Map(clusters.map((one): [ClusterName, JudgedCluster] => [one.cluster, judgedOf(one)])),
    services,
    wrong: parts.wrong(),
    conditions: parts.conditions(),
    refusals: parts.refusals().map(({ local, ...one }) => ({ ...one, envoyCluster: local })),
    pod: keeper.view().own.pods.get(`${namespace}/${pod}`),
    proxy: proxyOf(parts.clients() ?? [], `${pod}.${namespace}`),
    ...(fault === undefined ? {} : { configFault: fault }),
  }
}

function judgedOf({ phase, evidence, backInSeconds, keptBecause }: TrafficStatus['clusters'][number]): JudgedCluster {
  return {
    ...{ phase, backInSeconds },
    ...(evidence === null ? {} : { evidence }),
    ...(keptBecause === null ? {} : { keptBecause }),
  }
}

/** The newest stream that the pod's proxy has; undefined also where what it says of itself makes no sense. */
function proxyOf(clients: readonly AdsClient[], name: string): RelaySeen['proxy'] {
  const client = clients.findLast(({ proxy }) => proxy.name === name)
  const proxy = client && parsed(client.proxy)
  return client && proxy && { proxy, types: heldOf(client.types) }
}

const heldOf = (types: AdsClient['types']): Readonly<Record<string, HeldType>> =>
  Object.fromEntries(
    Object.entries(types).map(([type, { state, setAside, nack, since }]) => [
      type,
      { state, setAside, ...(nack ? { nack } : {}), ...(since === undefined ? {} : { behindMs: Date.now() - since }) },
    ]),
  )

function parsed(connected: ConnectedProxy): ReturnType<typeof parseProxy> | undefined {
  try {
    return parseProxy(connected, connected.identity)
  } catch {
    return undefined
  }
}
