import type { Certificates } from '#gateway/certificates.ts'
import { openProbeLeaf } from '#gateway/health/probe-leaf.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { openTrafficKeeper, type TrafficKeeper } from '#gateway/traffic-keeper.ts'
import { type TrafficSight, trafficSight } from '#gateway/traffic-sight.ts'
import type { Uplink } from '#gateway/uplink/uplink.ts'
import type { ViewKeeper } from '#gateway/view-keeper.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { Home } from '#mesh/model/view.ts'
import { rootsOf } from '#mesh/translate/trust.ts'
import { adviceStream } from '#mesh/wire/stream.ts'

export type TrafficParts = {
  readonly stateDir: string
  readonly home: Home
  readonly settings: RelaySettings
  readonly certificates: Pick<Certificates, 'issuing'>
  readonly line: Pick<Uplink, 'now' | 'lastHeardAt'>
  readonly keeper: ViewKeeper
  readonly clock: () => Date
  /** As the line's `lastHeardAt` is counted: this machine's clock where absent. */
  readonly wall?: () => number
  /** The view has another word about traffic. */
  readonly onChange: () => void
  /** There are shifts that the centre was not told of. */
  readonly onShifts?: () => void
  readonly failedIn?: NonNullable<Parameters<typeof openTrafficKeeper>[0]['failedIn']>
  readonly log: Parameters<typeof openTrafficKeeper>[0]['log'] & Parameters<typeof openProbeLeaf>[0]['log']
}

/** What moves this cluster's callers, kept in the view. */
export type Traffic = {
  readonly keeper: TrafficKeeper
  readonly sight: TrafficSight
  /** Takes what came from the centre, after the view did; gives whether the view changed. */
  received(streams: ReadonlyMap<string, { readonly items: ReadonlyMap<string, Json> }>): boolean
  /** Something else in the view is other than before; gives whether the view changed once more. */
  look(): boolean
  stop(): void
}

export function openTraffic(parts: TrafficParts): Traffic {
  const { stateDir, home, settings, certificates, line, clock, log, wall = Date.now } = parts
  const leaf = openProbeLeaf({
    trustDomain: home.trustDomain,
    authority: () => {
      const current = certificates.issuing.current()
      return current && clock() < current.chain[0].notAfter ? current : undefined
    },
    roots: () => rootsOf(parts.keeper.view()),
    ...{ clock, log },
  })
  const keeper = openTrafficKeeper({
    ...{ stateDir, view: parts.keeper.view, leaf, beacons: settings.health.beacons, log },
    centreHeardMsAgo: () => {
      const lastHeardAt = line.lastHeardAt()
      return lastHeardAt === undefined ? undefined : Math.max(0, wall() - lastHeardAt)
    },
    onChange: () => {
      if (shown()) parts.onChange()
    },
    wall: line.now,
    ...(parts.onShifts ? { onShifts: parts.onShifts } : {}),
    ...(parts.failedIn ? { failedIn: parts.failedIn } : {}),
  })
  let advice: ReadonlyMap<string, Json> | undefined
  shown()

  return {
    keeper,
    sight: trafficSight(keeper, parts.keeper.view),
    received: (streams) => {
      const { items } = streams.get(adviceStream(home.mesh)) ?? {}
      const isNew = items !== undefined && items !== advice
      advice = items ?? advice
      const before = parts.keeper.view().traffic
      if (isNew) keeper.advice(items)
      keeper.look()
      shown()
      return parts.keeper.view().traffic !== before
    },
    look: () => {
      keeper.look()
      return shown()
    },
    stop: keeper.stop,
  }

  function shown(): boolean {
    return parts.keeper.traffic(keeper.traffic())
  }
}
