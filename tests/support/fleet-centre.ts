import { existsSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { giveDatabase } from '#tests/support/database-template.ts'
import { type Program, startProgram } from '#tests/support/fleet-program.ts'
import { eventually } from '#tests/support/until.ts'

/** The centre of a fleet: one process with its embedded database in a directory. */
export type FleetCentre = {
  readonly host: string
  readonly port: number
  /** Control-plane CA, PEM. */
  readonly caFile: string
  /** The operator's. */
  readonly keyFile: string
  /** Resolves when it says that it is ready. */
  start(): Promise<void>
  /** SIGKILL; the directory stays. */
  kill(): Promise<void>
  /** SIGTERM, and the end of it. */
  stop(): Promise<void>
  /** Throws while it does not run. */
  pid(): number
  /** The operator's call: the parsed answer. Throws where it does not answer with 2xx, with the centre's own words. */
  call(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<unknown>
}

const readyMs = 60_000
const answerMs = 5000
const stopMs = 5000

export function fleetCentre(parts: {
  readonly program: string
  /** 127.0.0.1 where absent. */
  readonly host?: string
  readonly port: number
  readonly dir: string
  readonly log: string
  readonly env?: Readonly<Record<string, string>>
}): FleetCentre {
  const { dir, port, log, host = '127.0.0.1' } = parts
  const caFile = join(dir, 'control-plane-ca.pem')
  const keyFile = join(dir, 'admin.key')
  let running: Program | undefined

  const call: FleetCentre['call'] = (method, path, body) =>
    new Promise((resolve, reject) => {
      const key = readFileSync(keyFile, 'utf8').trim()
      const asked = request(
        {
          ...{ host, port, method, path, agent: false, timeout: answerMs, ca: readFileSync(caFile) },
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        },
        (answer) => {
          let text = ''
          answer.setEncoding('utf8')
          answer.on('data', (part) => {
            text += part
          })
          answer.on('error', reject)
          answer.on('end', () => {
            const status = answer.statusCode ?? 0
            if (status < 200 || status > 299) return reject(new Error(`${method} ${path}: ${status} ${text}`))
            resolve(/json/.test(answer.headers['content-type'] ?? '') ? JSON.parse(text) : text)
          })
        },
      )
      asked.on('timeout', () => asked.destroy(new Error(`no answer to ${method} ${path} in ${answerMs} ms`)))
      asked.on('error', reject)
      asked.end(body === undefined ? undefined : JSON.stringify(body))
    })

  return {
    ...{ host, port, caFile, keyFile, call },
    kill: async () => running?.kill(),
    stop: async () => running?.stop(stopMs),
    pid: () => {
      const pid = running?.pid()
      if (pid === undefined) throw new Error('the centre does not run')
      return pid
    },
    start: async () => {
      if (!parts.env?.['DATABASE_URL'] && !existsSync(join(dir, 'database'))) await giveDatabase(dir)
      running = startProgram({
        name: 'centre',
        command: [
          ...[process.execPath, parts.program, '--listen', `${host}:${port}`],
          ...['--url', `https://${host}:${port}`, '--data', dir, '--key-file', keyFile],
        ],
        log,
        ...(parts.env ? { env: parts.env } : {}),
      })
      await eventually(readyMs, 'the centre is ready', async () => {
        if (running?.pid() === undefined) throw new Error('it has ended')
        if (!existsSync(caFile) || !existsSync(keyFile)) return false
        await call('GET', '/readyz')
        return true
      })
    },
  }
}

/** Announces the cluster and makes it a join token. */
export async function joinTokenOf(centre: FleetCentre, cluster: { name: string; network: string; region: string }) {
  const { name, network, region } = cluster
  await centre.call('POST', '/v1/clusters', { name, network, region })
  const made = await centre.call('POST', `/v1/clusters/${name}/join-tokens`)
  return (made as { readonly token: string }).token
}
