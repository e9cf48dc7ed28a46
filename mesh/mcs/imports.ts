import type { AddressWish } from '#mesh/mcs/addresses.ts'
import type { ImportPort, ImportSpec, ImportStatus, ObjectCondition } from '#mesh/mcs/objects.ts'
import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { Protocol, ServicePort } from '#mesh/model/service.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import type { ClusterSetAddresses } from '#mesh/model/view.ts'

/** An address of its own has each pod of another cluster that is called by its name, and each cluster that is. */
export function addressWish(
  imported: ImportedService,
  facts: { readonly home: ClusterName; readonly summaries: Summaries; readonly has: ClusterSetAddresses | undefined },
): AddressWish {
  const { key, headless, sources } = imported
  const parts = sources.flatMap(({ cluster, perCluster }) => {
    const whole = perCluster ? [cluster] : []
    if (!headless || cluster === facts.home) return whole
    const summary = facts.summaries.services.get(cluster)?.get(key)
    // Not heard since the start: its pods keep what they have.
    if (summary === undefined) return [...whole, ...known(facts.has, cluster)]
    return [...whole, ...(summary.podNames ?? []).map(({ hostname }) => `${hostname}.${cluster}`)]
  })
  return { key, whole: headless !== true, parts: [...new Set<string>(parts)].sort() }
}

const known = (has: ClusterSetAddresses | undefined, cluster: ClusterName): readonly string[] =>
  Object.keys(has?.parts ?? {}).filter((part) => part.endsWith(`.${cluster}`))

/** Source: MCS API (KEP-1645), ServiceImport. */
export const importSpec = (imported: ImportedService, { ip, parts }: ClusterSetAddresses): ImportSpec => ({
  type: imported.headless ? 'Headless' : 'ClusterSetIP',
  ports: imported.ports.map(importPort),
  ips: ip === undefined ? [] : [ip],
  sessionAffinity: imported.sticky && !imported.headless ? 'ClientIP' : 'None',
  parts,
})

const appProtocols: Readonly<Record<Protocol, string>> = {
  http: 'http',
  http2: 'kubernetes.io/h2c',
  grpc: 'grpc',
  tcp: 'tcp',
  tls: 'tls',
}

const importPort = ({ name, port, protocol, declared }: ServicePort): ImportPort => ({
  name,
  port,
  appProtocol: declared ? appProtocols[protocol] : '',
})

/** Why a service has no address: nothing was configured, or nothing is left. */
export type Lack = 'no range' | 'range used up'

export function importStatus(
  imported: ImportedService,
  lack: { readonly of: Lack; readonly cidr: string } | undefined,
): ImportStatus {
  return {
    clusters: imported.sources.map(({ cluster }) => cluster).toSorted(),
    conditions: [readyOf(imported, lack)],
  }
}

function readyOf(
  { host }: ImportedService,
  lack: { readonly of: Lack; readonly cidr: string } | undefined,
): ObjectCondition {
  const type = 'Ready'
  if (lack?.of === 'range used up')
    return {
      ...{ type, status: 'False', reason: 'AddressesUsedUp' },
      message: `no address of ${lack.cidr} is left for all of its names: give the relay a larger kubernetes.clusterSetCidr`,
    }
  if (lack)
    return {
      ...{ type, status: 'False', reason: 'NoAddressRange' },
      message:
        `it has no cluster-set IP, so only calls by name through a proxy reach it (${host}): give the relay a range, ` +
        'kubernetes.clusterSetCidr',
    }
  return { type, status: 'True', reason: 'Ready', message: 'its names resolve and lead to all exporting clusters' }
}
