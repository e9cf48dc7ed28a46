import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'

export type Mount = { readonly from: string; readonly to: string; readonly readOnly?: boolean }

export type ContainerSpec = {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly mounts: readonly Mount[]
  /** Files of its own in place of the machine's, by path. */
  readonly files: Readonly<Record<string, string>>
  readonly readOnlyRoot: boolean
  /** Root where absent. */
  readonly user?: number
  readonly group?: number
  /** Before a command that is to run in the pod's network. */
  readonly enter: readonly string[]
  /** A folder of its own, called after the container and a number. */
  readonly dir: string
  readonly log: string
}

/** A program with a root, processes and mounts of its own, in the network of its pod. */
export type Container = {
  /** The exit code; 128 + the signal where one ended it. */
  readonly exited: Promise<number>
  signal(name: NodeJS.Signals): void
  /** Words before a command that is to run inside it; undefined while its program does not run. */
  inside(): readonly string[] | undefined
}

/** Nothing of it outlives this process, however that ends. */
const guard = ['setpriv', '--pdeathsig', 'KILL']
const apart = ['unshare', '--mount', '--pid', '--fork', '--kill-child=KILL', '--propagation', 'private']

/** In a user namespace of a machine's ordinary user there is only one user. */
const hasUsers = Number(readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)[2]) > 65_535

/**
 * The machine's own root, on which what the container writes is its own and ends with it; its mounts lie on top. All mount
 * points are made in the upper layer, for a link of the machine's (`/var/run`) would lead out of it.
 */
export function startContainer(spec: ContainerSpec): Container {
  mkdirSync(spec.dir, { recursive: true })
  const log = openSync(spec.log, 'a')
  const [program = '', ...words] = [...guard, ...spec.enter, ...apart, 'sh', '-euc', scriptOf(spec), 'sh']
  const child = spawn(program, [...words, ...programOf(spec)], { detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  writeFileSync(`${spec.dir}.pid`, String(child.pid))
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const exited = new Promise<number>((resolve) => {
    child.once('error', () => resolve(127))
    child.once('exit', (code, signal) => {
      process.off('exit', kill)
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })
  const first = (): number | undefined => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return undefined
    return childOf(child.pid)
  }
  return {
    exited,
    signal: (name) => {
      const pid = first()
      // Before its own program is there, there is only what prepares it.
      if (pid === undefined) return kill()
      try {
        process.kill(pid, name)
      } catch {
        // It has ended already.
      }
    },
    inside: () => {
      const pid = first()
      return pid === undefined
        ? undefined
        : ['nsenter', `--target=${pid}`, '--mount', '--pid', '--net', '--root', '--wd']
    },
  }
}

/** The process of the latest run of a container, found from the folder of its pod's containers. */
export function pidOf(dir: string, container: string): number | undefined {
  const runs = readdirSync(dir).flatMap((file) => {
    const [, name, run] = /^(.+)-(\d+)\.pid$/.exec(file) ?? []
    return name === container ? [Number(run)] : []
  })
  if (runs.length === 0) return undefined
  return childOf(Number(readFileSync(join(dir, `${container}-${Math.max(...runs)}.pid`), 'utf8')))
}

/** The first process of its namespace: the only child of what made the namespace. */
function childOf(pid: number): number | undefined {
  try {
    const [first = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    return first === '' ? undefined : Number(first)
  } catch {
    return undefined
  }
}

function scriptOf({ dir, mounts, files, readOnlyRoot }: ContainerSpec): string {
  const [upper, root] = [join(dir, 'upper'), join(dir, 'root')]
  const lines = [
    `mount -t tmpfs tmpfs ${quoted(dir)}`,
    `mkdir ${quoted(upper)} ${quoted(join(dir, 'work'))} ${quoted(root)}`,
    ...Object.entries(files).flatMap(([path, text]) => [
      `mkdir -p ${quoted(join(upper, path, '..'))}`,
      `printf %s ${quoted(text)} > ${quoted(join(upper, path))}`,
    ]),
    ...mounts.map(({ from, to }) => {
      const [target, parent] = [quoted(join(upper, to)), quoted(join(upper, to, '..'))]
      return `if [ -d ${quoted(from)} ]; then mkdir -p ${target}; else mkdir -p ${parent}; : > ${target}; fi`
    }),
    // As every image has it, and not the machine's.
    `mkdir -p ${quoted(join(upper, 'tmp'))}; chmod 1777 ${quoted(join(upper, 'tmp'))}`,
    `mount -t overlay overlay -o ${quoted(`lowerdir=/,upperdir=${upper},workdir=${join(dir, 'work')}`)} ${quoted(root)}`,
    `mount -t proc proc ${quoted(join(root, 'proc'))}`,
    `mount --rbind /dev ${quoted(join(root, 'dev'))}`,
    ...mounts.map(({ from, to }) => `mount --bind ${quoted(from)} ${quoted(join(root, to))}`),
    ...mounts.flatMap(({ to, readOnly }) => (readOnly ? [`mount -o remount,bind,ro ${quoted(join(root, to))}`] : [])),
    ...(readOnlyRoot ? [`mount -o remount,ro ${quoted(root)}`] : []),
    `exec chroot ${quoted(root)} "$@"`,
  ]
  return lines.join('\n')
}

/** The kernel forgets whose death ends a process that becomes another user. */
function programOf({ command, env, cwd, user, group = user }: ContainerSpec): string[] {
  const as =
    user === undefined || user === 0 || !hasUsers
      ? []
      : [...guard, `--reuid=${user}`, `--regid=${group}`, '--clear-groups', '--no-new-privs', '--bounding-set=-all']
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  return ['env', '-i', '-C', cwd, ...set, ...as, ...command]
}

const quoted = (text: string): string => `'${text.replaceAll(`'`, `'\\''`)}'`
