import { execFile } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { promisify } from 'node:util'
import { startProgram, tailOf } from '#tests/support/fleet-program.ts'
import { eventually } from '#tests/support/until.ts'

const execute = promisify(execFile)

/** A network of its own: devices, addresses and routes that nobody else sees. It ends with the process that opened it. */
export type Network = {
  /** To put before a command that is to run there. */
  readonly enter: readonly string[]
  /** Runs a command there to its end and gives what it printed; throws where it fails. */
  run(...command: readonly string[]): Promise<string>
  /** Joins it to ours: `device` here, `eth0` there. */
  plug(device: string, bridge: string): Promise<void>
  close(): Promise<void>
}

/** A process that sleeps holds it: there is no name that could be left behind. */
export async function openNetwork(name: string, log: string): Promise<Network> {
  const holder = startProgram({ name, command: ['unshare', '--net', 'sleep', 'infinity'], log })
  const ours = readlinkSync('/proc/self/ns/net')
  const pid = await eventually(30_000, `${name} has a network of its own`, () => {
    const held = holder.pid()
    if (held === undefined) throw new Error(tailOf(log, 3))
    return readlinkSync(`/proc/${held}/ns/net`) !== ours && held
  })
  const enter = ['nsenter', `--net=/proc/${pid}/ns/net`]
  const run = (...command: readonly string[]): Promise<string> => here(...enter, ...command)
  await run('ip', 'link', 'set', 'lo', 'up')
  return {
    ...{ enter, run },
    plug: async (device, bridge) => {
      await here('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid))
      await here('ip', 'link', 'set', device, 'master', bridge, 'up')
      await run('ip', 'link', 'set', 'eth0', 'up')
    },
    close: () => holder.kill(),
  }
}

/** A switch in the network of this process, where there is none yet, with an address of ours (`172.20.0.1/16`). */
export async function openSwitch(name: string, address: string): Promise<void> {
  try {
    await here('ip', 'link', 'add', name, 'type', 'bridge')
  } catch (fault) {
    if (/File exists/.test(String(fault))) return
    throw fault
  }
  await here('ip', 'addr', 'add', address, 'dev', name)
  await here('ip', 'link', 'set', name, 'up')
  await here('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
}

/** Runs a command to its end, in the network of this process. */
export async function here(...command: readonly string[]): Promise<string> {
  const [program = '', ...words] = command
  return (await execute(program, words)).stdout
}
