import { mkdirSync, readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { adminAt, statsOf } from '#gateway/proxy/envoy-admin.ts'
import { type Program, startProgram } from '#tests/support/fleet-program.ts'
import { eventually } from '#tests/support/until.ts'

export type ProxyParts = {
  readonly name: string
  readonly type: 'sidecar' | 'router'
  /** Flags without their dashes. */
  readonly settings: Readonly<Record<string, string>>
  readonly dir: string
  readonly log: string
  readonly status: { readonly host: string; readonly port: number }
  readonly program: string
  readonly envoy: string
  readonly onExit: () => void
}

/** One `isthmus proxy` and its Envoy, as a kubelet keeps them: started again whenever they end. */
export type FleetProxy = {
  ready(): Promise<boolean>
  /** Body of an answer of Envoy's admin interface. */
  admin(path: string): Promise<string>
  /** Numbers of Envoy's stats whose names match the regular expression. */
  stats(filter: string): Promise<ReadonlyMap<string, number>>
  /** SIGKILL of this program alone; resolves when it and its Envoy are gone. It is started again. */
  killProxy(): Promise<void>
  killEnvoy(): Promise<void>
  /** SIGKILL of both, as on a machine that is lost: not started again until `up`. */
  down(): Promise<void>
  up(): void
  /** Envoy hangs: it takes connections, as the kernel does, and answers nothing until `goOn`. */
  hang(): void
  goOn(): void
  stop(): Promise<void>
  kill(): Promise<void>
}

const stopMs = 8000

export function startFleetProxy(parts: ProxyParts): FleetProxy {
  const { dir, status } = parts
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const settings = {
    ...parts.settings,
    ...{ dir, status: `${status.host}:${status.port}`, envoy: parts.envoy, concurrency: '1' },
    ...{ 'drain-seconds-min': '0', 'drain-seconds-max': '2' },
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  const program: Program = startProgram({
    name: parts.name,
    command: [process.execPath, parts.program, parts.type, ...flags],
    log: parts.log,
    restart: true,
    onExit: parts.onExit,
  })
  const admin = adminAt({ socket: join(dir, 'admin.sock') })
  return {
    ready: () => answers(status.host, status.port, '/healthz/ready'),
    admin: (path) => admin.text('GET', path),
    stats: (filter) => statsOf(admin, filter),
    killProxy: async () => {
      const envoy = envoyPid(dir)
      await killAlone(program.pid(), `the proxy of ${parts.name}`)
      await eventually(5000, `the Envoy of ${parts.name} has died with it`, () => !isAlive(envoy))
    },
    killEnvoy: () => killAlone(envoyPid(dir), `the Envoy of ${parts.name}`),
    down: async () => {
      const envoy = envoyPid(dir)
      await program.down()
      await eventually(5000, `the Envoy of ${parts.name} has died with it`, () => !isAlive(envoy))
    },
    up: () => program.up(),
    hang: () => {
      process.kill(envoyPid(dir), 'SIGSTOP')
    },
    goOn: () => {
      process.kill(envoyPid(dir), 'SIGCONT')
    },
    stop: () => program.stop(stopMs),
    kill: () => program.kill(),
  }
}

const envoyPid = (dir: string): number => Number(/^\d+/.exec(readFileSync(join(dir, 'envoy.pid'), 'utf8'))?.[0])

async function killAlone(pid: number | undefined, what: string): Promise<void> {
  if (!pid) throw new Error(`${what} does not run`)
  process.kill(pid, 'SIGKILL')
  await eventually(5000, `${what} is gone`, () => !isAlive(pid))
}

/** A zombie is gone: nobody has waited for it yet. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Whether `GET http://<host>:<port><path>` says 200 within half a second. */
export function answers(host: string, port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = get({ host, port, path, timeout: 500, agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    call.on('timeout', () => call.destroy())
    call.on('error', () => resolve(false))
  })
}
