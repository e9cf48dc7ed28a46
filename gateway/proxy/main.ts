import { accessSync, constants, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { askToDrain } from '#gateway/proxy/ask-drain.ts'
import type { Clock } from '#gateway/proxy/keep-certificate.ts'
import { type Log, openLog } from '#gateway/proxy/log.ts'
import { runProxy } from '#gateway/proxy/run.ts'
import { hostPortOf } from '#gateway/proxy/setting-reader.ts'
import {
  flagOf,
  parseFlags,
  settingRows,
  settingsOfEnvironment,
  usage,
  variableOf,
} from '#gateway/proxy/setting-rows.ts'
import { type ProxySettings, parseSettings } from '#gateway/proxy/settings.ts'
import { failureText } from '#mesh/model/failure-text.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
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
  const [kind = '', stray] = positional
  if (kind !== 'sidecar' && kind !== 'router') {
    const why = `${kind === '' ? 'it is not said' : `"${kind}" is no word for`} what kind of proxy this is: sidecar or router`
    throw new Problem('invalid', why, { extra: usage })
  }
  if (stray !== undefined)
    throw new Problem('invalid', `"${stray}" is one word too many after ${kind}`, { extra: usage })
  const { settings: file = env['ISTHMUS_SETTINGS'], ...given } = flags
  const settings = parseSettings(kind, { ...readFile(file), ...settingsOfEnvironment(env), ...given })
  try {
    accessSync(settings.envoy, constants.X_OK)
  } catch (cause) {
    throw new Problem('invalid', `Envoy cannot be run: ${fileFault(cause)}`, {
      cause,
      extra: {
        on: settings.envoy,
        mend: 'name an Envoy 1.40 with --envoy; npm start puts one into ~/.cache/isthmus',
      },
    })
  }
  return settings
}

function readFile(file: string | undefined): Record<string, unknown> {
  if (!file) return {}
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) return { ...value }
  } catch (cause) {
    const extra = { on: file, mend: 'mend that file, or name another with --settings' }
    throw new Problem('invalid', `the settings cannot be read: ${fileFault(cause)}`, { cause, extra })
  }
  throw new Problem('invalid', 'the settings are not a JSON object', {
    extra: { on: file, mend: 'mend that file, or name another with --settings' },
  })
}

const help = () =>
  [
    'isthmus proxy sidecar|router [--settings FILE.json] [--<setting> value]…',
    'isthmus proxy drain [--status host:port]    tells the proxy of this pod to send callers elsewhere: the pod is going',
    ...Object.entries(settingRows).map(
      ([name, row]) =>
        `  ${flagOf(name).padEnd(22)} ${variableOf(name).padEnd(26)} ${row.help}${row.standard ? ` (${row.standard})` : ''}`,
    ),
  ].join('\n')

/** `isthmus proxy drain`, run by the pod's `preStop` beside the proxy that it speaks to. */
async function drain(argv: readonly string[]): Promise<void> {
  try {
    const { flags } = parseFlags(argv)
    const said = flags['status'] ?? settingsOfEnvironment(process.env)['status'] ?? settingRows['status']?.standard
    const at = hostPortOf(String(said))
    if (!at) throw new Problem('invalid', `"${String(said).slice(0, 80)}" is not host:port`, { extra: usage })
    await askToDrain(at)
  } catch (error) {
    console.error(`isthmus proxy drain: ${(error as Error).message}`)
    process.exit(1)
  }
}

async function main(): Promise<void> {
  const argv = process.argv.slice(2)
  if (argv.length === 0 || argv.some((one) => one === '--help' || one === '-h')) return void console.log(help())
  if (argv[0] === 'drain') return await drain(argv.slice(1))
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
    tell(err, argv[0] ?? '', log)
    process.exit(err instanceof Problem && err.extra['usage'] === true ? 2 : 1)
  }
}

/** For whoever sits at a terminal, the lines that every command gives; for a log, one line of it. */
function tell(err: unknown, kind: string, log: Log): void {
  const { stdout, stderr } = process
  if (err instanceof Problem && (stdout.isTTY || stderr.isTTY))
    stderr.write(failureText(`proxy ${kind.startsWith('-') ? '' : kind}`.trim(), err, 'isthmus proxy --help'))
  if (err instanceof Problem && stdout.isTTY) return
  const { violations, extra } = err instanceof Problem ? err : { violations: [], extra: {} }
  for (const { path, reason } of violations) log.error(`${path} ${reason}`)
  const { on, mend } = extra as { readonly on?: string; readonly mend?: string }
  const more = `${on === undefined ? '' : ` (${on})`}${mend === undefined ? '' : `; ${mend}`}`
  log.fatal({ err }, `${err instanceof Error ? err.message : String(err)}${more}`)
}

void main()
