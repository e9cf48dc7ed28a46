import { watchEdits } from './edits.ts'
import { watchFleet } from './fleet-state.ts'
import type { SandboxPlan } from './plan.ts'
import { type Sandbox, stateSocket } from './sandbox.ts'
import { everywhere, type Shift } from './shifts.ts'
import { startShopper } from './shopper.ts'
import { serveState } from './state-door.ts'
import { openTraffic, type Traffic } from './traffic.ts'

/** Everything that looks at a running sandbox: shoppers who never pause, what they see, and the door of the page. */
export type Watched = { readonly traffic: Traffic; close(): void }

const perSecond = 50
const lookMs = 250

export async function openWatch(
  sandbox: Sandbox,
  plan: SandboxPlan,
  onShift: (shift: Shift) => void,
): Promise<Watched> {
  const traffic = openTraffic()
  const watch = watchFleet(sandbox, traffic)
  const door = await serveState(stateSocket(plan), watch)
  const shopper = startShopper(plan.shop.host, plan.shop.port, perSecond, traffic.saw)
  const edits = watchEdits(sandbox, (words) => traffic.did(everywhere, words))
  const timer = setInterval(() => traffic.look().forEach(onShift), lookMs)
  return {
    traffic,
    close: () => {
      clearInterval(timer)
      edits.close()
      void shopper.stop()
      watch.stop()
      door.close()
    },
  }
}
