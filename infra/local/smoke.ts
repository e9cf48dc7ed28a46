import type { SandboxPlan } from './plan.ts'
import type { Sandbox } from './sandbox.ts'
import { startShopper } from './shopper.ts'

const perSecond = 20
const settleMs = 3000
const readyMs = 60_000

/**
 * Drives the page at a steady rate while clusters and the centre die and come back. Gives what is printed as the last
 * line; `failed` counts page views that a shopper saw fail. Times are seconds.
 */
export async function smoke(sandbox: Sandbox, plan: SandboxPlan, startSeconds: number, say: (line: string) => void) {
  const shopper = startShopper(plan.shop.host, plan.shop.port, perSecond)
  const seconds: Record<string, number> = { start: startSeconds }
  const step = async (name: string, work: () => Promise<void>) => {
    const started = Date.now()
    const before = shopper.counts()
    await work()
    const after = shopper.counts()
    seconds[name] = Math.round((Date.now() - started) / 100) / 10
    say(
      `${name}: ${seconds[name]} s, ${after.requests - before.requests} page views, ${after.failed - before.failed} failed`,
    )
  }
  const [first, , third] = sandbox.members
  if (!first || !third) throw new Error('the smoke test needs three clusters')
  await step('steady', () => pause(settleMs))
  for (const one of [first, third]) {
    await step(`kill ${one.plan.name}`, async () => {
      await one.kill()
      await pause(settleMs)
    })
    await step(`restore ${one.plan.name}`, async () => {
      await sandbox.startMember(one.plan.name)
      await sandbox.memberReady(one.plan.name, readyMs)
      await pause(settleMs)
    })
  }
  await step('kill centre', async () => {
    await sandbox.killCentre()
    await pause(settleMs)
  })
  await step('restore centre', async () => {
    await sandbox.startCentre()
    await pause(settleMs)
  })
  await shopper.stop()
  const counts = shopper.counts()
  for (const one of shopper.failures())
    say(`failed at ${new Date(one.at).toISOString()} after ${Math.round(one.ms)} ms: ${one.reason}`)
  const ok = counts.failed === 0 && counts.requests > 0 && counts.crossCluster > 0
  return { ok, ...counts, slowestMs: shopper.slowestMs(), seconds }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
