import { existsSync, rmSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { withAdded } from './added-clusters.ts'
import { bringUp } from './bring-up.ts'
import { centreUrl } from './centre.ts'
import { checkAddresses } from './check-addresses.ts'
import { refuseEarlierClock } from './check-clock.ts'
import { type CliContext, writeCliContext } from './cli-context.ts'
import { faultOf } from './fault.ts'
import { type Foreground, openForeground } from './foreground.ts'
import { endLeftBehind, supervisorIn } from './left-behind.ts'
import { machineFacts, startedAt } from './machine-facts.ts'
import { takeTurn } from './one-at-a-time.ts'
import { parseOptions } from './options.ts'
import { planSandbox, type SandboxPlan, smokeEnvironment } from './plan.ts'
import { openSandbox } from './sandbox.ts'
import { emptyDirectory, openDirectory, refuseOtherAddresses, rememberAddresses } from './sandbox-directory.ts'
import { openScreen } from './screen.ts'
import { smoke } from './smoke.ts'

// `npm start`: the sandbox federation in the foreground. Ends on Ctrl-C with nothing left behind.
const started = startedAt(process.env, Date.now())
const screen = openScreen(process.stdout, process.env)
const root = join(import.meta.dirname, '../..')
/** What a stopping sandbox hears: the signal that asked, or `q`. */
type Asked = NodeJS.Signals | 'q'

// A terminal that is closed, or `| head`: nobody reads any more, and the end is to be as clean all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
process.umask(0o077)
process.exit(await main())

async function main(): Promise<number> {
  const stopping = new AbortController()
  let asked: Asked | undefined
  const ask = (how: Asked) => {
    if (asked !== undefined) onSecond()
    asked ??= how
    stopping.abort()
  }
  let onSecond = (): void => process.exit(1)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ask(signal))
  const options = parseOptions(process.argv.slice(2))
  if (typeof options === 'number') return options
  try {
    return await run(options)
  } catch (error) {
    if (asked !== undefined) return exitCodeOf(asked)
    screen.close()
    process.stderr.write(`✘ ${faultOf(error)}\n`)
    if (options.smoke) lastLine({ requests: 0, crossCluster: 0, failed: 0, error: faultOf(error).split('\n')[0] })
    return 1
  }

  async function run({ fresh, smoke: smoking }: { readonly fresh: boolean; readonly smoke: boolean }): Promise<number> {
    const first = planSandbox(root, smoking ? smokeEnvironment(process.env) : process.env)
    const plan = fresh || smoking ? first : withAdded(first)
    const envoy = process.env['ISTHMUS_ENVOY']
    if (!envoy) throw new Error('there is no Envoy: start with "npm start", which gets it')
    const addresses = `Shop http://${plan.shop.host}:${plan.shop.port} · API ${centreUrl(plan)}/docs`
    openDirectory(plan.dir)
    const turn = takeTurn(plan.dir, addresses)
    if (turn.kind === 'held') return besideAnother(`pid ${turn.by.pid}`, turn.by.addresses, fresh || smoking)
    // The file of the turn may have been deleted under a sandbox that lives: its programs know better whose they are.
    const living = supervisorIn(plan.runDir)
    if (living) {
      turn.release()
      return besideAnother(`pid ${living.pid}; its ${plan.dir}/running.json was deleted`, addresses, fresh || smoking)
    }
    try {
      const left = await endLeftBehind(plan.runDir)
      if (left > 0) say(`  ${left} programs of a sandbox that was killed were still there, and are ended`)
      if (!fresh && !smoking) {
        refuseOtherAddresses(plan)
        refuseEarlierClock(plan, Date.now())
      }
      const faults = left > 0 ? await onceReleased(plan) : await checkAddresses(plan)
      if (faults.length > 0) throw new Error(faults.join('\n✘ '))
      done('machine', await machineFacts(envoy))
      if (fresh || smoking) emptyDirectory(plan.dir)
      rememberAddresses(plan)
      return await play(plan, envoy, addresses, smoking)
    } finally {
      rmSync(plan.runDir, { recursive: true, force: true })
      turn.release()
    }
  }

  /** A second start says where the first one is; one that would begin anew cannot. */
  function besideAnother(who: string, addresses: string, isAlone: boolean): number {
    const fact = `The sandbox runs already (${who}). ${addresses}`
    if (isAlone) throw new Error(`${fact} · end it first (Ctrl-C there), or set ISTHMUS_SANDBOX to another directory`)
    say(fact)
    return 0
  }

  async function play(plan: SandboxPlan, envoy: string, addresses: string, smoking: boolean) {
    stopping.signal.throwIfAborted()
    const isNew = !existsSync(plan.centre.dir)
    say(
      `Starting ${isNew ? 'a new fleet' : 'the fleet'} in ${plan.dir} …${isNew ? ' (a first start takes longer)' : ''}`,
    )
    const sandbox = openSandbox({ root, plan, envoy, say })
    onSecond = () => void sandbox.kill()
    let foreground: Foreground | undefined
    try {
      let context: CliContext = { words: '' }
      const writeContext = () => {
        const clusters = sandbox.members.map((one) => one.plan)
        return writeCliContext({ ...plan, clusters }, process.env)
      }
      const centreUp = () => {
        if (!smoking) context = writeContext()
      }
      await untilAsked(bringUp(sandbox, plan, { done, centreUp, warn: say }, stopping.signal))
      if (smoking) {
        const { ok, ...result } = await untilAsked(smoke(sandbox, plan, seconds(), say, stopping.signal))
        await sandbox.stop()
        lastLine(result)
        return ok ? 0 : 1
      }
      const quit = () => ask('q')
      foreground = await openForeground({ sandbox, plan, screen, addresses, writeContext, context, quit })
      return await untilAsked(new Promise<number>(() => undefined)).catch(() => 0)
    } finally {
      foreground?.close()
      if (asked !== undefined) say('stopping …')
      await sandbox.stop()
    }
  }

  // Ends with the work, or when the user asks, whichever is first.
  function untilAsked<T>(work: Promise<T>): Promise<T> {
    const end = new Promise<never>((_, reject) => {
      if (stopping.signal.aborted) reject(stopping.signal.reason)
      stopping.signal.addEventListener('abort', () => reject(stopping.signal.reason))
    })
    return Promise.race([work, end])
  }
}

/** The kernel takes down a killed program's sockets a moment after the program: asked again for up to five seconds. */
async function onceReleased(plan: SandboxPlan): Promise<readonly string[]> {
  for (const end = Date.now() + 5000; ; ) {
    const faults = await checkAddresses(plan)
    if (faults.length === 0 || Date.now() > end) return faults
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function exitCodeOf(asked: Asked): number {
  return asked === 'q' ? 1 : 128 + constants.signals[asked]
}

function done(what: string, facts: string): void {
  screen.done(what, facts, seconds())
}

/** Since the user's command, rounded to tenths. */
function seconds(): number {
  return Math.round((Date.now() - started) / 100) / 10
}

function lastLine(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

function say(line: string): void {
  screen.say(line)
}
