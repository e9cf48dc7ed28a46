import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { envoyLog, envoyLogFormat } from '#gateway/proxy/envoy-log.ts'
import type { Clock } from '#gateway/proxy/keep-certificate.ts'
import { forgetEnvoy, killLeftOver, noteEnvoy } from '#gateway/proxy/left-over.ts'
import type { Log } from '#gateway/proxy/log.ts'

export type EnvoyCommand = {
  readonly binary: string
  readonly bootstrap: string
  readonly pidFile: string
  readonly concurrency: number
  readonly logLevel: string
  /** Takes Envoy's access log; it goes where this program's own goes where absent. */
  readonly follow?: (stdout: Readable) => void
}

export type Envoy = {
  readonly running: () => boolean
  readonly starts: () => number
  /** Ends Envoy: SIGTERM, and SIGKILL after 3 s. It is not started again. */
  readonly stop: () => Promise<void>
}

const backoffMsMin = 100
const backoffMsMax = 10_000
/** An Envoy that lived this long was healthy: the next crash is a new story. */
const healthyMs = 30_000
const killMs = 3_000

/** Drain times: listeners that go away close their connections after 20 s, as the relay's trust changes count on. */
const flagsOf = (command: EnvoyCommand): readonly string[] => [
  ...['-c', command.bootstrap, '--disable-hot-restart', '--allow-unknown-static-fields'],
  ...['--drain-time-s', '20', '--drain-strategy', 'immediate'],
  ...['--concurrency', String(command.concurrency), '-l', command.logLevel, '--log-format', envoyLogFormat],
]

/**
 * Starts Envoy and starts it again whenever it ends, 0.1 to 10 s apart. Envoy dies with this program, also when that is
 * killed: the kernel sends it SIGKILL (`setpriv --pdeathsig`), and where that is missing the next start kills it by its
 * note. Envoy runs in a session of its own (Ctrl-C drains, it does not cut), with an empty environment and no core
 * dumps, which would hold the key.
 */
export function keepEnvoy(command: EnvoyCommand, log: Log, clock: Clock): Envoy {
  const stopping = new AbortController()
  let child: ChildProcess | undefined
  let starts = 0
  const left = killLeftOver(command.pidFile, command.bootstrap)
  if (left !== undefined) log.warn({ pid: left }, 'an Envoy of an earlier run was still there; killed')
  const guard = guardOf(log)

  const runOnce = (): Promise<string> =>
    new Promise((done) => {
      const [program = command.binary, ...words] = [...guard, command.binary, ...flagsOf(command)]
      starts += 1
      child = spawn(program, words, {
        detached: true,
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
        stdio: ['ignore', command.follow ? 'pipe' : 'inherit', 'pipe'],
      })
      child.on('error', (error) => done(`cannot be started: ${error.message}`))
      child.on('close', (code, signal) => done(signal ? `was ended by ${signal}` : `ended with code ${code}`))
      if (child.stdout) command.follow?.(child.stdout)
      if (child.stderr) createInterface({ input: child.stderr }).on('line', envoyLog(log))
      if (child.pid === undefined) return
      try {
        noteEnvoy(command.pidFile, child.pid)
      } catch (err) {
        log.warn({ err, file: command.pidFile }, 'the note about the running Envoy cannot be written')
      }
      log.info({ pid: child.pid, starts }, 'Envoy started')
    })

  const loop = async () => {
    for (let failures = 0; !stopping.signal.aborted; ) {
      const startedMs = clock.now().getTime()
      const end = await runOnce()
      child = undefined
      forgetEnvoy(command.pidFile)
      if (stopping.signal.aborted) return
      failures = clock.now().getTime() - startedMs > healthyMs ? 0 : failures + 1
      const restartMs = Math.round(
        Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(failures - 1, 16)) * (0.5 + clock.random() / 2),
      )
      log.error({ restartMs, binary: command.binary }, `Envoy ${end}; it is started again`)
      await clock.wait(restartMs, stopping.signal)
    }
  }
  const ended = loop()
  return {
    running: () => child?.pid !== undefined && child.exitCode === null && child.signalCode === null,
    starts: () => starts,
    stop: async () => {
      stopping.abort()
      child?.kill('SIGTERM')
      const kill = setTimeout(() => child?.kill('SIGKILL'), killMs)
      await ended
      clearTimeout(kill)
    },
  }
}

/**
 * The words before Envoy's own command line. The shell's test closes the gap in which this program dies before the
 * kernel was told: then the parent is no longer this one. `exec` keeps one process, so the pid is Envoy's.
 */
function guardOf(log: Log): readonly string[] {
  const shell = ['sh', '-c', 'ulimit -c 0; [ "$PPID" = "$0" ] || exit 1; exec "$@"', String(process.pid)]
  const guard = ['setpriv', '--pdeathsig', 'KILL', ...shell]
  const path = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }
  const [program = '', ...words] = [...guard, 'true']
  const found = spawnSync(program, words, { env: path, stdio: 'ignore', timeout: 2_000 })
  if (found.status === 0) return [...guard]
  log.debug('no setpriv here: an Envoy that outlives this program is ended at the next start')
  return []
}
