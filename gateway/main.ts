import { existsSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import { loadRelaySettings, type RelaySettings } from '#gateway/settings.ts'
import { startRelay } from '#gateway/start-relay.ts'
import { logRedaction } from '#mesh/model/log-redaction.ts'
import { Problem } from '#mesh/model/problem.ts'

// `isthmus relay`: one process per cluster. Reads the environment and the command line here and nowhere else.
const usage = `usage: isthmus relay --dir <directory> [--join <token> | --join-file <file>]

  --dir        the cluster's directory: isthmus.yaml, manifests/, jwks.json, state/
  --join       a join token, made with: isthmus token create <cluster>
  --join-file  the same, read from a file ("-" = standard input)
  --log-level  trace, debug, info, warn or error (default info)
`

const levels: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error']

main().catch((error: NodeJS.ErrnoException) => {
  const isUsage = error.code?.startsWith('ERR_PARSE_ARGS') === true
  const usageText = `${error.message.split('. ')[0]}; see: isthmus relay --help`
  const text = isUsage ? usageText : error instanceof Problem ? error.message : (error.stack ?? error.message)
  process.stderr.write(`isthmus relay: ${text}\n`)
  process.exit(isUsage ? 2 : 1)
})

async function main(): Promise<void> {
  const options = parseOptions()
  if (!options) return
  const dir = resolve(options.dir)
  const log = pino({
    level: options.level,
    base: { part: 'relay' },
    redact: logRedaction,
  })
  const { settings, token } = settingsAndToken(options, join(dir, 'isthmus.yaml'))
  const relay = await startRelay({
    dir,
    settings,
    log,
    token,
    pod: {
      identity: process.env['POD_NAME'] ?? `${hostname()}-${process.pid}`,
      address: { host: process.env['POD_IP'] ?? settings.relay.address, port: settings.relay.handOnPort },
    },
  })
  const end = (signal: string) => {
    log.info({ signal }, 'ending')
    void relay.stop().finally(() => process.exit(0))
    setTimeout(() => process.exit(0), 4000).unref()
  }
  process.once('SIGTERM', end)
  process.once('SIGINT', end)
}

type Options = { dir: string; token: string | undefined; file: string | undefined; level: string }

function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string' },
      join: { type: 'string' },
      'join-file': { type: 'string' },
      'log-level': { type: 'string', default: 'info' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return undefined
  }
  if (values.dir === undefined) throw new Problem('invalid', `--dir is missing\n${usage}`)
  const file = values['join-file']
  const level = values['log-level']
  if (!levels.includes(level))
    throw new Problem('invalid', `--log-level "${level}" is none: give one of ${levels.join(', ')}`)
  return { dir: values.dir, level, token: values.join, file }
}

type Started = { readonly settings: RelaySettings; readonly token: () => string | undefined }

/** In a pod the file is a Secret's, there when somebody makes one and another one later; elsewhere it is read once. */
function settingsAndToken({ token, file }: Options, path: string): Started {
  if (token !== undefined || file === undefined) return { settings: loadRelaySettings(path), token: () => token }
  if (file === '-' || existsSync(file)) {
    const read = readToken(file)
    const settings = loadRelaySettings(path)
    const again = () => (existsSync(file) ? readToken(file) : undefined)
    return { settings, token: settings.kubernetes && file !== '-' ? again : () => read }
  }
  const settings = existsSync(path) ? loadRelaySettings(path) : undefined
  if (!settings?.kubernetes) throw unreadable(file, 'ENOENT')
  return { settings, token: () => (existsSync(file) ? readToken(file) : undefined) }
}

function readToken(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (cause) {
    throw unreadable(file, (cause as NodeJS.ErrnoException).code, cause)
  }
}

function unreadable(file: string, reason = 'unknown', cause?: unknown): Problem {
  return new Problem('invalid', `the file of --join-file, ${file}, cannot be read (${reason}): name the right one`, {
    cause,
  })
}
