import type { Observed } from '#gateway/metrics.ts'
import { openOwnGateways } from '#gateway/own-gateways.ts'
import { openPeerGateways, type PeerGatewaysParts } from '#gateway/peer-gateways.ts'
import type { Sight } from '#gateway/plan-own-gateways.ts'
import type { GatewaysBySource } from '#gateway/resolve/dialled-gateways.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import { answerFault } from '#mesh/model/gateway-address.ts'
import type { Home, OwnCluster } from '#mesh/model/view.ts'

export type GatewaysParts = {
  readonly stateDir: string
  readonly home: Home
  readonly settings: RelaySettings
  readonly own: () => OwnCluster
  readonly sight: () => Sight | undefined
  /** Other clusters' gateways lead elsewhere. */
  readonly onDial: () => void
  /** The own ones are in another state. */
  readonly onOwn: () => void
  readonly log: PeerGatewaysParts['log']
}

/** All gateways that a relay has to do with: the own ones that it tells of, and those of other clusters that it dials. */
export type Gateways = {
  /** Other clusters' gateways as addresses to dial. */
  dialled(said: GatewaysBySource): GatewaysBySource
  /** Who this relay serves, with its gateways as they are now: what others are told. */
  home(): Home
  conditions(): readonly Condition[]
  observed(): Pick<Observed, 'ownGateways' | 'gatewayNames'>
  stop(): void
}

export function openGateways(parts: GatewaysParts): Gateways {
  const { stateDir, home, settings, log } = parts
  const places = () => (settings.gateways.length > 0 ? settings.gateways : (parts.own().gateways ?? []))
  const own = openOwnGateways({ stateDir, places, sight: parts.sight, onChange: parts.onOwn, log })
  const { servers } = settings.dns
  const peers = openPeerGateways({
    ...{ stateDir, cluster: home.cluster, own: own.current, onChange: parts.onDial, log },
    // Only a relay that lives on loopback itself serves proxies to whom such an address means the same.
    dns: { loopback: isLoopback(settings.relay.address), ...(servers.length > 0 ? { servers } : {}) },
  })
  return {
    dialled: peers.dialled,
    home: () => ({ ...home, gateways: own.current() }),
    conditions: () => [...own.conditions(), ...peers.conditions()],
    observed: () => ({ ownGateways: own.counts(), gatewayNames: peers.counts() }),
    stop: () => {
      own.stop()
      peers.stop()
    },
  }
}

const isLoopback = (address: string): boolean =>
  answerFault(address, true) === undefined && answerFault(address, false) !== undefined
