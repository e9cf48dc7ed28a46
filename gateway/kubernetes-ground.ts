import { openClusterSet } from '#gateway/cluster-set.ts'
import type { Ground, GroundParts, Standing } from '#gateway/ground.ts'
import type { PodOf } from '#gateway/identity/token.ts'
import { keptCluster } from '#gateway/kept-cluster.ts'
import { answersAt } from '#gateway/lead/hand-on.ts'
import type { OwnKubernetes } from '#gateway/own-kubernetes.ts'
import { openPauses } from '#gateway/pauses.ts'
import { sharedVault } from '#gateway/shared-vault.ts'
import { openRootConfigMaps, type RootConfigMaps } from '#gateway/status/root-config-maps.ts'
import { seenParsers } from '#gateway/status/seen-objects.ts'
import { kubernetesWatch } from '#gateway/watch/kubernetes-watch.ts'
import type { OwnCluster } from '#mesh/model/view.ts'

/** Proxies that came here while nobody led, or the leader could not be reached, are given to it soon after. */
const giveBackMs = 10_000
const rootsMs = 10_000

/** A relay in a Kubernetes cluster, one of its replicas: docs/decisions/relay-replicas.md. */
export function kubernetesGround(kubernetes: OwnKubernetes, { stateDir, settings, home, log }: GroundParts): Ground {
  const { api, lead, shared } = kubernetes
  const pauses = openPauses()
  const kept = keptCluster(stateDir, (text) => log.warn(text))
  const watch = kubernetesWatch({ api, home, log, kept, also: seenParsers })
  const clusterSet = openClusterSet({ kubernetes, settings, watch, log })
  let roots: RootConfigMaps | undefined
  let unfollow = (): void => undefined

  return {
    watch,
    tokens: {
      ...kubernetes.tokens,
      podOf: (namespace, name): ReturnType<PodOf> =>
        watch.isSynced() ? watch.current().pods.get(`${namespace}/${name}`) : 'unknown',
    },
    replicas: { handOnPort: settings.relay.handOnPort, leader: lead.leader },
    sharing: { keptIn: (file) => sharedVault(shared, 'issuing.key', file), leads: lead.leads },
    leads: lead.leads,
    start: (served) => {
      follow(served)
      roots = openRootConfigMaps({
        ...{ api, log, leads: lead.leads, name: kubernetes.settings.rootConfigMap, roots: served.trust.controlPlane },
        namespaces: () => meshedNamespaces(watch.current(), kubernetes.settings.namespace),
      })
      lookAtRoots()
      clusterSet.start(served)
    },
    changed: () => {
      void roots?.look()
      clusterSet.look()
    },
    shifted: clusterSet.shifted,
    conditions: () => [...(roots?.conditions() ?? []), ...clusterSet.conditions()],
    facts: () => ({ ...clusterSet.facts(), lead: { leads: lead.leads(), holder: lead.holder(), fault: lead.fault() } }),
    stop: () => {
      pauses.end()
      unfollow()
      clusterSet.stop()
    },
  }

  /** Whose the proxies are changes with who leads: the one that does knows them all. */
  function follow({ line, door }: Standing): void {
    unfollow = kubernetes.onLead((leads) => {
      if (leads) line.takeOver()
      else door.cut()
    })
    const giveBack = async () => {
      const place = lead.leader()
      if (place && (door.clients()?.length ?? 0) > 0 && (await answersAt(place)) && !lead.leads()) door.cut()
      pauses.later(giveBackMs, () => void giveBack())
    }
    void giveBack()
  }

  function lookAtRoots(): void {
    void roots?.look()
    pauses.later(rootsMs, lookAtRoots)
  }
}

/** Where proxies start, the gateways' own included. */
const meshedNamespaces = ({ pods }: OwnCluster, own: string): ReadonlySet<string> =>
  new Set([own, ...[...pods.values()].flatMap(({ meshed, namespace }) => (meshed ? [namespace] : []))])
