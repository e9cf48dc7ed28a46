import { existsSync } from 'node:fs'
import { relative } from 'node:path'
import { caFileOf, centreUrl, meshRoot } from './centre.ts'
import type { SandboxPlan } from './plan.ts'
import { relayStanding } from './relay-standing.ts'
import type { Sandbox } from './sandbox.ts'
import { visit } from './shopper.ts'
import { until } from './until.ts'

export type Progress = {
  readonly done: (what: string, facts: string) => void
  /** Told once the centre answers. */
  readonly centreUp: () => void
  readonly warn: (line: string) => void
}

const podsMs = 60_000
const pageMs = 30_000
/** A page view of three clusters is one in six. */
const widestMs = 4000

/**
 * Starts everything, what can at once: members that joined in an earlier run serve from their own state and need no
 * centre. Throws what is not there after a minute, except in a fleet that the user may have edited: there it is a
 * warning, and mended by editing again.
 */
export async function bringUp(sandbox: Sandbox, plan: SandboxPlan, progress: Progress, signal: AbortSignal) {
  const names = plan.clusters.map((cluster) => cluster.name)
  const early = existsSync(caFileOf(plan)) ? sandbox.members.filter((one) => one.joined()) : []
  const late = sandbox.members.filter((one) => !early.includes(one))
  const orWarn = (error: Error) => {
    if (late.length > 0 || signal.aborted) throw error
    progress.warn(`✘ ${error.message}`)
    return false as const
  }
  sandbox.startFrontDoor()
  const centre = async () => {
    await sandbox.startCentre()
    progress.done('centre', await centreFacts())
    progress.centreUp()
    await Promise.all(late.map((one) => sandbox.startMember(one.plan.name)))
  }
  await Promise.all([centre(), ...early.map((one) => sandbox.startMember(one.plan.name))])
  const joined = await joinedRelays()
  const ready = await Promise.all(names.map((name) => sandbox.memberReady(name, podsMs).catch(orWarn)))
  const answering = ready.filter((one) => one !== false).length
  if (joined.length > 0)
    progress.done(
      'clusters',
      `${joined.join('  ')}  joined, ${answering} gateway${answering === 1 ? '' : 's'} answer${answering === 1 ? 's' : ''}`,
    )
  await pageCrosses().then(
    (clusters) => progress.done('shop', `one page view crossed ${clusters.length} clusters, mTLS verified`),
    (error: Error) => void orWarn(error),
  )

  /** A relay that joined in an earlier run serves from its own state, whatever the centre thinks of it now. */
  async function joinedRelays(): Promise<readonly string[]> {
    const lines = await Promise.all(
      plan.clusters.map(async (cluster) => ({ name: cluster.name, ...(await relayStanding(cluster, signal)) })),
    )
    // A start that is cut off asked nobody long enough.
    signal.throwIfAborted()
    for (const { name, state, reason } of lines)
      if (state !== 'connected') progress.warn(`✘ relay    ${name} is ${state}: ${reason ?? 'see its log'}`)
    return lines.filter(({ state }) => state === 'connected').map(({ name }) => name)
  }

  /** Where it is, the root that every certificate of the mesh leads to, and where all of this is kept. */
  async function centreFacts(): Promise<string> {
    const root = await meshRoot(sandbox.api()).catch(() => undefined)
    const dir = relative(process.cwd(), plan.dir)
    const where = dir.startsWith('..') ? plan.dir : `./${dir}`
    return [centreUrl(plan), ...(root === undefined ? [] : [`root ${root.slice(0, 4)}…`]), where].join(' · ')
  }

  /** The clusters of the widest page view: one of all clusters, or the best that came within a moment. */
  async function pageCrosses(): Promise<readonly string[]> {
    let crossed: readonly string[] = []
    let reason = ''
    let settled = Number.POSITIVE_INFINITY
    const whole = async () => {
      const seen = await visit(plan.shop.host, plan.shop.port)
      const clusters = [...new Set(seen.clusters)].sort()
      reason = seen.reason ?? `answered by ${clusters.join(', ') || 'nobody'} alone`
      if (seen.ok && !seen.isMutual) reason = 'a part of it did not see the certificate of its caller'
      if (seen.ok && seen.isMutual && clusters.length > Math.max(1, crossed.length)) {
        crossed = clusters
        settled = Math.min(settled, Date.now() + widestMs)
      }
      return crossed.length >= Math.min(3, names.length) || Date.now() > settled
    }
    await until(pageMs, 'no page view is whole and crosses clusters', whole, signal).catch((cause: Error) => {
      throw new Error(`${cause.message}; the last one: ${reason}`, { cause })
    })
    return crossed
  }
}
