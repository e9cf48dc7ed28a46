import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'

/** A process that listens, with its command line in short. */
export type PortOwner = { readonly pid: number; readonly words: string }

/**
 * Who listens on an address of this machine, or on the same port of all addresses. Undefined where that cannot be seen: a
 * process of another user, or one in another container.
 */
export function portOwner(host: string, port: number): PortOwner | undefined {
  const inodes = new Set(
    [
      ['/proc/net/tcp', hexOf(host)] as const,
      ['/proc/net/tcp', anyAddress] as const,
      ['/proc/net/tcp6', `0000000000000000FFFF0000${hexOf(host)}`] as const,
      ['/proc/net/tcp6', anyAddress.repeat(4)] as const,
    ].flatMap(([table, address]) => listeningOn(table, address, port)),
  )
  if (inodes.size === 0) return undefined
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && holdsOne(name, inodes))
  if (pid === undefined) return undefined
  const [program = '', ...args] = textOf(`/proc/${pid}/cmdline`).split('\0')
  const words = [basename(program), ...args.slice(0, 2)].join(' ').trim()
  return { pid: Number(pid), words: words || textOf(`/proc/${pid}/comm`).trim() }
}

/** As the kernel writes an IPv4 address: hexadecimal, in the byte order of the machine. */
const hexOf = (host: string): string =>
  host
    .split('.')
    .reverse()
    .map((byte) => Number(byte).toString(16).padStart(2, '0'))
    .join('')
    .toUpperCase()

const anyAddress = '00000000'
const listeningState = '0A'

/** Inodes of the sockets that listen on the port of this address, which is written as the kernel does. */
const listeningOn = (table: string, address: string, port: number): string[] =>
  textOf(table)
    .split('\n')
    .flatMap((line) => {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
      const [at, hex = ''] = local.split(':')
      return state === listeningState && at === address && Number.parseInt(hex, 16) === port && inode ? [inode] : []
    })

function holdsOne(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]
      return inode !== undefined && inodes.has(inode)
    })
  } catch {
    return false
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
