import { resolve } from 'node:path'
import type { Logger } from 'pino'
import { joinUntilMember } from '#gateway/join-until-member.ts'
import { nothingYet, relayMetrics } from '#gateway/metrics.ts'
import { adoptGeneration, type Generation } from '#gateway/new-generation.ts'
import { type OwnKubernetes, openKubernetes } from '#gateway/own-kubernetes.ts'
import { openPauses } from '#gateway/pauses.ts'
import { openRejoin } from '#gateway/rejoin.ts'
import { loadSelf, type Self } from '#gateway/self.ts'
import { openCluster, type ServedCluster } from '#gateway/serve-cluster.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { bringShared, replaceShared, type SharedState } from '#gateway/shared-state.ts'
import { takeState } from '#gateway/state-lock.ts'
import { serveStatus } from '#gateway/status/status-server.ts'
import { loadMembership } from '#gateway/uplink/membership.ts'
import { relayVersion } from '#gateway/version.ts'

export type RelayParts = {
  readonly dir: string
  readonly settings: RelaySettings
  /** A join token: needed only until the cluster has joined, and where the centre does not take it for a member. */
  readonly token?: () => string | undefined
  readonly log: Logger
  /** Who this is among the replicas of a cluster's relay, and where these reach it. */
  readonly pod?: { readonly identity: string; readonly address: { readonly host: string; readonly port: number } }
  /** Unix ms; this machine's clock where absent. */
  readonly now?: () => number
}

/** How often it is looked whether another replica changed what all share. */
const sharedMs = 30_000

const noPod: NonNullable<RelayParts['pod']> = { identity: 'relay', address: { host: '127.0.0.1', port: 15013 } }

type State = 'joining' | 'waiting-for-certificates' | 'serving'

/**
 * One relay, from an empty directory to serving. Before it joined only health and metrics are open. With a certificate
 * on disk it opens its port and serves what it last knew before it calls anyone. A relay that the centre refuses goes on
 * serving; where it joins anew, everything that depends on who it is starts again.
 */
export async function startRelay({
  dir,
  settings,
  token = () => undefined,
  log,
  now,
  pod = noPod,
}: RelayParts): Promise<{ stop(): Promise<void> }> {
  const stateDir = resolve(dir, settings.state)
  const unlock = takeState(stateDir, log)
  const pauses = openPauses()
  let served: ServedCluster | undefined
  let starting: Promise<void> | undefined
  let isMember = false
  let statusServer: { close(): void } | undefined
  const metrics = relayMetrics(() => ({ ...nothingYet, ...served?.observed() }))
  const state = (): State => (served?.serves() ? 'serving' : isMember ? 'waiting-for-certificates' : 'joining')
  const stop = async () => {
    pauses.end()
    await served?.stop()
    await kubernetes?.stop()
    statusServer?.close()
    unlock()
  }
  const fatal = (error: unknown) => {
    log.error({ err: (error as Error).message }, 'the relay cannot go on')
    process.exitCode = 1
    void stop()
  }
  let kubernetes: OwnKubernetes | undefined
  const joining = () => ({ dir, stateDir, settings, token, log, shared: kubernetes?.shared })
  const serveAnew = async () => {
    await starting
    await served?.stop()
    served = undefined
    await serve().catch(fatal)
  }
  const rejoin = openRejoin(joining, pauses, serveAnew)
  let adopting = false
  /** Who this relay is changed, and the other replicas are to hear of it. */
  let toShare = false
  const notShared = (error: Error) => log.warn({ err: error.message }, 'the other replicas will hear of it later')
  const adopt = async (next: Generation) => {
    if (adopting || pauses.ended()) return
    adopting = true
    try {
      const membership = loadMembership(stateDir)
      if (!membership) return
      log.warn(
        { ...next, before: membership.trustDomain },
        'this cluster has another trust domain: all is certified anew',
      )
      adoptGeneration(stateDir, membership, next)
      if (kubernetes) await shareMembership(kubernetes.shared).catch(notShared)
      await serveAnew()
    } catch (error) {
      log.warn({ err: (error as Error).message, ...next }, 'the new trust domain could not be taken up yet')
    } finally {
      adopting = false
    }
  }
  try {
    statusServer = await serveStatus(
      { host: settings.relay.statusAddress, port: settings.relay.statusPort },
      {
        ready: () => state() === 'serving',
        status: () => ({
          ...{ cluster: settings.cluster, version: relayVersion, state: state(), time: (now ?? Date.now)() },
          ...served?.status(),
        }),
        // Nothing is known yet, which is not the same as an empty list.
        served: {
          endpoints: () => served?.served.endpoints() ?? { cluster: settings.cluster },
          config: () => served?.served.config() ?? { cluster: settings.cluster },
        },
        explain: (asked) => served?.explain(asked),
        metrics: metrics.render,
      },
    )
    kubernetes = await openKubernetes({ stateDir, settings, log, who: pod }, pauses.pause)
    const first = serve()
    starting = first.catch(() => undefined)
    await first
    const shared = kubernetes?.shared
    if (shared) pauses.later(sharedMs, () => void lookAtShared(shared))
  } catch (error) {
    await stop()
    throw error
  }
  return { stop }

  async function serve(): Promise<void> {
    const self = loadSelf({ stateDir, settings, log }) ?? (await joined())
    if (!self || pauses.ended()) return
    isMember = true
    served = await openCluster({
      ...{ self, dir, stateDir, settings, log, now, kubernetes },
      onAcknowledged: metrics.acknowledged,
      onRefused: rejoin.refused,
      onGeneration: (next) => void adopt(next),
      conditions: rejoin.conditions,
      onFatal: fatal,
    })
    if (pauses.ended()) await served.stop()
    else await served.start()
  }

  /** Another replica may have joined anew, or was told of another trust domain first. */
  async function lookAtShared(shared: SharedState): Promise<void> {
    try {
      if (toShare) await shareMembership(shared)
      else if (await bringShared(shared, stateDir)) {
        log.info({}, 'another replica of this relay joined anew: it is done after it')
        await serveAnew()
      }
    } catch (error) {
      log.warn({ err: (error as Error).message }, 'what the replicas share could not be looked at')
    }
    pauses.later(sharedMs, () => void lookAtShared(shared))
  }

  async function shareMembership(shared: SharedState): Promise<void> {
    toShare = true
    await replaceShared(shared, stateDir, 'membership.json')
    toShare = false
  }

  async function joined(): Promise<Self | undefined> {
    await joinUntilMember(joining(), pauses.pause)
    return loadSelf({ stateDir, settings, log })
  }
}
