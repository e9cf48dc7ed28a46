import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type DnsServer, serveDns } from '#gateway/dns/serve-dns.ts'
import type { Standing } from '#gateway/ground.ts'
import type { OwnKubernetes } from '#gateway/own-kubernetes.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { kubernetesEvents } from '#gateway/status/kubernetes-events.ts'
import { type KubernetesWriter, kubernetesWriter, type WriterSight } from '#gateway/status/kubernetes-writer.ts'
import { seenObjects, seenParsers } from '#gateway/status/seen-objects.ts'
import type { ObjectName } from '#gateway/status/write-of-change.ts'
import type { KubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import { parseRange } from '#mesh/mcs/addresses.ts'
import { cutText } from '#mesh/mcs/cut-text.ts'
import { noticesOf, shiftNotices } from '#mesh/mcs/notices.ts'
import { resolveName } from '#mesh/mcs/resolve-name.ts'
import { type Wanted, wantedObjects } from '#mesh/mcs/wanted.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import { partsOf, type ServiceKey } from '#mesh/model/id.ts'

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
  /** Callers of the cluster moved. */
  shifted(): void
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
  const events = kubernetesEvents({ api: kubernetes.api, instance: hostname(), log })
  const { leads } = kubernetes.lead
  /** What the last sight was made from. */
  let last: { readonly from: readonly unknown[]; readonly sight: WriterSight } | undefined
  let shiftsTold = 0
  let rejectedTold: ReadonlySet<string> = new Set()
  const unfollow = [watch.onAlso(() => writer?.look()), kubernetes.onLead(() => writer?.look())]
  const again = setInterval(() => writer?.look(), againMs).unref()

  return {
    start: (now) => {
      standing = now
      shiftsTold = now.shifts().at(-1)?.seq ?? 0
      writer = kubernetesWriter({
        ...{ api: kubernetes.api, sight, isLeader: leads, log },
        onWritten: (change, { object }, seen) => {
          for (const notice of noticesOf(change, seen)) events.say(object, notice)
        },
      })
      writer.look()
      void answerNames(now)
    },
    look: () => {
      writer?.look()
      tellRejected()
    },
    shifted: tellShifts,
    conditions: () => [
      ...(writer?.conditions() ?? []),
      ...(wanted?.conditions ?? []),
      ...(dnsFault === undefined ? [] : [notAnswered(dnsFault)]),
    ],
    facts: () => ({
      clusterSet: {
        ...{ ...writer?.counts(), events: events.counts(), dns: dns && { port: dns.port, ...dns.counts() } },
        withoutNamespace: wanted?.withoutNamespace.slice(0, namespacesMax) ?? [],
      },
    }),
    stop: () => {
      ending.abort()
      clearInterval(again)
      for (const one of unfollow) one()
      void writer?.stop()
      void events.stop()
      void dns?.close()
    },
  }

  function sight(): WriterSight | undefined {
    const view = standing?.view()
    const config = view?.config
    // What is missing from a part of the objects is not missing.
    if (!view || !config || !watch.isSynced()) return undefined
    const remarks = standing?.remarks() ?? []
    const rejected = watch.rejected()
    const mcsVersion = watch.version('ServiceImport')
    const { services, exports, refused, externalNames } = view.own
    const from = [
      ...[config, view.summaries, view.clusterSet, services, exports, refused, externalNames, rejected, mcsVersion],
      ...[JSON.stringify(remarks), ...Object.keys(seenParsers).map((kind) => watch.also(kind))],
    ]
    if (last && from.every((one, at) => one === last?.from[at])) return last.sight
    const seen = seenObjects(watch.also)
    wanted = wantedObjects({ view: { ...view, config }, seen, rejected, remarks, range })
    const now = { wanted, seen, mcsVersion }
    last = { from, sight: now }
    return now
  }

  function tellShifts(): void {
    const news = standing?.shifts().filter(({ seq }) => seq > shiftsTold) ?? []
    shiftsTold = news.at(-1)?.seq ?? shiftsTold
    if (!leads()) return
    const { imports } = seenObjects(watch.also)
    for (const { service, notice } of news.flatMap(shiftNotices)) {
      const there = imports.get(service)
      const version = watch.version('ServiceImport')
      if (there && version !== undefined) events.say(importName(service, version, there.uid), notice)
    }
  }

  /** What is set aside has no status to say so: who made it finds an Event under it. */
  function tellRejected(): void {
    const now = watch.rejected()
    const before = rejectedTold
    rejectedTold = new Set(now.map(({ at, reason }) => `${at} ${reason}`))
    if (!leads()) return
    for (const { at, object, reason } of now.slice(0, rejectedMax)) {
      const about = before.has(`${at} ${reason}`) ? undefined : objectAt(at, object)
      if (about) events.say(about, { type: 'Warning', reason: 'SetAside', note: cutText(reason, 1000) })
    }
  }

  async function answerNames({ view }: Standing): Promise<void> {
    const { address, dnsPort: port } = settings.relay
    const has = (namespace: string) => (watch.isSynced() ? watch.also('Namespace').has(namespace) : undefined)
    while (!ending.signal.aborted) {
      try {
        dns = await serveDns({ address, port, log, resolve: (name, type) => resolveName(view(), name, type, has) })
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

const rejectedMax = 20
const namespacesMax = 20

const importName = (key: ServiceKey, version: string, uid: string): ObjectName => ({
  ...{ apiVersion: `multicluster.x-k8s.io/${version}`, kind: 'ServiceImport', uid, ...partsOf(key) },
})

/** Of the path and id of an object (`/api/v1/namespaces/shop/services/web`, `Service shop/web`) its name. */
function objectAt(at: string, object: string): ObjectName | undefined {
  const [, apiVersion, namespace] =
    /^\/apis?\/((?:[^/]+\/)?v[^/]+)\/(?:namespaces\/([^/]+)\/)?[a-z]+\/[^/]+$/.exec(at) ?? []
  const [kind = '', id = ''] = object.split(' ')
  const name = id.split('/').at(-1) ?? ''
  if (apiVersion === undefined || name === '') return undefined
  return { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) }
}

const notAnswered = (fault: string): Condition => ({
  type: 'NamesNotAnswered',
  reason: 'PortTaken',
  message: `${fault}: end what listens there, or give the relay another port (relay.dnsPort)`,
  object: 'cluster',
})
