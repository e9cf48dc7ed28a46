import type { Member } from './member.ts'
import { askRelay, type RelayAnswer } from './relay-standing.ts'
import type { Sandbox } from './sandbox.ts'
import type { Shift } from './shifts.ts'
import type { Traffic } from './traffic.ts'

/**
 * What the shop's page is told: `GET /sandbox/state` of the front door gives one of these; `GET /sandbox/events` first one
 * (`event: state`), then four a second (`event: change`) whose `requests` are those that ended since the one before.
 * All moments are Unix ms.
 */
export type FleetState = {
  readonly atMs: number
  readonly clusters: readonly ClusterState[]
  readonly centre: {
    readonly state: 'alive' | 'starting' | 'dead' | 'paused'
    /** Since when no relay hears it; absent while one does. */
    readonly awaySinceMs?: number
    /** The highest revision of config that a relay serves. */
    readonly revision?: number
  }
  /** Page views of the last 60 s (or since the event before), each through the front door; the newest last. */
  readonly requests: readonly RequestSeen[]
  /** Since the sandbox started. */
  readonly counted: { readonly requests: number; readonly failed: number; readonly crossCluster: number }
  /** Over the last 5 s. */
  readonly now: {
    readonly perSecond: number
    readonly p99Ms?: number
    /** Cluster and its share of the answers of reviews, in per cent. */
    readonly reviews: readonly (readonly [cluster: string, percent: number])[]
  }
  /** The last 50, the newest last; the counts of one grow for four seconds after it. */
  readonly shifts: readonly Shift[]
}

export type ClusterState = {
  readonly name: string
  readonly region: string
  /**
   * `alive`: its relay serves and its pods are ready; `starting`; `degraded`: a part of it is dead or not ready; `dead`:
   * killed; `paused`: every program stands still, connections stay open; `cut-off`: its relay does not reach the centre
   * and serves what it knows; `silent`: its relay does not answer, and nobody here did that.
   */
  readonly state: 'alive' | 'starting' | 'degraded' | 'dead' | 'paused' | 'cut-off' | 'silent'
  /** In words, where there is more to say: which part, which fault. */
  readonly note?: string
  /** When its relay last heard the centre: how old what it knows of the others may be. */
  readonly knowsSinceMs?: number
  /** Revision of the config that its relay serves. */
  readonly revision?: number
  /** Envoys connected to its relay. */
  readonly proxies?: number
}

export type RequestSeen = {
  /** 1, 2, … since the sandbox started, in the order in which they ended. */
  readonly n: number
  /** When it was sent. */
  readonly atMs: number
  readonly ok: boolean
  readonly ms: number
  /** Service (productpage, details, reviews, ratings) → cluster that answered; one that failed or was not asked is absent. */
  readonly clusterByService: Readonly<Record<string, string>>
  readonly reason?: string
}

/** Keeps asking the relays, so that the state is at hand at any moment. */
export type FleetWatch = { state(): FleetState; stop(): void }

const askMs = 500

export function watchFleet(sandbox: Sandbox, traffic: Traffic): FleetWatch {
  const heard = new Map<string, RelayAnswer>()
  let awaySinceMs: number | undefined
  let timer: NodeJS.Timeout | undefined
  let over = false
  void round()
  return {
    stop: () => {
      over = true
      clearTimeout(timer)
    },
    state: () => {
      const { perSecond, p99, reviews } = traffic.summary()
      return {
        atMs: Date.now(),
        clusters: sandbox.members.map((one) => clusterState(one, heard.get(one.plan.name))),
        centre: centreState(),
        requests: traffic.visits().map(({ n, at, ok, ms, clusterByService, reason }) => ({
          ...{ n, atMs: at, ok, ms: Math.round(ms * 10) / 10, clusterByService },
          ...(reason === undefined ? {} : { reason }),
        })),
        counted: traffic.counted(),
        now: { perSecond, ...(p99 === undefined ? {} : { p99Ms: Math.round(p99 * 10) / 10 }), reviews },
        shifts: traffic.shifts(),
      }
    },
  }

  async function round(): Promise<void> {
    await Promise.all(
      sandbox.members.map(async ({ plan }) => {
        const answer = await askRelay(plan)
        // A relay that is silent keeps what it last said: the age of that is what a person wants to see.
        heard.set(plan.name, answer.state === 'silent' ? { ...heard.get(plan.name), state: 'silent' } : answer)
      }),
    )
    if (over) return
    const lines = [...heard.values()].filter(({ state }) => state !== 'silent')
    if (lines.some(({ line }) => line === 'connected')) awaySinceMs = undefined
    else awaySinceMs ??= Math.max(0, ...lines.map((one) => one.lastHeardAt ?? 0)) || Date.now()
    timer = setTimeout(() => void round(), askMs)
  }

  function centreState(): FleetState['centre'] {
    const revisions = [...heard.values()].flatMap(({ revision }) => revision ?? [])
    return {
      state: sandbox.centreState(),
      ...(awaySinceMs === undefined ? {} : { awaySinceMs }),
      ...(revisions.length === 0 ? {} : { revision: Math.max(...revisions) }),
    }
  }
}

function clusterState(one: Member, answer: RelayAnswer | undefined): ClusterState {
  const { lastHeardAt, revision, proxies, reason } = answer ?? {}
  const { dead, paused, cut } = one.hurt()
  const parts = [
    ...dead.filter((part) => part !== 'cluster').map((part) => `its ${part} is dead`),
    ...paused.map((part) => (part === 'cluster' ? 'every program of it stands still' : `its ${part} stands still`)),
    ...(cut ? ['its line to the centre is cut'] : []),
  ]
  const missing = one.running() ? one.missing().map(({ name }) => name) : []
  const note = parts.length > 0 ? parts.join(', ') : missing.length > 0 ? `not ready: ${missing.join(', ')}` : reason
  return {
    ...{ name: one.plan.name, region: one.plan.region, state: stateOf(one, answer, missing.length > 0) },
    ...(note === undefined ? {} : { note: note.slice(0, 300) }),
    ...(lastHeardAt === undefined ? {} : { knowsSinceMs: lastHeardAt }),
    ...(revision === undefined ? {} : { revision }),
    ...(proxies === undefined ? {} : { proxies }),
  }
}

function stateOf(one: Member, answer: RelayAnswer | undefined, lacks: boolean): ClusterState['state'] {
  if (!one.running()) return 'dead'
  const { dead, paused, cut } = one.hurt()
  if (paused.includes('cluster')) return 'paused'
  if (one.starting()) return 'starting'
  if (dead.length > 0 || paused.length > 0) return 'degraded'
  if (cut) return 'cut-off'
  if (answer === undefined || answer.state === 'silent') return 'silent'
  if (lacks) return 'degraded'
  return answer.line === 'connected' || answer.line === 'connecting' ? 'alive' : 'cut-off'
}
