import { type Latencies, openLatencies } from '#gateway/latencies.ts'
import { type LoadKeeper, openLoadKeeper } from '#gateway/load-keeper.ts'
import type { Traffic } from '#gateway/open-traffic.ts'
import type { Pauses } from '#gateway/pauses.ts'
import type { ProxyDoor } from '#gateway/proxy-door.ts'
import { keyOf } from '#gateway/relay/node.ts'
import type { Uplink } from '#gateway/uplink/uplink.ts'
import type { ViewKeeper } from '#gateway/view-keeper.ts'
import type { Load } from '#mesh/model/load.ts'
import type { Home } from '#mesh/model/view.ts'
import { adviceStream, cfgStream } from '#mesh/wire/stream.ts'

export type LoadParts = {
  readonly stateDir: string
  /** With its own gateways as they are now. */
  readonly home: () => Home
  readonly traffic: () => Traffic
  readonly line: Pick<Uplink, 'load' | 'received' | 'status' | 'now'>
  readonly keeper: ViewKeeper
  readonly door: () => Pick<ProxyDoor, 'clients' | 'isSettled' | 'retime'>
  readonly pauses: Pauses
  readonly log: Parameters<typeof openLoadKeeper>[0]['log']
}

/** What is measured of this cluster's callers. */
export type LoadWatch = LoadKeeper & {
  /** A proxy told how long its calls took. */
  readonly tookTimes: Latencies['take']
  /** What came from the centre is in force. */
  received(): void
}

export function openLoad(parts: LoadParts): LoadWatch {
  const { stateDir, line, keeper, door, pauses, log } = parts
  const traffic = () => parts.traffic()
  const inForce = (): Pick<Load, 'adv' | 'cfg'> => {
    const { mesh, cluster } = parts.home()
    const { revision, epoch } = keeper.facts()
    const [adv, cfg] = [line.received().get(adviceStream(mesh)), line.received().get(cfgStream(cluster))]
    return {
      adv: adv ? { epoch: adv.epoch, rev: adv.rev } : null,
      // What was not understood is not in force, and which one is in its place has no name any more.
      cfg: cfg && cfg.rev === revision && cfg.epoch === epoch ? { epoch, rev: revision, hash: cfg.root } : null,
    }
  }
  const latencies = openLatencies(() => keeper.view().config)
  const load = openLoadKeeper({
    ...{ stateDir, view: keeper.view, pauses, log, inForce, wall: line.now },
    proxies: () =>
      door()
        .clients()
        ?.map(({ proxy }) => ({ key: keyOf(proxy), kind: proxy.kind })),
    places: () => parts.home().gateways,
    traffic: {
      shifts: () => traffic().keeper.shifts(),
      taken: (epoch, seq) => traffic().keeper.taken(epoch, seq),
      quotas: (list) => traffic().keeper.quotas(list),
      health: () => traffic().keeper.health(),
    },
    below: () => traffic().sight.below(),
    latencies: latencies.list,
    isConnected: () => line.status().state === 'connected',
    isSettled: () => door().isSettled(),
    tell: line.load,
  })
  let last = inForce()
  return {
    ...load,
    tookTimes: latencies.take,
    received: () => {
      const now = inForce()
      if (now.cfg?.hash !== last.cfg?.hash) load.configTaken()
      if (now.adv?.rev !== last.adv?.rev || now.adv?.epoch !== last.adv?.epoch) {
        load.soon()
        door().retime()
      }
      last = now
    },
  }
}
