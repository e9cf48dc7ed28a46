import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { centreUrl } from './centre.ts'
import { checkAddresses } from './check-addresses.ts'
import { writeCliContext } from './cli-context.ts'
import { takeTurn } from './one-at-a-time.ts'
import { planSandbox } from './plan.ts'
import { openSandbox, until } from './sandbox.ts'
import { visit } from './shopper.ts'
import { smoke } from './smoke.ts'

// `npm start`: the sandbox federation in the foreground. Ends on Ctrl-C with nothing left behind.
const started = Date.now()
const root = join(import.meta.dirname, '../..')
const usage =
  'usage: npm start [-- --fresh] [-- --smoke]\n  --fresh  begin with an empty fleet\n  --smoke  bring up, kill and restore, check, tear down'

process.exitCode = await main().catch((error: Error) => {
  process.stderr.write(`✘ ${error.message}\n`)
  return 1
})

async function main(): Promise<number> {
  const options = parseOptions()
  if (!options) return 2
  const plan = planSandbox(root, options.smoke ? { ISTHMUS_SANDBOX: '.isthmus/smoke', ...process.env } : process.env)
  const envoy = process.env['ISTHMUS_ENVOY']
  if (!envoy) throw new Error('there is no Envoy: start with `npm start`, which gets it')
  const addresses = `Shop http://${plan.shop.host}:${plan.shop.port} · API ${centreUrl(plan)}/docs`
  const turn = takeTurn(plan.dir)
  if (!turn) {
    say(`The sandbox runs already. ${addresses}`)
    return 0
  }
  const faults = await checkAddresses(plan)
  if (faults.length > 0) {
    turn.release()
    throw new Error(faults.join('\n✘ '))
  }
  if (options.fresh || options.smoke)
    for (const part of ['centre', 'clusters', 'logs']) rmSync(join(plan.dir, part), { recursive: true, force: true })

  const sandbox = openSandbox({ root, plan, envoy, say })
  const remember = setInterval(() => turn.programs(sandbox.programs().flatMap((one) => one.pid() ?? [])), 500)
  const stopping = new AbortController()
  const asked = new Promise<'asked'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => {
        stopping.abort()
        resolve('asked')
      })
  })
  try {
    const work = bringUp().then(() => (options.smoke ? runSmoke() : stay()))
    const end = await Promise.race([work, asked])
    if (end === 'asked') {
      say('stopping …')
      return options.smoke ? 130 : 0
    }
    return end
  } finally {
    clearInterval(remember)
    await sandbox.stop()
    turn.release()
  }

  async function bringUp(): Promise<void> {
    await sandbox.startCentre()
    writeCliContext(plan, process.env)
    done('centre', centreUrl(plan))
    await Promise.all(plan.clusters.map((cluster) => sandbox.startMember(cluster.name)))
    done('relays', `${plan.clusters.map((cluster) => cluster.name).join('  ')}  joined`)
    await sandbox.startFrontDoor().catch(() => undefined)
    await Promise.all(plan.clusters.map((cluster) => sandbox.memberReady(cluster.name, 90_000)))
    done('pods', 'every pod and gateway is ready')
    let crossed: readonly string[] = []
    let reason = ''
    await until(30_000, 'no page view is whole', async () => {
      const seen = await visit(plan.shop.host, plan.shop.port)
      crossed = [...new Set(seen.clusters)]
      reason = seen.reason ?? ''
      return seen.ok && crossed.length > 1
    }).catch((error: Error) => {
      throw new Error(`${error.message}; the last one: ${reason || `answered by ${crossed.join(', ')} alone`}`)
    })
    done('shop', `one page view crossed ${crossed.length} clusters`)
  }

  async function stay(): Promise<number> {
    say(`Ready. ${addresses} · second terminal: npx --no isthmus status   (Ctrl-C ends)`)
    await asked
    return 0
  }

  async function runSmoke(): Promise<number> {
    const { ok, ...result } = await smoke(sandbox, plan, Math.round((Date.now() - started) / 100) / 10, say)
    await sandbox.stop()
    process.stdout.write(`${JSON.stringify(result)}\n`)
    return ok ? 0 : 1
  }
}

function parseOptions(): { readonly fresh: boolean; readonly smoke: boolean } | undefined {
  try {
    const { values } = parseArgs({
      options: { fresh: { type: 'boolean' }, smoke: { type: 'boolean' }, help: { type: 'boolean' } },
    })
    if (!values.help) return { fresh: values.fresh ?? false, smoke: values.smoke ?? false }
    say(usage)
  } catch (error) {
    process.stderr.write(`✘ ${(error as Error).message}\n${usage}\n`)
  }
  return undefined
}

function done(what: string, facts: string): void {
  say(`✔ ${what.padEnd(8)} ${facts.padEnd(70)} ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
