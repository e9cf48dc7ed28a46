import type { CompiledProbe, ImportedService, Source } from '#mesh/model/cluster-config.ts'
import { sniOf } from '#mesh/model/host.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { View } from '#mesh/model/view.ts'
import type { Failback } from '#mesh/policy/judge-health.ts'

/** A service that is asked in other clusters. */
export type ProbedService = {
  readonly key: ServiceKey
  readonly host: string
  readonly sni: string
  readonly probe: CompiledProbe
  readonly failback: Failback
  /** Sorted; none is of the own network, whose pods are dialled without gateways. */
  readonly exporters: readonly { readonly cluster: ClusterName; readonly identities: readonly string[] }[]
}

export type ProbedServices = {
  readonly services: readonly ProbedService[]
  /** Not asked, because all together would be more than a relay asks in a second. */
  readonly leftOut: readonly ServiceKey[]
}

/** So many questions a second, over all services and clusters. */
export const probesPerSecondMax = 50

/**
 * The services whose policy says a probe, and whom to ask: every exporter whose gateways the callers' calls cross,
 * whether anybody calls now or not, since the one who begins to call should not be the one who finds out.
 *
 * A service is asked everywhere or not at all, or it could not be said that it fails everywhere. Where all are too many
 * the first by name are asked.
 */
export function probedServices(view: View, perSecondMax = probesPerSecondMax): ProbedServices {
  const { config } = view
  const services: ProbedService[] = []
  const leftOut: ServiceKey[] = []
  let perSecond = 0
  for (const [, imported] of [...(config?.imports ?? [])].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const { probe } = imported.policy ?? {}
    const exporters = probe ? exportersOf(view, imported, probe) : []
    if (!probe || !imported.policy || exporters.length === 0) continue
    const more = (exporters.length * 1000) / probe.everyMs
    if (perSecond + more > perSecondMax) {
      leftOut.push(imported.key)
      continue
    }
    perSecond += more
    const { holdSeconds, rampSeconds } = imported.policy
    services.push({
      ...{ key: imported.key, host: imported.host, sni: sniOf(imported.host, probe.port), probe, exporters },
      failback: { holdSeconds, rampSeconds },
    })
  }
  return { services, leftOut }
}

/** None of whom nobody may trust any more: callers do not either. */
function exportersOf(
  { home, bundle }: View,
  { sources }: ImportedService,
  { port }: CompiledProbe,
): ProbedService['exporters'] {
  const revoked = new Set(bundle?.revoked.map(({ trustDomain }) => trustDomain))
  const denied = new Set(bundle?.denied.map(({ id }) => id))
  const isOther = ({ cluster, network, trustDomain }: Source): boolean =>
    cluster !== home.cluster && network !== home.network && !revoked.has(trustDomain)
  return sources
    .filter((source) => isOther(source) && source.ports.includes(port))
    .map(({ cluster, identities }) => ({ cluster, identities: identities.filter((id) => !denied.has(id)) }))
    .filter(({ identities }) => identities.length > 0)
}
