import type { ConnectedGateway, Sight } from '#gateway/plan-own-gateways.ts'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import type { AdsServer } from '#gateway/relay/server.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'

/** Looks at who is connected. A gateway listens once it acknowledged its listener, and for as long as its stream lives. */
export function gatewaySight(proxyOf: (connected: ConnectedProxy) => MeshProxy): (ads: AdsServer) => Sight {
  const listening = new WeakSet<ConnectedProxy>()
  return (ads) => {
    const routers = ads.clients('router')
    const gateways = routers.flatMap(({ proxy, types }): ConnectedGateway[] => {
      const { listener } = types
      if (listener?.state === 'SYNCED' && listener.held > 0) listening.add(proxy)
      const addresses = addressesOf(proxy, proxyOf)
      const listens = listening.has(proxy) ? 'yes' : listener?.state === 'NACK' ? 'refused' : 'not-yet'
      return addresses ? [{ addresses, listens }] : []
    })
    return { gateways, others: ads.observables().streams - routers.length }
  }
}

/** Undefined where what it says of itself makes no sense: it is served nothing, and stands nowhere. */
function addressesOf(
  connected: ConnectedProxy,
  proxyOf: (connected: ConnectedProxy) => MeshProxy,
): readonly string[] | undefined {
  try {
    const { ips, gateway } = proxyOf(connected)
    return gateway ? [...ips, gateway.address] : ips
  } catch {
    return undefined
  }
}
