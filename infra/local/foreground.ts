import { type CliContext, statusCommand } from './cli-context.ts'
import { type ControlDoor, controlSocket, serveControl } from './control-door.ts'
import { openDeeds } from './deeds.ts'
import { type Keys, listenToKeys } from './keys.ts'
import { openWatch, type Watched } from './open-watch.ts'
import type { SandboxPlan } from './plan.ts'
import type { Sandbox } from './sandbox.ts'
import { type Screen, trafficLine } from './screen.ts'
import type { Shift } from './shifts.ts'

export type ForegroundParts = {
  readonly sandbox: Sandbox
  readonly plan: SandboxPlan
  readonly screen: Screen
  readonly addresses: string
  /** Writes the command line's context anew, and says how it went. */
  readonly writeContext: () => CliContext
  readonly context: CliContext
  readonly quit: () => void
}

/** What runs beside a sandbox that is up: shoppers, the page's state, the socket of the command line, keys and the last line. */
export type Foreground = { close(): void }

const rewriteMs = 500

export async function openForeground(parts: ForegroundParts): Promise<Foreground> {
  const { sandbox, plan, screen, context } = parts
  let watched: Watched | undefined
  let control: ControlDoor | undefined
  let keys: Keys | undefined
  let timer: NodeJS.Timeout | undefined
  const close = () => {
    clearInterval(timer)
    keys?.close()
    control?.close()
    watched?.close()
    screen.close()
  }
  try {
    watched = await openWatch(sandbox, plan, (shift) => screen.say(shiftText(shift)))
    const { traffic } = watched
    const deeds = openDeeds({ sandbox, plan, did: traffic.did, onAdded: () => void parts.writeContext() })
    control = await serveControl({ path: controlSocket(plan), sandbox, deeds, say: screen.say })
    keys = listenToKeys({ sandbox, deeds, say: screen.say, quit: parts.quit })
    if (context.told !== undefined) screen.say(`  ${context.told}`)
    const written = context.name === undefined ? '' : `   (context "${context.name}" written)`
    screen.say(`Ready. ${parts.addresses} · second terminal: ${statusCommand(context)}${written}`)
    screen.say(keys?.help ?? 'Ctrl-C ends it and all that it started.')
    timer = setInterval(() => screen.status(trafficLine(traffic.summary())), rewriteMs)
    return { close }
  } catch (error) {
    close()
    throw error
  }
}

/** `14:07:02  reviews: ireland-1 → virginia-2 · 0 of 96 failed · ireland-1 was killed`. */
function shiftText({ atMs, service, from, to, failed, of, cause }: Shift): string {
  const time = new Date(atMs).toTimeString().slice(0, 8)
  const why = cause === undefined ? '' : ` · ${cause}`
  return `${time}  ${service}: ${from.join(', ')} → ${to.join(', ')} · ${failed} of ${of} failed${why}`
}
