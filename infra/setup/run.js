// The door of every npm script: makes sure that what the task needs is there, then runs the task on Node 24.
// Plain JavaScript without dependencies, because Node 20 runs it before anything is installed.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exitCodeOf } from './child.js'
import { fetchEnvoy, findEnvoy } from './envoy.js'
import { buildKubernetes, findKubernetes } from './kubernetes.js'
import { checkMachine } from './machine.js'
import { ownNetwork } from './own-network.js'
import { finishPackages, installPackages, whyInstall } from './packages.js'
import { SetupError, say } from './say.js'
import { lookAhead } from './start-ahead.js'
import { withTurn } from './turn.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const bin = join(root, 'node_modules/.bin')

/**
 * What each npm script runs: a program of node_modules/.bin or a file for Node 24, on which paths where none are given,
 * the parts it needs, what it sets.
 */
const tasks = {
  start: { command: ['node', 'infra/local/main.ts'], envoy: true, bundles: true },
  test: { command: ['vitest', 'run'], envoy: true },
  'test:faults': {
    command: ['vitest', 'run', 'tests/contract/faults.test.ts', 'tests/contract/channel.test.ts'],
    env: { ISTHMUS_FAULTS: process.env.ISTHMUS_FAULTS ?? '300' },
  },
  'test:crashes': { command: ['vitest', 'run'], envoy: true, env: { ISTHMUS_CRASHES: '1' } },
  'test:fuzz': {
    command: ['vitest', 'run', 'tests/fuzz'],
    env: { ISTHMUS_FUZZ_SECONDS: process.env.ISTHMUS_FUZZ_SECONDS ?? '60' },
  },
  'test:rotation': {
    command: ['vitest', 'run', 'tests/rotation'],
    envoy: true,
    env: { ISTHMUS_ROTATION: '1' },
  },
  'test:failover': {
    command: ['vitest', 'run', 'tests/failover'],
    envoy: true,
    ownNetwork: true,
    env: { ISTHMUS_FAILOVER: '1' },
  },
  'test:kubernetes': {
    command: ['vitest', 'run'],
    paths: ['tests/kubernetes'],
    envoy: true,
    kubernetes: true,
    ownNetwork: true,
    env: { ISTHMUS_KUBERNETES: '1' },
  },
  golden: {
    command: [
      ...['vitest', 'run', 'mesh/translate', 'tests/contract/cli-golden.test.ts', 'cli/onboard'],
      'tests/contract/trust-envoy-matrix.test.ts',
    ],
    env: { UPDATE_GOLDEN: '1' },
  },
  bench: { command: ['node', 'tests/bench/main.ts'], bundles: true },
  build: { command: ['node', '-p', '"dist/ has the programs, a few files each"'], bundles: true },
  lint: { command: ['biome', 'check'] },
  types: { command: ['tsc', '-p', '.'] },
}

const startedAt = Date.now()

async function main([name, ...args]) {
  const task = tasks[name]
  if (!task) throw new SetupError(`"${name ?? ''}" is no task: say one of ${Object.keys(tasks).join(', ')}.`)
  checkMachine()
  const needs = name === 'start' && args.some((one) => one === '--help' || one === '-h') ? {} : task
  const envoy = await withAbort(async (abort) => {
    if (name === 'start' && needs === task) await sayAhead(abort)
    return await prepare(needs, abort)
  })
  const [program, ...first] = task.command
  const network = task.ownNetwork ? ownNetwork() : undefined
  const paths = args.some((one) => !one.startsWith('-')) ? [] : (task.paths ?? [])
  return await execute([...(network ?? []), join(bin, program), ...first, ...paths, ...args], {
    // As for the command line: what an earlier start compiled is not compiled again.
    NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/isthmus-compiled'),
    ...process.env,
    ...task.env,
    PATH: [bin, process.env.PATH].join(delimiter),
    ...(envoy && { ISTHMUS_ENVOY: envoy }),
    ...(network && { ISTHMUS_OWN_NETWORK: '1' }),
    ISTHMUS_STARTED_AT: String(startedAt),
  })
}

/** Before a start that downloads: what would end it afterwards, ends it now. */
async function sayAhead(abort) {
  const needsEnvoy = (await findEnvoy()) === undefined
  if (!needsEnvoy && whyInstall(root) === undefined) return
  say(`machine: ${await lookAhead({ root, needsEnvoy, abort })}`)
}

/** Everything the task stands on; gives back the path of Envoy where the task needs one. */
async function prepare(task, abort) {
  await withTurn(join(root, '.isthmus'), abort, async () => {
    const why = whyInstall(root)
    if (why) await installPackages(root, why, abort)
    finishPackages(root)
    const { generate } = await import('./generate.js')
    if (generate(root)) say('generated code: made anew in gen/')
    if (task.bundles) await (await import('./bundle.js')).bundle(root)
  })
  if (task.kubernetes && !findKubernetes()) await buildKubernetes({ abort })
  if (!task.envoy) return undefined
  return (await findEnvoy()) ?? (await fetchEnvoy({ abort }))
}

/** Runs `work` so that Ctrl-C lets it clean up behind itself first. */
async function withAbort(work) {
  const controller = new AbortController()
  const stop = (signal) => controller.abort(signal)
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, stop)
  try {
    const outcome = await settled(work(controller.signal))
    // A terminal's Ctrl-C ends a child first, and work that waits for one blocks the event loop: let our own signal be heard.
    await new Promise((resolve) => setTimeout(resolve, 10))
    if (controller.signal.aborted) {
      say('stopped; nothing half done was kept')
      process.exit(exitCodeOf(null, controller.signal.reason, constants.signals))
    }
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  } finally {
    for (const signal of signals) process.off(signal, stop)
  }
}

const settled = async (work) => (await Promise.allSettled([work]))[0]

/**
 * Runs the program with our standard streams and gives back its exit code. Signals are passed on, except the Ctrl-C of a
 * terminal, which the program has had already: a terminal sends it to the whole group.
 */
function execute([program, ...args], env) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, env, stdio: 'inherit' })
    const pass = (signal) => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, pass)
    child.once('error', (error) => reject(new SetupError(cannotRun(program, error))))
    child.once('exit', (code, signal) => resolve(exitCodeOf(code, signal, constants.signals)))
  })
}

const cannotRun = (program, error) =>
  existsSync(program)
    ? `${program} does not run on this machine (${error.code}): Isthmus needs Linux with glibc 2.28 or newer.`
    : `${program} is missing, though the packages are installed: run "npm ci --ignore-scripts" and read what it says.`

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error) => {
    say(error instanceof SetupError ? error.message : `set-up failed: ${error.stack}`)
    process.exitCode = 1
  },
)
