import { join } from 'node:path'
import type { Logger } from 'pino'
import type { RelaySettings } from '#gateway/settings.ts'
import { loadMembership, loadRelayKey, type Membership, type RelayKey } from '#gateway/uplink/membership.ts'
import { openReceivedStore } from '#gateway/uplink/received-store.ts'
import type { ClusterName, MeshName, NetworkName, TrustDomain } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Home } from '#mesh/model/view.ts'
import { parseClusterConfig } from '#mesh/wire/cluster-config.ts'
import { cfgStream } from '#mesh/wire/stream.ts'

/** Who this relay is: what it serves, and either how it proves itself to the centre or why it cannot. */
export type Self = { readonly home: Home } & (
  | { readonly membership: Membership; readonly key: RelayKey }
  | { readonly fault: string }
)

export type StatePlace = { readonly stateDir: string; readonly settings: RelaySettings; readonly log: Logger }

/**
 * Who the state directory says this relay is; undefined where it never joined. What lost its key, or its membership, goes
 * on as who it was: that much is in the config it last received. Throws `conflict` where it joined as another cluster.
 */
export function loadSelf(place: StatePlace): Self | undefined {
  const { stateDir, settings, log } = place
  const lost = (error: unknown): string => {
    if (!(error instanceof Problem) || error.kind !== 'conflict') throw error
    return error.message
  }
  let fault = `${join(stateDir, 'membership.json')} is missing`
  try {
    const membership = loadMembership(stateDir, (text) => log.warn(text))
    if (membership) return selfOf(place, membership)
  } catch (error) {
    fault = lost(error)
    log.warn({ err: fault }, 'who this relay is to the centre is lost')
  }
  const home = lastHome(place)
  return home && { home, fault }

  function selfOf({ stateDir }: StatePlace, membership: Membership): Self {
    const home = homeOf(membership, settings)
    try {
      return { home, membership, key: loadRelayKey(stateDir, membership) }
    } catch (error) {
      return { home, fault: lost(error) }
    }
  }
}

/** Who this relay serves as a member. Throws `invalid` where the directory joined as another cluster than the settings name. */
export function homeOf(membership: Membership, settings: RelaySettings): Home {
  if (membership.cluster !== settings.cluster)
    throw new Problem(
      'invalid',
      `this directory joined as cluster "${membership.cluster}", but its settings name "${settings.cluster}": ` +
        'put the name back, or start from an empty state directory with a new join token',
    )
  return homeIn(settings, membership.mesh as MeshName, membership.trustDomain as TrustDomain)
}

function lastHome({ stateDir, settings, log }: StatePlace): Home | undefined {
  const store = openReceivedStore(join(stateDir, 'received.json'), log)
  store.close()
  const items = store.loaded.get(cfgStream(settings.cluster))?.items
  if (!items?.size) return undefined
  try {
    const { mesh, trust } = parseClusterConfig(items)
    return homeIn(settings, mesh, trust.trustDomain)
  } catch {
    return undefined
  }
}

const homeIn = (settings: RelaySettings, mesh: MeshName, trustDomain: TrustDomain): Home => ({
  mesh,
  cluster: settings.cluster as ClusterName,
  trustDomain,
  network: settings.network as NetworkName,
  region: settings.region,
  gateways: settings.gateways.map(({ address, port }) => ({ address, port, state: 'ready' })),
})
