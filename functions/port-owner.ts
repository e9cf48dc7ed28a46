import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Who listens on a TCP port of this machine, as `command (pid 123)`; undefined where that cannot be seen. Linux only. */
export function portOwner(port: number): string | undefined {
  try {
    const inodes = new Set(
      ['tcp', 'tcp6'].flatMap((table) => listeningOn(readFileSync(`/proc/net/${table}`, 'utf8'), port)),
    )
    if (inodes.size === 0) return undefined
    const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && holdsOne(name, inodes))
    return (
      pid && `${readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, 3).join(' ').trim()} (pid ${pid})`
    )
  } catch {
    return undefined
  }
}

const listeningOn = (table: string, port: number): string[] =>
  table.split('\n').flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
    const hex = port.toString(16).toUpperCase().padStart(4, '0')
    return state === '0A' && local?.endsWith(`:${hex}`) && inode ? [inode] : []
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
