import { resolve } from 'node:path'
import type { Logger } from 'pino'
import { joinUntilMember } from '#gateway/join-until-member.ts'
import { nothingYet, relayMetrics } from '#gateway/metrics.ts'
import { adoptGeneration, type Generation } from '#gateway/new-generation.ts'
import { openPauses } from '#gateway/pauses.ts'
import { openRejoin } from '#gateway/rejoin.ts'
import { loadSelf, type Self } from '#gateway/self.ts'
import { openCluster, type ServedCluster } from '#gateway/serve-cluster.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { takeState } from '#gateway/state-lock.ts'
import { serveStatus } from '#gateway/status/status-server.ts'
import { loadMembership } from '#gateway/uplink/membership.ts'
import { relayVersion } from '#gateway/version.ts'

export type RelayParts = {
  readonly dir: string
  readonly settings: RelaySettings
  /** A join token: needed only until the cluster has joined, and where the centre does not take it for a member. */
  readonly token?: string
  readonly log: Logger
  /** Unix ms; this machine's clock where absent. */
  readonly now?: () => number
}

type State = 'joining' | 'waiting-for-certificates' | 'serving'

/**
 * One relay, from an empty directory to serving. Before it joined only health and metrics are open. With a certificate
 * on disk it opens its port and serves what it last knew before it calls anyone. A relay that the centre refuses goes on
 * serving; where it joins anew, everything that depends on who it is starts again.
 */
export async function startRelay({ dir, settings, token, log, now }: RelayParts): Promise<{ stop(): Promise<void> }> {
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
    statusServer?.close()
    unlock()
  }
  const fatal = (error: unknown) => {
    log.error({ err: (error as Error).message }, 'the relay cannot go on')
    process.exitCode = 1
    void stop()
  }
  const joining = { dir, stateDir, settings, token, log }
  const serveAnew = async () => {
    await starting
    await served?.stop()
    served = undefined
    await serve().catch(fatal)
  }
  const rejoin = openRejoin(joining, pauses, serveAnew)
  let adopting = false
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
    const first = serve()
    starting = first.catch(() => undefined)
    await first
  } catch (error) {
    await stop()
    throw error
  }
  return { stop }

  async function serve(): Promise<void> {
    const self = loadSelf(joining) ?? (await joined())
    if (!self || pauses.ended()) return
    isMember = true
    served = await openCluster({
      ...{ self, dir, stateDir, settings, log, now },
      onAcknowledged: metrics.acknowledged,
      onRefused: rejoin.refused,
      onGeneration: (next) => void adopt(next),
      conditions: rejoin.conditions,
      onFatal: fatal,
    })
    if (pauses.ended()) await served.stop()
    else await served.start()
  }

  async function joined(): Promise<Self | undefined> {
    await joinUntilMember(joining, pauses.pause)
    return loadSelf(joining)
  }
}
