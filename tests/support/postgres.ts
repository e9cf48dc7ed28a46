import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chown, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { postgresDir } from '#infra/setup/packages.js'

/** A real PostgreSQL of one test, on a loopback port of its own. */
export type Postgres = {
  /** `postgres://…`, the same over `restart` and `kill9`. */
  readonly url: string
  /** Ends it in order and removes its data. Safe to call twice. */
  stop(): Promise<void>
  /** SIGKILL to the server and all its backends, as a power cut leaves it; the data stays for `restart`. */
  kill9(): Promise<void>
  /** Ends it in order when it still runs, then starts it on the same data and port; resolves when it takes connections. */
  restart(): Promise<void>
}

/** The user that owns data and process when we are root, because PostgreSQL refuses to run as root. */
const nobody = { uid: 65534, gid: 65534 }
const owner = process.getuid?.() === 0 ? nobody : undefined

/**
 * Starts PostgreSQL on fresh data (C locale, no fsync: killed processes lose nothing, only power cuts would) and resolves
 * when it takes connections. Throws when its binaries are missing. When this process dies in whatever way, server and data go too.
 */
export async function startPostgres(settings: Readonly<Record<string, string>> = {}): Promise<Postgres> {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-postgres-'))
  const leash = spawn('sh', ['-c', leashScript, 'leash', dir], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  try {
    if (owner) await chown(dir, owner.uid, owner.gid)
    const home = await reachableHome(dir)
    const password = randomBytes(12).toString('hex')
    await initialise(home, dir, password)
    const server = { home, dir, settings }
    const first = await launchOnFreePort(server)
    const { port } = first
    let { child } = first
    const stop = async () => {
      await end(child, 'SIGINT')
      await rm(dir, { recursive: true, force: true })
      leash.stdin?.destroy()
    }
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      stop,
      kill9: () => killAll(child),
      restart: async () => {
        await end(child, 'SIGINT')
        child = await launch(server, port)
      },
    }
  } catch (error) {
    leash.stdin?.destroy()
    await rm(dir, { recursive: true, force: true })
    throw error
  }
}

type Server = {
  readonly home: string
  readonly dir: string
  readonly settings: Readonly<Record<string, string>>
}

/** Its input ends when we are gone, even by SIGKILL; then it ends the server that this folder belongs to, and the folder. */
const leashScript = `
cat > /dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2> /dev/null)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; then kill -QUIT "$pid"; sleep 1; fi
rm -rf "$1"
`

/** The folder of the binaries, or a copy of it where the unprivileged user cannot reach the clone (in a home of root's, say). */
async function reachableHome(dir: string): Promise<string> {
  const home = postgresDir(fileURLToPath(new URL('../..', import.meta.url)))
  const seen = await runOnce(join(home, 'bin/postgres'), ['--version'])
  if (seen.code === 0) return home
  const copy = join(dir, 'home')
  try {
    await cp(home, copy, { recursive: true, verbatimSymlinks: true })
  } catch (cause) {
    throw new Error(
      'PostgreSQL is missing, and this suite tests against the real one: run "npm test", which installs it.',
      {
        cause,
      },
    )
  }
  const again = await runOnce(join(copy, 'bin/postgres'), ['--version'])
  if (again.code !== 0) throw new Error(`PostgreSQL does not run on this machine: ${again.output.trim()}`)
  return copy
}

async function initialise(home: string, dir: string, password: string): Promise<void> {
  const file = join(dir, 'password')
  await writeFile(file, password, { mode: 0o600 })
  if (owner) await chown(file, owner.uid, owner.gid)
  const args = ['-D', join(dir, 'data'), '-U', 'postgres', '--pwfile', file, '--auth=scram-sha-256', '--no-sync']
  const { code, output } = await runOnce(join(home, 'bin/initdb'), [...args, '--encoding=UTF8', '--locale=C'])
  if (code !== 0) throw new Error(`initdb ended with ${code}: ${output.trim().slice(-2000)}`)
}

/** Between finding a free port and binding it another process may take it: then another port. */
async function launchOnFreePort(server: Server): Promise<{ readonly port: number; readonly child: ChildProcess }> {
  for (let left = 3; ; left--) {
    const port = await freePort()
    try {
      return { port, child: await launch(server, port) }
    } catch (error) {
      if (left === 0 || !(error instanceof Error) || !error.message.includes('Address already in use')) throw error
    }
  }
}

async function launch({ home, dir, settings }: Server, port: number): Promise<ChildProcess> {
  const all = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    fsync: 'off',
    full_page_writes: 'off',
    shared_buffers: '32MB',
    ...settings,
  }
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = spawn(join(home, 'bin/postgres'), ['-D', join(dir, 'data'), ...args], {
    ...owner,
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log = tailOf(child)
  const deadline = Date.now() + 30_000
  while (!/database system is ready to accept connections/.test(log())) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`PostgreSQL on 127.0.0.1:${port} did not start: ${log().trim()}`)
    }
    await pause(10)
  }
  await connected(port)
  return child
}

/** The last 4 KiB that the child has written. */
function tailOf(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (more: string) => {
      text = (text + more).slice(-4096)
    })
  return () => text
}

async function connected(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill(signal)
  await gone
}

/** The postmaster first, so that it starts nothing new; then its backends, which are in sessions of their own. */
async function killAll(child: ChildProcess): Promise<void> {
  const backends = await childrenOf(child.pid ?? 0)
  await end(child, 'SIGKILL')
  for (const pid of backends) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has seen its postmaster die and is gone already.
    }
  }
  while ((await Promise.all(backends.map(alive))).includes(true)) await pause(5)
}

async function childrenOf(pid: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const parents = await Promise.all(pids.map(async (one) => [one, (await statusOf(one))?.parent] as const))
  return parents.filter(([, parent]) => parent === pid).map(([one]) => one)
}

const alive = async (pid: number): Promise<boolean> => !['Z', 'X', undefined].includes((await statusOf(pid))?.state)

async function statusOf(pid: number): Promise<{ readonly state: string; readonly parent: number } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    const [state = '', parent = ''] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state, parent: Number(parent) }
  } catch {
    return undefined
  }
}

async function runOnce(command: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  const child = spawn(command, args, {
    ...owner,
    cwd: tmpdir(),
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = tailOf(child)
  return await new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 127, output: error.message }))
    child.once('close', (code) => resolve({ code: code ?? 1, output: output() }))
  })
}

/** A port of 127.0.0.1 that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port on 127.0.0.1')
  return address.port
}
