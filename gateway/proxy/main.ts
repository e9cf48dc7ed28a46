import { accessSync, constants, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '#gateway/proxy/keep-certificate.ts'
import { type Log, openLog } from '#gateway/proxy/log.ts'
import { runProxy } from '#gateway/proxy/run.ts'
import { flagOf, parseFlags, settingRows, settingsOfEnvironment, variableOf } from '#gateway/proxy/setting-rows.ts'
import { type ProxySettings, parseSettings } from '#gateway/proxy/settings.ts'
import { Problem } from '#mesh/model/problem.ts'

/** The program beside one Envoy: `isthmus proxy sidecar|router [--settings FILE.json] [--<setting> value]…` */
const clock: Clock = {
  now: () => new Date(),
  wait: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined),
  random: Math.random,
}

/** Flags win over the environment, the environment over the file. */
function readSettings(argv: readonly string[], env: NodeJS.ProcessEnv): ProxySettings {
  const { positional, flags } = parseFlags(argv)
  const { settings: file = env['ISTHMUS_SETTINGS'], ...given } = flags
  const settings = parseSettings(positional[0], { ...readFile(file), ...settingsOfEnvironment(env), ...given })
  const stray = positional[1]
  if (stray !== undefined) throw new Problem('invalid', `"${stray}" is one word too many after ${positional[0]}`)
  try {
    accessSync(settings.envoy, constants.X_OK)
  } catch (cause) {
    throw new Problem('invalid', `${settings.envoy} is no program that can be run; mend --envoy`, { cause })
  }
  return settings
}

function readFile(file: string | undefined): Record<string, unknown> {
  if (!file) return {}
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) return { ...value }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Problem('invalid', `the settings file ${file} cannot be read: ${reason}; mend it, or --settings`, {
      cause,
    })
  }
  throw new Problem('invalid', `the settings file ${file} is not a JSON object; mend it, or --settings`)
}

const usage = () =>
  [
    'isthmus proxy sidecar|router [--settings FILE.json] [--<setting> value]…',
    ...Object.entries(settingRows).map(
      ([name, row]) =>
        `  ${flagOf(name).padEnd(22)} ${variableOf(name).padEnd(26)} ${row.help}${row.standard ? ` (${row.standard})` : ''}`,
    ),
  ].join('\n')

async function main(): Promise<void> {
  const argv = process.argv.slice(2)
  if (argv.length === 0 || argv.includes('--help')) return void console.log(usage())
  process.umask(0o077)
  let log: Log = openLog('info', {})
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'a fault of ours: this program ends, and Envoy with it')
    process.exit(1)
  })
  try {
    const settings = readSettings(argv, process.env)
    log = openLog(settings.logLevel, { proxy: `${settings.pod}.${settings.namespace}` })
    const running = runProxy(settings, log, clock, () => stop('/quitquitquit'))
    const stop = (why: string) => {
      log.info({ why }, 'draining')
      running
        .then((proxy) => proxy.stop())
        .then(() => process.exit(0))
        .catch((err: unknown) => {
          log.fatal({ err }, 'the end went wrong')
          process.exit(1)
        })
    }
    process.on('SIGTERM', () => stop('SIGTERM'))
    process.on('SIGINT', () => stop('SIGINT'))
    await running
  } catch (err) {
    for (const { path, reason } of err instanceof Problem ? err.violations : []) log.error(`${path} ${reason}`)
    log.fatal({ err }, err instanceof Error ? err.message : String(err))
    process.exit(1)
  }
}

await main()
