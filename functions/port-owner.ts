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
  return linksIn(pid).some((link) => {
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1]
    return inode !== undefined && inodes.has(inode)
  })
}

/** What a process holds open. Descriptors close while they are looked at, and most processes are not ours to look into. */
function linksIn(pid: string): string[] {
  const quietly = <T>(look: () => T, otherwise: T): T => {
    try {
      return look()
    } catch {
      return otherwise
    }
  }
  const dir = `/proc/${pid}/fd`
  return quietly(() => readdirSync(dir), []).map((fd) => quietly(() => readlinkSync(`${dir}/${fd}`), ''))
}
