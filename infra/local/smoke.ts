import { setTimeout as wait } from 'node:timers/promises'
import type { Member } from './member.ts'
import type { SandboxPlan } from './plan.ts'
import type { Sandbox } from './sandbox.ts'
import { startShopper } from './shopper.ts'
import { until } from './until.ts'

export type SmokeResult = {
  readonly ok: boolean
  /** Page views, each an idempotent GET; those answered by more than one cluster; those a shopper saw fail. */
  readonly requests: number
  readonly crossCluster: number
  readonly crossClusterShare: number
  readonly failed: number
  readonly slowestMs: number
  /** Seconds from the start to a page that crosses clusters, and from each restart until its part is ready and used. */
  readonly startSeconds: number
  readonly restoredSeconds: Readonly<Record<string, number>>
  /** The slowest page view while that part was dead. */
  readonly killedSlowestMs: Readonly<Record<string, number>>
}

const perSecond = 20
const settleMs = 3000
const readyMs = 60_000
const usedMs = 20_000

/**
 * Drives the page at a steady rate while clusters and the centre die and come back, and checks that a dead cluster
 * answers nothing and a restored one answers again. Throws where a part does not come back.
 */
export async function smoke(
  sandbox: Sandbox,
  plan: SandboxPlan,
  startSeconds: number,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<SmokeResult> {
  const answered = new Map<string, number>()
  let slowest = 0
  const shopper = startShopper(plan.shop.host, plan.shop.port, perSecond, (seen) => {
    for (const cluster of new Set(seen.clusters)) answered.set(cluster, (answered.get(cluster) ?? 0) + 1)
    slowest = Math.max(slowest, seen.ms)
  })
  const restoredSeconds: Record<string, number> = {}
  const killedSlowestMs: Record<string, number> = {}
  const settle = () => wait(settleMs, undefined, { signal })
  const [first, , third] = sandbox.members
  if (!first || !third) throw new Error('the smoke test needs three clusters')
  try {
    await step('steady', settle)
    for (const one of [first, third]) await death(one.plan.name, one.kill, () => restore(one))
    await death('centre', sandbox.killCentre, sandbox.startCentre)
    await step('steady', settle)
  } finally {
    await shopper.stop()
  }
  const counts = shopper.counts()
  for (const one of shopper.failures())
    say(`  failed at ${new Date(one.at).toISOString()} after ${Math.round(one.ms)} ms: ${one.reason}`)
  return {
    ok: counts.failed === 0 && counts.requests > 0 && counts.crossCluster > 0,
    ...counts,
    crossClusterShare: Math.round((counts.crossCluster / Math.max(1, counts.requests)) * 1000) / 1000,
    slowestMs: shopper.slowestMs(),
    ...{ startSeconds, restoredSeconds, killedSlowestMs },
  }

  async function death(name: string, kill: () => Promise<void>, start: () => Promise<void>): Promise<void> {
    slowest = 0
    await step(`${name} killed`, async () => {
      await kill()
      await wait(settleMs / 2, undefined, { signal })
      const before = answered.get(name) ?? 0
      await wait(settleMs / 2, undefined, { signal })
      if ((answered.get(name) ?? 0) !== before) throw new Error(`${name} is dead and page views name it all the same`)
    })
    killedSlowestMs[name] = Math.round(slowest)
    restoredSeconds[name] = await step(`${name} restored`, start)
    await settle()
  }

  async function restore(one: Member): Promise<void> {
    const { name } = one.plan
    await sandbox.startMember(name)
    await sandbox.memberReady(name, readyMs)
    const before = answered.get(name) ?? 0
    const used = () => Promise.resolve((answered.get(name) ?? 0) > before)
    await until(usedMs, `${name} is back, and no page view is answered by it`, used, signal)
  }

  async function step(name: string, work: () => Promise<unknown>): Promise<number> {
    const started = Date.now()
    const before = shopper.counts()
    await work()
    const after = shopper.counts()
    const seconds = Math.round((Date.now() - started) / 100) / 10
    const views = `${after.requests - before.requests} page views, ${after.failed - before.failed} failed`
    say(`  ${name.padEnd(24)} ${`${seconds} s`.padEnd(8)} ${views}`)
    return seconds
  }
}
