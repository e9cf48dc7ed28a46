import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type DnsServer, serveDns } from '#gateway/dns/serve-dns.ts'
import type { Standing } from '#gateway/ground.ts'
import type { OwnKubernetes } from '#gateway/own-kubernetes.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { type KubernetesWriter, kubernetesWriter, type WriterSight } from '#gateway/status/kubernetes-writer.ts'
import { seenObjects } from '#gateway/status/seen-objects.ts'
import type { KubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import { parseRange } from '#mesh/mcs/addresses.ts'
import { resolveName } from '#mesh/mcs/resolve-name.ts'
import { type Wanted, wantedObjects } from '#mesh/mcs/wanted.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'

export type ClusterSetParts = {
  readonly kubernetes: OwnKubernetes
  readonly settings: RelaySettings
  readonly watch: KubernetesWatch
  readonly log: Logger
}

/** What a relay does in its Kubernetes cluster for the multi-cluster services API: its objects, and the names of the set. */
export type ClusterSet = {
  start(standing: Standing): void
  /** The cluster's objects are others, or what the centre says of it. */
  look(): void
  conditions(): readonly Condition[]
  /** For status. */
  facts(): object
  stop(): void
}

/** What changed by hand, or at a server that forgot it, is put right after so long at the latest. */
const againMs = 60_000
/** Another program may be about to leave the port. */
const dnsRetryMs = 5000

export function openClusterSet({ kubernetes, settings, watch, log }: ClusterSetParts): ClusterSet {
  const cidr = kubernetes.settings.clusterSetCidr
  const range = cidr === undefined ? undefined : parseRange(cidr)
  const ending = new AbortController()
  let writer: KubernetesWriter | undefined
  let dns: DnsServer | undefined
  let dnsFault: string | undefined
  let wanted: Wanted | undefined
  let standing: Standing | undefined
  const unfollow = [watch.onAlso(() => writer?.look()), kubernetes.onLead(() => writer?.look())]
  const again = setInterval(() => writer?.look(), againMs).unref()

  return {
    start: (now) => {
      standing = now
      writer = kubernetesWriter({ api: kubernetes.api, sight, isLeader: kubernetes.lead.leads, log })
      writer.look()
      void answerNames(now)
    },
    look: () => writer?.look(),
    conditions: () => [
      ...(writer?.conditions() ?? []),
      ...(wanted?.conditions ?? []),
      ...(dnsFault === undefined ? [] : [notAnswered(dnsFault)]),
    ],
    facts: () => ({ clusterSet: { ...writer?.counts(), dns: dns && { port: dns.port, ...dns.counts() } } }),
    stop: () => {
      ending.abort()
      clearInterval(again)
      for (const one of unfollow) one()
      void writer?.stop()
      void dns?.close()
    },
  }

  function sight(): WriterSight | undefined {
    const view = standing?.view()
    const config = view?.config
    // What is missing from a part of the objects is not missing.
    if (!view || !config || !watch.isSynced()) return undefined
    const seen = seenObjects(watch.also)
    const rejected = watch.rejected()
    wanted = wantedObjects({ view: { ...view, config }, seen, rejected, remarks: standing?.remarks() ?? [], range })
    return { wanted, seen, mcsVersion: watch.version('ServiceImport') }
  }

  async function answerNames({ view }: Standing): Promise<void> {
    const { address, dnsPort: port } = settings.relay
    while (!ending.signal.aborted) {
      try {
        dns = await serveDns({ address, port, log, resolve: (name, type) => resolveName(view(), name, type) })
        dnsFault = undefined
        if (ending.signal.aborted) void dns.close()
        return
      } catch (error) {
        const { message } = error as Error
        if (dnsFault !== message) log.warn({ err: message }, 'names of the cluster set are not answered yet')
        dnsFault = message
        await pause(dnsRetryMs, undefined, { signal: ending.signal, ref: false }).catch(() => undefined)
      }
    }
  }
}

const notAnswered = (fault: string): Condition => ({
  type: 'NamesNotAnswered',
  reason: 'PortTaken',
  message: `${fault}: end what listens there, or give the relay another port (relay.dnsPort)`,
  object: 'cluster',
})
