import { type AddressRange, settledAddresses } from '#mesh/mcs/addresses.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import type { Traffic } from '#mesh/model/traffic.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { Home, OwnCluster, View } from '#mesh/model/view.ts'
import { parseClusterConfig } from '#mesh/wire/cluster-config.ts'
import { cfgStream, sourceOf, trustStream } from '#mesh/wire/stream.ts'
import { parseSummaries } from '#mesh/wire/summaries.ts'

type Stream = { readonly epoch: string; readonly rev: number; readonly items: ReadonlyMap<string, Json> }
type Log = { warn(facts: object, text: string): void }

/** Puts together what the relay renders from. Parts that did not change keep their identity. */
export type ViewKeeper = {
  view(): View
  own(own: OwnCluster): void
  /** Takes what came from the centre; gives whether the view changed. Config that is not understood leaves the old one. */
  received(streams: ReadonlyMap<string, Stream>): boolean
  /** Other clusters' gateways lead elsewhere than before; gives whether the view changed. */
  redial(): boolean
  /** What moves traffic now; gives whether the view changed. */
  traffic(now: Traffic | undefined): boolean
  /** Whether another cluster shares this one's network: only then do pod addresses leave the cluster. */
  sharesNetwork(): boolean
  /** Other clusters' gateways as they name them. */
  said(): Summaries['gateways']
  facts(): {
    readonly revision?: number
    readonly epoch?: string
    readonly fault?: string
    readonly unread: readonly string[]
  }
}

/** Other clusters' gateways as addresses to dial. What did not change keeps its identity. */
type Dial = (said: Summaries['gateways']) => Summaries['gateways']

export type ViewKeeperParts = {
  readonly home: Home
  readonly own: OwnCluster
  readonly log: Log
  readonly dial?: Dial
  /** Whom the mesh trusts: what of it was verified. */
  readonly trust?: Trust
  /** Of the addresses that imported services have here; absent = none count. */
  readonly clusterSetRange?: AddressRange
}

type Trust = { take(items: ReadonlyMap<string, Json>): boolean; bundle(): TrustBundle | undefined }

export function viewKeeper(parts: ViewKeeperParts): ViewKeeper {
  const { home, log, trust, dial = (said) => said } = parts
  let heard: Summaries = { services: new Map(), gateways: new Map() }
  let view: View = withBundle(withAddresses({ home, own: parts.own, summaries: heard }), trust?.bundle())
  let seen: ReadonlyMap<string, Stream> = new Map()
  let revision: { rev: number; epoch: string } | undefined
  let fault: string | undefined
  let unread: readonly string[] = []

  return {
    view: () => view,
    own: (own) => {
      const isSame = own.imports === view.own.imports
      view = isSame ? { ...view, own } : withAddresses({ ...view, own })
    },
    redial: () => {
      const before = view.summaries.gateways
      const gateways = dial(heard.gateways)
      if (gateways.size === before.size && [...gateways].every(([name, one]) => before.get(name) === one)) return false
      view = { ...view, summaries: { ...heard, gateways } }
      return true
    },
    traffic: (now) => {
      if (view.traffic === now) return false
      const { traffic: _, ...others } = view
      view = now ? { ...others, traffic: now } : others
      return true
    },
    sharesNetwork: () => view.config?.networkShared === true,
    said: () => heard.gateways,
    facts: () => ({
      unread,
      ...(revision ? { revision: revision.rev, epoch: revision.epoch } : {}),
      ...(fault === undefined ? {} : { fault }),
    }),
    received: (streams) => {
      const before = seen
      seen = streams
      const config = configFrom(streams, before)
      const moved = [...new Set([...streams.keys(), ...before.keys()])].some(
        (name) => sourceOf(name) !== undefined && streams.get(name)?.items !== before.get(name)?.items,
      )
      if (moved) {
        const parsed = parseSummaries([...streams].map(([name, { items }]) => [name, items] as const))
        unread = parsed.rejected
        heard = parsed.summaries
        view = { ...view, summaries: { ...heard, gateways: dial(heard.gateways) } }
      }
      if (config) view = { ...view, config }
      const trusted = bundleTaken(streams, before)
      if (trusted) view = withBundle(view, trust?.bundle())
      return moved || config !== undefined || trusted
    },
  }

  function withAddresses(next: View): View {
    const range = parts.clusterSetRange
    return range ? { ...next, clusterSet: settledAddresses(next.own.imports ?? new Map(), range) } : next
  }

  function bundleTaken(streams: ReadonlyMap<string, Stream>, before: ReadonlyMap<string, Stream>): boolean {
    const name = trustStream(home.mesh)
    const items = streams.get(name)?.items
    return items !== undefined && items !== before.get(name)?.items && trust?.take(items) === true
  }

  function configFrom(
    streams: ReadonlyMap<string, Stream>,
    before: ReadonlyMap<string, Stream>,
  ): ClusterConfig | undefined {
    const name = cfgStream(home.cluster)
    const stream = streams.get(name)
    if (!stream || stream.items.size === 0 || stream.items === before.get(name)?.items) return undefined
    try {
      const config = parseClusterConfig(stream.items)
      revision = { rev: stream.rev, epoch: stream.epoch }
      fault = undefined
      return config
    } catch (error) {
      fault = (error as Error).message
      log.warn(
        { revision: stream.rev, err: fault },
        'the config from the centre is not understood; the one before stays',
      )
      return undefined
    }
  }
}

const withBundle = (view: View, bundle: TrustBundle | undefined): View => (bundle ? { ...view, bundle } : view)
